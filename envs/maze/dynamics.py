"""The dynamics of a maze: a layout compiled to look-up tables, and the pure transitions on them.

Number the places an agent can be. A maze then is three tables, and a step of B mazes is two
gathers, a compare and a masked teleport:

    cell' = next_cell[cell, action]
    hit   = cell' == goal                                  pays the reward
    cell  = draw + (draw >= goal)   if hit else cell'      teleport: anywhere but the goal
    sees  = patch[cell]

`step_one` (plain integers) and `step_many` (tensors) say the same thing for the single and the
tensor environment, and read the same tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from .layout import MOVES, Cell, Layout

__all__ = [
    "NUM_ACTIONS",
    "PATCH_SIZE",
    "MazeTables",
    "TeleportMode",
    "TensorTables",
    "compile_layout",
    "step_many",
    "step_one",
    "teleport_target",
    "teleport_targets",
]

NUM_ACTIONS = len(MOVES)
PATCH_SIZE = 9

TeleportMode = Literal["free", "interior"]
"""Destinations of an agent that finds the goal, drawn uniformly and never the goal itself.

``"free"``: any free cell. ``"interior"``: any cell inside the border, pillars too, which is a
fault of the published WarpGrad code (a fifth of its teleports at 13 x 13 end inside a pillar),
kept to reproduce its curves. An agent in a pillar sees the wall it stands in and can walk out.
"""


@dataclass(frozen=True, eq=False)
class MazeTables:
    """A compiled layout. C places: the F free cells, then the pillars if one can land in them.

    Attributes:
        layout: The walls.
        places: (row, column) of each place; the first F are ``layout.free_cells``.
        next_cell: int64 [C, A], the place an action leads to (the same place if blocked).
        bumped: bool [C, A], whether a wall blocks the action.
        patch: float32 [C, 9], the 3 x 3 walls around a place, row-major, 1 for a wall.
    """

    layout: Layout
    places: tuple[Cell, ...]
    next_cell: NDArray[np.int64]
    bumped: NDArray[np.bool_]
    patch: NDArray[np.float32]

    @property
    def num_draws(self) -> int:
        """A teleport is drawn from ``range(num_draws)``: the places other than the goal."""
        return len(self.places) - 1


class TensorTables(NamedTuple):
    """`MazeTables` on a device, flat over (place, action): row ``4 * place + action``.

    Attributes:
        next_cell: int64 [C * A].
        bumped: float32 [C * A], 1 where a wall blocks.
        patch: float32 [C, 9].
    """

    next_cell: torch.Tensor
    bumped: torch.Tensor
    patch: torch.Tensor

    @classmethod
    def on(cls, tables: MazeTables, device: torch.device) -> TensorTables:
        """Copies `tables` to `device`."""
        return cls(
            torch.tensor(tables.next_cell.reshape(-1), device=device),
            torch.tensor(tables.bumped.reshape(-1), device=device, dtype=torch.float32),
            torch.tensor(tables.patch, device=device),
        )


@lru_cache(maxsize=64)
def compile_layout(layout: Layout, teleport: TeleportMode = "free") -> MazeTables:
    """Compiles a layout for the given teleport rule.

    Raises:
        ValueError: If `teleport` is not a known rule, or is ``"interior"`` and a teleport could
            wall the agent in.
    """
    if teleport not in get_args(TeleportMode):
        raise ValueError(f"teleport must be one of {get_args(TeleportMode)}, got {teleport!r}")
    places = layout.free_cells + (_pillars(layout) if teleport == "interior" else ())
    next_cell = np.empty((len(places), NUM_ACTIONS), dtype=np.int64)
    bumped = np.empty((len(places), NUM_ACTIONS), dtype=np.bool_)
    patch = np.empty((len(places), PATCH_SIZE), dtype=np.float32)
    for number, (row, column) in enumerate(places):
        for action, (down, right) in enumerate(MOVES):
            there = layout.cell_numbers.get((row + down, column + right))
            bumped[number, action] = there is None
            next_cell[number, action] = number if there is None else there
        patch[number] = layout.walls[row - 1 : row + 2, column - 1 : column + 2].reshape(-1)
    for table in (next_cell, bumped, patch):
        table.setflags(write=False)
    return MazeTables(layout, places, next_cell, bumped, patch)


def step_one(tables: MazeTables, cell: int, action: int, goal: int) -> tuple[int, bool, bool]:
    """One move of one maze, before any teleport.

    Args:
        tables: The compiled layout.
        cell: Place of the agent, in [0, C).
        action: The action, in [0, 4).
        goal: Cell number of the goal, in [0, F).

    Returns:
        The place reached, whether it is the goal, whether a wall blocked the move.
    """
    reached = int(tables.next_cell[cell, action])
    return reached, reached == goal, bool(tables.bumped[cell, action])


def teleport_target(draw: int, goal: int) -> int:
    """The place that draw number `draw`, in [0, C - 1), stands for: it skips the goal."""
    return draw + (draw >= goal)


def step_many(
    tables: TensorTables,
    cells: torch.Tensor,
    actions: torch.Tensor,
    goals: torch.Tensor,
    targets: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One move of B mazes, teleport included. Nothing is checked: out-of-range actions are wrong.

    Args:
        tables: The compiled layout on the device of the other tensors.
        cells: int64 [B], places of the agents.
        actions: int64 [B], in [0, 4).
        goals: int64 [B], cell numbers of the goals.
        targets: int64 [B], where an agent that reaches its goal now is sent.

    Returns:
        The places after the step, int64 [B]; hits, bool [B]; the flat table rows used,
        int64 [B], with which ``tables.bumped`` can be read.
    """
    index = torch.add(actions, cells, alpha=NUM_ACTIONS)
    reached = torch.index_select(tables.next_cell, 0, index)
    hits = torch.eq(reached, goals)
    return torch.where(hits, targets, reached), hits, index


def teleport_targets(draws: torch.Tensor, goals: torch.Tensor) -> torch.Tensor:
    """`teleport_target` of many draws: int64 [..., B] from draws [..., B] and goals [B]."""
    return draws + (draws >= goals)


def _pillars(layout: Layout) -> tuple[Cell, ...]:
    """Wall cells inside the border, row-major."""
    inside = np.argwhere(layout.walls[1:-1, 1:-1]) + 1
    pillars = tuple((int(row), int(column)) for row, column in inside)
    for pillar in pillars:
        if not layout.neighbours(pillar):
            raise ValueError(
                f"wall {pillar} has no free neighbour, so an agent teleported into it could never "
                f"leave: use teleport='free' in this layout\n{layout}"
            )
    return pillars
