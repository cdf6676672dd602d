"""The views of a maze: the walls that an agent sees, and, if it is to know it, its place.

A policy without memory cannot tell one place of a maze from another by the 3 x 3 walls around it.
With its place written beside them it can, and what is left to find out is the goal.

Views are named by `View`. The square ones belong to an agent that moves up, down, left and right;
the egocentric ones to an agent that turns and sees ahead, as Minigrid's does, in whose way walls
hide what is behind them (`shadowed`). A view is computed for all places of many layouts
at once, as one number per row of its cells (`row_codes`), and `patterns` says what a number shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal, get_args

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from torch.nn.functional import pad

from ..base.grids import light_of_rows
from .dynamics import MazeTables
from .layout import Layout

__all__ = [
    "PLACE_SIZE",
    "UNSEEN",
    "Sight",
    "View",
    "patterns",
    "row_codes",
    "row_patterns",
    "seen_cells",
    "shadowed",
    "view_space",
    "views",
    "written_places",
]


View = Literal["3x3", "5x5", "egocentric-5", "egocentric-7"]
"""``"3x3"`` and ``"5x5"``: the walls around the agent. ``"egocentric-5"`` and ``"egocentric-7"``:
the square ahead of an agent that turns, which stands in the middle of its last row."""

NUM_WAVES = 3
"""Frequencies in which a place is written: whole waves that span the maze 1, 2 and 3 times."""

PLACE_SIZE = 2 + 2 * 2 * NUM_WAVES
"""Numbers that say where an agent is."""

DIRECTIONS = 4
"""Ways an agent can face: 0 right, 1 down, 2 left, 3 up, in Minigrid's order."""

LONGEST_SIDE = 64
"""Rows of the table of written coordinates: sides of mazes in a bank are below."""


@dataclass(frozen=True)
class Sight:
    """Sight of an agent, and so whether it turns.

    Attributes:
        view: The view's name.
        position: Whether it also sees its place (`written_places`), and, if it turns, the way it
            faces, one-hot.
        see_through: Whether walls hide nothing from an agent that turns.

    Raises:
        ValueError: If there is no such view, or `see_through` is asked of a view without shadows.
    """

    view: View = "3x3"
    position: bool = False
    see_through: bool = False

    def __post_init__(self) -> None:
        if self.view not in get_args(View):
            raise ValueError(f"view must be one of {get_args(View)}, got {self.view!r}")
        if self.see_through and not self.turning:
            raise ValueError(
                f"see_through=True is for the egocentric views, where walls hide what is behind "
                f"them: view {self.view!r} has no shadows, leave it out"
            )

    @property
    def side(self) -> int:
        """Cells along a side of the view."""
        return int(self.view[-1])

    @cached_property
    def turning(self) -> bool:
        """Whether the agent turns, instead of moving in all four directions."""
        return self.view.startswith("egocentric")

    @cached_property
    def poses(self) -> int:
        """Ways an agent can stand on a cell."""
        return DIRECTIONS if self.turning else 1

    @property
    def shadows(self) -> bool:
        """Whether walls hide what is behind them."""
        return self.turning and not self.see_through

    @property
    def space(self) -> Box[Any]:
        """The space of one agent's observations."""
        size = self.side**2
        if self.position:
            size += PLACE_SIZE + (DIRECTIONS if self.turning else 0)
        low = -1.0 if self.position or self.shadows else 0.0
        return Box(low, 1.0, (size,), np.float32)


def view_space(view: str, position: bool = False, see_through: bool = False) -> Box[Any]:
    """The space of one agent's observations; ``"walls"`` and ``"walls_and_place"`` are understood.

    Raises:
        ValueError: As of `Sight`.
    """
    if view in ("walls", "walls_and_place"):
        return Sight("3x3", position or view == "walls_and_place").space
    return Sight(view, position, see_through).space  # type: ignore[arg-type]


@lru_cache(maxsize=256)
def views(tables: MazeTables, sight: Sight) -> NDArray[np.float32]:
    """The view from each place of one layout, float32 [C, I]; read-only."""
    layout = tables.layout
    cells = torch.tensor(tables.places[:: tables.poses])  # [cells, 2]
    flat = (cells[:, 0] * layout.width + cells[:, 1])[None]  # [1, cells]
    codes = row_codes(torch.tensor(layout.walls)[None], flat, sight)[0]  # [C, R]
    seen = patterns(sight).index_select(0, codes.flatten()).view(len(codes), -1).to(torch.float32)
    if sight.position:
        sides = torch.tensor([layout.height, layout.width])
        written = written_places(2 * cells.to(torch.float32) / (sides - 1) - 1)
        seen = torch.cat((seen, *_poses(written, sight)), 1)
    rows: NDArray[np.float32] = seen.numpy()
    rows.setflags(write=False)
    return rows


def row_codes(walls: torch.Tensor, cells: torch.Tensor, sight: Sight) -> torch.Tensor:
    """Numbers that say what is seen from each place.

    Args:
        walls: bool [n, H, W], closed borders.
        cells: int64 [n, P], the cells to look from, ``row * W + column``.
        sight: The kind of view.

    Returns:
        int32 [n, P * poses, R], rows of `patterns`: one number for the nine cells of ``"3x3"``
        (R = 1), else one for each row of the view, from the farthest (or topmost) on.
    """
    return _ahead(walls, cells, sight) if sight.turning else _around(walls, cells, sight)


@lru_cache(maxsize=16)
def patterns(sight: Sight) -> torch.Tensor:
    """Cells that numbers of `row_codes` show: int8 [codes, cells], 1 wall, 0 free, -1 not seen."""
    if sight.shadows:
        return row_patterns(sight.side)
    width = 9 if sight.view == "3x3" else sight.side
    codes = torch.arange(2**width)
    return (codes[:, None] >> torch.arange(width) & 1).to(torch.int8)


def written_places(places: torch.Tensor) -> torch.Tensor:
    """Places as a network can tell them apart: with waves that differ from cell to cell.

    A small network is slow to learn functions that change quickly with its inputs; sines and
    cosines of several frequencies let it (Tancik et al. 2020, Fourier features). With the two
    coordinates alone a few gradient steps can hardly change what is done in one corridor and not
    in the next.

    Args:
        places: Row and column, ``[..., 2]`` in [-1, 1].

    Returns:
        ``[..., 14]``: both, and ``sin`` and ``cos`` of k pi times them for k = 1, 2, 3.
    """
    angles = [math.pi * k * places for k in range(1, NUM_WAVES + 1)]
    return torch.cat((places, *(wave for a in angles for wave in (a.sin(), a.cos()))), -1)


@lru_cache(maxsize=1)
def written_coordinates() -> torch.Tensor:
    """`written_places` of one coordinate: float32 [64 * 64, 7], row ``64 * side + index``."""
    index = torch.arange(LONGEST_SIDE, dtype=torch.float32)
    sides = torch.arange(LONGEST_SIDE).clamp(min=2)  # no maze is narrower
    return torch.cat([written_places(2 * index[:, None] / (side - 1) - 1) for side in sides])


def seen_cells(observation: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Row and column of agents that see their place beside the 3 x 3 walls.

    Args:
        observation: ``[B, I]``, the view with the position and perhaps more behind it.
        layout: The walls.

    Returns:
        int64 ``[B, 2]``.
    """
    sides = torch.tensor([layout.height, layout.width], device=observation.device)
    places = (observation[:, 9:11] + 1) / 2 * (sides - 1)
    return places.round().to(torch.int64)


def _poses(written: torch.Tensor, sight: Sight) -> tuple[torch.Tensor, ...]:
    """Written cells [cells, 14] as those of all poses, with the way the agent faces."""
    if not sight.turning:
        return (written,)
    facing = torch.eye(DIRECTIONS).repeat(len(written), 1)
    return written.repeat_interleave(DIRECTIONS, 0), facing


def _around(walls: torch.Tensor, cells: torch.Tensor, sight: Sight) -> torch.Tensor:
    """`row_codes` of a square around the agent."""
    side, (num, _, width) = sight.side, walls.shape
    reach = side // 2
    grid = pad(walls.to(torch.int32), (reach, reach, reach, reach), value=1)
    codes = sum(grid[:, :, i : i + width] << i for i in range(side))  # [n, H + 2 reach, W]
    assert isinstance(codes, torch.Tensor)
    steps = torch.arange(side, device=walls.device) * width
    index = cells[:, :, None] + steps  # [n, P, side]: from the row above to the one below
    rows = codes.flatten(1).gather(1, index.flatten(1)).view(num, -1, side)  # [n, P, side]
    if sight.view != "3x3":
        return rows
    return (rows[..., :1] | rows[..., 1:2] << 3 | rows[..., 2:] << 6).contiguous()


def _ahead(walls: torch.Tensor, cells: torch.Tensor, sight: Sight) -> torch.Tensor:
    """`row_codes` of a square ahead of an agent that turns."""
    side, (num, _, width) = sight.side, walls.shape
    half, margin = side // 2, side // 2 + side - 1
    grid = pad(walls.to(torch.int32), (margin,) * 4, value=1)
    # Bit i of a row is the cell i - half to the right of the line of sight. What `roll` brings
    # in from the other edge lies in the outermost cells, which no view reaches.
    down = sum(grid.roll(half - i, 1) << i for i in range(side))
    right = sum(grid.roll(half - i, 2) << i for i in range(side))
    up = sum(grid.roll(i - half, 1) << i for i in range(side))
    left = sum(grid.roll(i - half, 2) << i for i in range(side))
    # Facing right, what is to the right lies below; facing down, to the left.
    boards = torch.stack((down, left, up, right), 1).flatten(2)  # type: ignore[arg-type]
    full = width + 2 * margin
    at = (cells // width + margin) * full + cells % width + margin  # [n, P]
    ahead = _steps_ahead(full, side, walls.device)  # [4, side]
    index = at[:, None, :, None] + ahead[:, None, :]  # [n, 4, P, side]
    rows = boards.gather(2, index.flatten(2)).view(index.shape)  # near to far
    codes = shadowed(rows, side) if sight.shadows else rows
    return codes.flip(3).transpose(1, 2).reshape(num, -1, side)  # [n, P * 4, side]


@lru_cache(maxsize=64)
def _steps_ahead(width: int, side: int, device: torch.device) -> torch.Tensor:
    """Steps ahead to the rows of a view in a flat grid, by direction: int64 [4, side]."""
    steps = torch.tensor([1, width, -1, -width])
    return (steps[:, None] * torch.arange(side)).to(device)


# Shadows ------------------------------------------------------------------------------------------


UNSEEN = -1
"""The number of a cell that is not seen; a seen one is 1 (wall) or 0 (free)."""

CODE_BITS = 12
"""Room for the number of a row: 3^7 fit."""


def shadowed(rows: torch.Tensor, side: int) -> torch.Tensor:
    """Cells that are seen of rows of walls, in Minigrid's shadows, in closed form.

    A table (seeds, walls) -> (what is seen, next seeds), after `envs.base.grids`, gives a view in
    one look-up per row; the seeds are the cells of a row on which light falls, at first the agent's
    own.

    Args:
        rows: int32 [..., side], from the agent's row to the farthest; bit i is a wall in column i.
            The agent stands in the middle of the first, on a cell that is no wall.
        side: Cells along a row, at most 7.

    Returns:
        int32 [..., side], rows of `row_patterns`.
    """
    table = _lit_rows(side, rows.device)
    seeds = torch.full_like(rows[..., 0], 1 << side // 2)
    codes = []
    for row in rows.unbind(-1):
        found = table[(seeds << side | row).to(torch.int64)]
        codes.append(found & (1 << CODE_BITS) - 1)
        seeds = found >> CODE_BITS
    return torch.stack(codes, -1)


@lru_cache(maxsize=4)
def row_patterns(side: int) -> torch.Tensor:
    """Cells that a number in base 3 shows, int8 [3^side, side]: 1 wall, 0 free, `UNSEEN`."""
    codes = torch.arange(3**side)
    digits = codes[:, None] // 3 ** torch.arange(side) % 3  # 0 free, 1 wall, 2 not seen
    return torch.where(digits == 2, UNSEEN, digits).to(torch.int8)


@lru_cache(maxsize=8)
def _lit_rows(side: int, device: torch.device) -> torch.Tensor:
    """int32 [4^side] on `device`, at ``seeds << side | walls``: ``next seeds << 12 | number``."""
    lit, onwards = (torch.from_numpy(light) for light in light_of_rows(side))
    cells, walls = torch.arange(side), torch.arange(1 << side)
    seen = lit.flip(1)[:, :, None] >> cells & 1 == 1  # by walls, where light does not pass
    digits = torch.where(seen, walls[:, None] >> cells & 1, 2)
    table = onwards.flip(1) << CODE_BITS | (digits * 3**cells).sum(2)
    return table.flatten().to(device, torch.int32)
