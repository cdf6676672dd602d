"""The dynamics of a maze: a layout compiled to look-up tables, and the pure transitions on them.

Number the places an agent can be. A maze then is a few tables, and a step of B mazes is two
gathers, a compare and a masked respawn:

    place' = next_place[place, action]
    hit    = place' is on the goal                         pays the reward
    place  = draw + (draw >= goal)   if hit else place'    respawn: anywhere but the goal
    sees   = view[place]

A place is a cell, or, of an agent that turns, a cell and the way it faces: ``4 * cell + direction``
(0 right, 1 down, 2 left, 3 up, in Minigrid's order). `step_one` (plain integers) and `step_many`
(tensors) say the same thing for the single and the tensor environment.
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
    "FACING",
    "GOES",
    "NUM_ACTIONS",
    "PATCH_SIZE",
    "TURNING_ACTIONS",
    "TURNS",
    "MazeTables",
    "StepRoom",
    "TeleportMode",
    "compile_layout",
    "step_many",
    "step_one",
    "teleport_target",
    "teleport_targets",
]

NUM_ACTIONS = len(MOVES)
PATCH_SIZE = 9

FACING: tuple[Cell, ...] = ((0, 1), (1, 0), (0, -1), (-1, 0))
"""(row, column) displacement of a step ahead, facing 0 right, 1 down, 2 left, 3 up."""

TURNING_ACTIONS = 3
"""Actions of an agent that turns: 0 turn left, 1 turn right, 2 go ahead."""

GOES, TURNS = "0 up, 1 down, 2 left or 3 right", "0 turn left, 1 turn right or 2 go ahead"
"""The actions in words, of agents that do not turn and of those that do."""

TeleportMode = Literal["free", "interior"]
"""Destinations of an agent that finds the goal, drawn uniformly and never the goal itself.

``"free"``: any free cell. ``"interior"``: any cell inside the border, pillars too, which is a
fault of the published WarpGrad code (a fifth of its teleports at 13 x 13 end inside a pillar),
kept to reproduce its curves. An agent in a pillar sees the wall it stands in and can walk out.
"""


@dataclass(frozen=True, eq=False)
class MazeTables:
    """A compiled layout. C places: the F free cells, then the pillars if one can land in them.

    Of an agent that turns, each cell is four places.

    Attributes:
        layout: The walls.
        places: (row, column) of each place; the cells are in the order of ``layout.free_cells``.
        next_cell: int64 [C, A], the place an action leads to (the same place if blocked).
        bumped: bool [C, A], whether a wall blocks the action.
        patch: float32 [C, 9], the 3 x 3 walls around a place, row-major, 1 for a wall.
        poses: Places per cell: 1, or 4 ways to face.
    """

    layout: Layout
    places: tuple[Cell, ...]
    next_cell: NDArray[np.int64]
    bumped: NDArray[np.bool_]
    patch: NDArray[np.float32]
    poses: int = 1

    @property
    def num_draws(self) -> int:
        """A teleport is drawn from ``range(num_draws)``: the places other than on the goal."""
        return len(self.places) - self.poses


@lru_cache(maxsize=256)
def compile_layout(
    layout: Layout, teleport: TeleportMode = "free", *, turning: bool = False
) -> MazeTables:
    """Compiles a layout for the given teleport rule and kind of agent.

    Raises:
        ValueError: If `teleport` is not a known rule, or is ``"interior"`` and a teleport could
            wall the agent in, or the agent turns.
    """
    if teleport not in get_args(TeleportMode):
        raise ValueError(f"teleport must be one of {get_args(TeleportMode)}, got {teleport!r}")
    if teleport == "interior" and turning:
        raise ValueError(
            "teleport='interior' is a fault of the published maze, whose agent does not turn: "
            "use teleport='free' with an egocentric view"
        )
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
    tables = MazeTables(layout, places, next_cell, bumped, patch)
    if turning:
        tables = _turning(tables)
    for table in (tables.next_cell, tables.bumped, tables.patch):
        table.setflags(write=False)
    return tables


def step_one(tables: MazeTables, place: int, action: int, goal: int) -> tuple[int, bool, bool]:
    """One move of one maze, before any respawn.

    Args:
        tables: The compiled layout.
        place: Place of the agent, in [0, C).
        action: The action, in [0, A).
        goal: Cell number of the goal, in [0, F).

    Returns:
        The place reached, whether it is on the goal, whether a wall blocked the move.
    """
    reached = int(tables.next_cell[place, action])
    return reached, reached // tables.poses == goal, bool(tables.bumped[place, action])


def teleport_target(draw: int, goal: int, poses: int = 1) -> int:
    """The place that draw number `draw`, in [0, C - poses), stands for: it skips the goal."""
    return draw + poses * (draw >= poses * goal)


class StepRoom(NamedTuple):
    """Memory in which steps of B mazes are computed: asking for it anew takes longer than a sum.

    Attributes:
        rows: int64 [B], those of the table.
        reached: [B] of the table's type, where the moves lead.
        cells: Likewise, on which cells.
        hits: bool [B], whether these are the goals.
        seen: [B] or [B, cells], the numbers of what is seen, of the bank's type.
    """

    rows: torch.Tensor | None = None
    reached: torch.Tensor | None = None
    cells: torch.Tensor | None = None
    hits: torch.Tensor | None = None
    seen: torch.Tensor | None = None


_FACING_BITS = torch.tensor(2)  # of a place, that say where an agent faces; faster than the number

NEW = StepRoom()
"""None of it: every result is a new tensor."""


def step_many(
    next_place: torch.Tensor,
    places: torch.Tensor,
    actions: torch.Tensor,
    goals: torch.Tensor,
    turning: bool = False,
    room: StepRoom = NEW,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One move of B mazes, before any respawn. Nothing is checked: actions out of range are wrong.

    Args:
        next_place: [C * A], the place an action leads to: row ``A * place + action``. Of int64 or
            int32, as are places and goals.
        places: [B], places of the agents.
        actions: int64 [B], in [0, A): four, or three of an agent that turns.
        goals: [B], cells of the goals.
        turning: Whether a cell is four places.
        room: Where the results are written, until the next step.

    Returns:
        The rows of the table, int64 [B]; the places reached, [B], which are those before where a
        wall has blocked the move; and whether they are on the goals, bool [B].
    """
    num_actions = TURNING_ACTIONS if turning else NUM_ACTIONS
    rows = torch.add(actions, places, alpha=num_actions, out=room.rows)
    reached = cells = torch.index_select(next_place, 0, rows, out=room.reached)
    if turning:
        cells = torch.bitwise_right_shift(reached, _FACING_BITS, out=room.cells)
    return rows, reached, torch.eq(cells, goals, out=room.hits)


def teleport_targets(draws: torch.Tensor, goals: torch.Tensor, poses: int = 1) -> torch.Tensor:
    """`teleport_target` of many draws: int64 [..., B] from draws [..., B] and goals [B]."""
    if poses == 1:
        return draws + (draws >= goals)
    return draws + poses * (draws >= poses * goals)


def _turning(tables: MazeTables) -> MazeTables:
    """The tables of an agent that turns, from those of one that does not."""
    layout, num_cells, poses = tables.layout, len(tables.places), len(FACING)
    next_cell = np.empty((num_cells, poses, TURNING_ACTIONS), dtype=np.int64)
    bumped = np.zeros(next_cell.shape, dtype=np.bool_)
    for number, (row, column) in enumerate(tables.places):
        for direction, (down, right) in enumerate(FACING):
            there = layout.cell_numbers.get((row + down, column + right))
            turned = ((direction - 1) % poses, (direction + 1) % poses, direction)
            cells = (number, number, number if there is None else there)
            next_cell[number, direction] = [
                poses * cell + way for cell, way in zip(cells, turned, strict=True)
            ]
            bumped[number, direction, 2] = there is None
    places = tuple(cell for cell in tables.places for _ in range(poses))
    shape = (num_cells * poses, TURNING_ACTIONS)
    patch = tables.patch.repeat(poses, 0)
    return MazeTables(layout, places, next_cell.reshape(shape), bumped.reshape(shape), patch, poses)


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
