"""Views of an agent: a square of cells before it, shadows, and four forms of the same.

The view is `view_size` cells square. The agent is in the middle of its near edge and looks away
from it; entry [i, j] is i cells across from the left and j cells from the far edge, as in
Minigrid's image. Rows here are rows of the view, all cells with one j.

Shadows are Minigrid's (`envs.base.grids`): a view is a look-up for each of its rows.

Eight cells of a row are one int64: the highest bit of a code says whether light passes.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray

from ..base.grids import light_of_rows
from .codes import KINDS, NUM_CODES, NUM_COLOURS, NUM_KINDS, NUM_STATES, SHOWN, TRIPLES

__all__ = [
    "LOOKS",
    "MOST_VIEW",
    "NAMED",
    "Forms",
    "Observe",
    "Shadows",
    "check_observe",
    "codes_of_image",
    "extras_of",
    "observation_space",
]

Observe = Literal["image", "codes", "onehot", "maze"]
"""Forms of an observation:

    image     uint8 [7, 7, 3]     Minigrid's: kind, colour and state of each cell
    codes     uint8 [49]          the codes of `envs.minigrid.codes`, cell 7 * i + j
    onehot    float32 [7, 7, 20]  11 kinds, 6 colours and 3 states, as Minigrid's wrapper has them
    maze      float32 [7, 7, 2]   1 where a wall is, and 1 where a goal is: all that mazes have.
                                  Anything else looks like nothing
"""

LANES = 8
"""Cells in an int64; the last of them is no cell of the view."""

MOST_VIEW = 7
"""Rows and columns of a view that the tensor twin knows, at most."""

EACH_BYTE = 0x0101010101010101
GATHER_BITS = 0x0102040810204080
"""Multiplied by it, the lowest bits of eight bytes are the bits of the highest byte, in order."""

ONE_HOT = np.concatenate(
    [
        np.eye(size, dtype=np.float32)[TRIPLES[:, column]]
        for column, size in enumerate((NUM_KINDS, NUM_COLOURS, NUM_STATES))
    ],
    axis=1,
)
"""float32 [256, 20] by code."""

NAMED = 2 * (NUM_KINDS + NUM_COLOURS)
"""Numbers that say the objects a mission names: kind and colour of one or two, one-hot."""

LOOKS = ONE_HOT[:, : NUM_KINDS + NUM_COLOURS]
"""float32 [256, 17] by code: kind and colour alone."""

IN_MAZES = ONE_HOT[:, [KINDS.index("wall"), KINDS.index("goal")]]
"""float32 [256, 2] by code."""

FORMS: dict[str, NDArray[Any]] = {
    "image": TRIPLES,
    "codes": SHOWN,
    "onehot": ONE_HOT,
    "maze": IN_MAZES,
}


def check_observe(observe: Any) -> Observe:
    """The form of observation.

    Raises:
        ValueError: If it is unknown.
    """
    if observe not in get_args(Observe):
        raise ValueError(f"observe must be one of {list(get_args(Observe))}, got {observe!r}")
    form: Observe = observe
    return form


def extras_of(direction: bool, mission: bool) -> int:
    """Numbers after the cells of an observation."""
    return 4 * direction + NAMED * mission


def observation_space(observe: Observe, view_size: int, extras: int) -> Box:
    """The space of observations; flat if numbers come after the cells."""
    high = {"image": 255, "codes": NUM_CODES - 1, "onehot": 1, "maze": 1}[observe]
    table = FORMS[observe]
    shape: tuple[int, ...] = (view_size, view_size, *table.shape[1:])
    if extras or observe == "codes":
        shape = (int(np.prod(shape)) + extras,)
    return Box(0, high, shape, table.dtype.type)


def codes_of_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [..., 7, 7] of Minigrid's image [..., 7, 7, 3]."""
    kinds, colours, states = (image[..., column].astype(np.int64) for column in range(3))
    codes: NDArray[np.uint8] = CODE_OF[(kinds * NUM_COLOURS + colours) * NUM_STATES + states]
    return codes


def _code_of_triple() -> NDArray[np.uint8]:
    """The inverse of `TRIPLES`; boxes look empty."""
    numbers = TRIPLES.astype(np.int64) @ (NUM_COLOURS * NUM_STATES, NUM_STATES, 1)
    codes = np.zeros(NUM_KINDS * NUM_COLOURS * NUM_STATES, dtype=np.uint8)
    codes[numbers[::-1]] = SHOWN[::-1]
    codes[0] = 0
    return codes


CODE_OF = _code_of_triple()


class Forms:
    """Observations of a form from codes, as tensors; and as arrays, of one environment.

    Args:
        observe: The form.
        direction: Whether four numbers after the cells say where the agent looks, one-hot.
        mission: Whether `NAMED` numbers come last that say which objects the mission names.
        view_size: Rows and columns of a view.
        device: Device of the tensors.
    """

    def __init__(
        self,
        observe: Observe,
        direction: bool,
        mission: bool,
        view_size: int,
        device: torch.device,
    ) -> None:
        self.space = observation_space(observe, view_size, extras_of(direction, mission))
        self._direction, self._mission = direction, mission
        self._table = torch.tensor(FORMS[observe], device=device)  # [256] or [256, C]
        self._words = self._table
        if observe == "maze":  # two numbers as one of their size: an index is then a plain look-up
            self._words = self._table.contiguous().view(torch.int64).view(-1)  # [256]
        self._directions = torch.eye(4, dtype=self._table.dtype, device=device)
        self._shape = self.space.shape

    def __call__(
        self, codes: torch.Tensor, directions: torch.Tensor, named: torch.Tensor
    ) -> torch.Tensor:
        """The observations, [B, ...].

        Args:
            codes: int32 [B, V, V], entry [i, j] of each view.
            directions: int64 [B].
            named: float32 [B, NAMED].
        """
        words = self._words.index_select(0, codes.reshape(-1))
        seen = words.view(self._table.dtype).view(len(codes), -1)
        parts = [seen]
        if self._direction:
            parts.append(self._directions.index_select(0, directions))
        if self._mission:
            parts.append(named.to(self._table.dtype))
        whole = seen if len(parts) == 1 else torch.cat(parts, dim=1)
        return whole.view(-1, *self._shape)  # [B, numbers] to the form of the view


class Shadows:
    """Views of B agents on grids of codes, as one program.

    Args:
        view_size: Rows and columns of a view, odd, at most `MOST_VIEW`.
        stride: Cells from one row of a grid to the next.
        device: Device of the tables.
    """

    def __init__(self, view_size: int, stride: int, device: torch.device) -> None:
        self.view_size = view_size
        middle = view_size // 2
        rows, lanes = np.mgrid[:view_size, :LANES]  # rows by j
        ahead, across = view_size - 1 - rows, np.minimum(lanes, view_size - 1) - middle
        steps = np.array([1, stride, -1, -stride])  # by direction
        offsets = steps[:, None, None] * ahead + np.roll(steps, -1)[:, None, None] * across
        self._offsets = torch.tensor(offsets.reshape(4, -1), device=device)
        self._own = (view_size - 1) * LANES + middle
        self._first = 1 << (middle + view_size)
        self._mask = (1 << view_size) - 1
        following, lit = (torch.tensor(table, device=device) for table in shadow_tables(view_size))
        self._following, self._lit = following, lit

    def __call__(
        self,
        cells: torch.Tensor,
        positions: torch.Tensor,
        directions: torch.Tensor,
        hands: torch.Tensor,
        see_through: torch.Tensor | bool,
    ) -> torch.Tensor:
        """The codes that are seen, int32 [B, V, V], entry [i, j] of each view.

        Args:
            cells: uint8 [M], the codes of all grids.
            positions: int64 [B], places of the agents in `cells`.
            directions: int64 [B].
            hands: uint8 [B], codes of what they carry; nothing is a code too.
            see_through: Whether they see through walls; bool, or bool [B].
        """
        where = self._offsets.index_select(0, directions) + positions.unsqueeze(1)
        codes = cells.index_select(0, where.view(-1)).view(len(where), -1)  # [B, V * 8]
        rows = codes.view(torch.int64)  # [B, V]; the agent's own row is the last
        if see_through is not True:
            bits = ((rows >> 7) & EACH_BYTE).mul_(GATHER_BITS).__irshift__(56)
            passing = bits.bitwise_and_(self._mask)
        codes[:, self._own] = hands
        if see_through is not True:
            lit = self._lit.index_select(0, self._cases(passing)).view_as(rows)
            if see_through is not False:
                lit = lit.masked_fill(see_through.unsqueeze(1), -1)  # [B, V] by [B, 1]
            rows = rows & lit
        seen = rows.view(torch.uint8).view(len(rows), self.view_size, LANES)
        return seen[:, :, : self.view_size].transpose(1, 2).to(torch.int32)

    def _cases(self, passing: torch.Tensor) -> torch.Tensor:
        """int64 [B * V]: for each row, which case of the table it is."""
        columns = passing.unbind(1)
        case = columns[-1] + self._first
        cases = [case]
        for column in reversed(columns[:-1]):
            case = self._following.index_select(0, case) + column
            cases.append(case)
        return torch.stack(cases[::-1], dim=1).view(-1)


def shadow_tables(view_size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Paths of the light on one row: where it falls next, and what is seen.

    A case is ``falls << view_size | passes``: on which cells of the row light falls, and through
    which it passes, one bit for each, the leftmost lowest.

    Args:
        view_size: Cells of a row, V.

    Returns:
        int64 [4^V] twice: the cells of the next row on which light falls, as the high bits of a
        case, and the cells that are lit, as bytes of ones.
    """
    lit, following = (light.reshape(-1) for light in light_of_rows(view_size))
    bits = 1 << np.arange(view_size)
    lit_bytes = ((lit[:, None] & bits) > 0) * (0xFF << 8 * np.arange(view_size, dtype=np.int64))
    return following << view_size, lit_bytes.sum(axis=1)
