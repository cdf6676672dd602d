"""Hidden goals, keys and doors in an empty room, and what is to be earned there.

The worlds of in-context reinforcement learning, which pay for what cannot be seen:

    Dark Room       Laskin et al. (2022), "Algorithm Distillation": 9 x 9 cells, start in the
                    centre, 20 steps; 1 for every step that ends on the goal
                    Lee et al. (2023), "Decision-Pretrained Transformer": 10 x 10, start in a
                    corner, 100 steps
    Key-to-Door     Laskin et al. (2022): 9 x 9, start anywhere, 50 steps; 1 for the key, once,
                    then 1 for the door, and the episode ends. The door is none without the key

Returns of who knows the task are exact, averaged over all tasks and starts:

    9 x 9    16.54 = 20 + 1 - 40/9 - 1/81
    10 x 10  91.99 = 100 + 1 - 9 - 1/100
    Key-to-Door 2, for no two of its ways take more than 32 steps

since a goal at a distance of d steps pays from step max(d, 1) on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..base.checks import as_cell, whole_number
from ..base.grids import moved_cells
from ..base.tasks import Arrays, PlainTask, TaskSet

__all__ = [
    "MOVES",
    "DarkRoomReturns",
    "DarkRoomStart",
    "DarkRoomTask",
    "dark_room_reference_returns",
    "dark_room_tasks",
    "first_cell",
    "key_to_door_tasks",
    "next_cells",
]

MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1), (0, 0))
"""(rows, columns) of up, down, left, right, stay."""

next_cells = partial(moved_cells, moves=MOVES)
"""Where each action leads from each cell of a room of some size: int64 [size^2, 5]."""

Cell = tuple[int, int]

DarkRoomStart = Literal["centre", "corner", "random"]
"""Starts of episodes: the centre, the cell (0, 0), or any cell, all equally likely."""

NO_KEY = -1
"""Number of the key's cell where there is none."""

MOST_ROWS = 2**10
"""Rows and columns of a room."""


@dataclass(frozen=True)
class DarkRoomTask(PlainTask):
    """A goal in a room, or a key and a door.

    Args:
        goal: (row, column) of the goal, or of the door.
        key: (row, column) of the key; None: there is no door, and the goal pays again and again.
        size: Cells along a side, at least 2.

    Raises:
        ValueError: If a cell lies outside.
    """

    goal: Cell
    key: Cell | None = None
    size: int = 9

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", whole_number(self.size, "size", least=2, most=MOST_ROWS))
        for name, given in (("goal", self.goal), ("key", self.key)):
            if given is None:
                continue
            row, column = as_cell(given, name)
            if not (0 <= row < self.size and 0 <= column < self.size):
                raise ValueError(f"{name} {given} must lie in the {self.size} x {self.size} room")
            object.__setattr__(self, name, (row, column))

    def arrays(self) -> Arrays:
        """The cell numbers of goal and key (-1: none), and the size, int64 [] each."""
        numbers = (self.goal, self.key)
        goal, key = (NO_KEY if c is None else c[0] * self.size + c[1] for c in numbers)
        return np.array(goal), np.array(key), np.array(self.size)

    @classmethod
    def from_arrays(cls, *arrays: NDArray[Any]) -> DarkRoomTask:
        """The task with these numbers: the inverse of `arrays`."""
        goal, key, size = (int(array) for array in arrays)
        return cls(divmod(goal, size), None if key == NO_KEY else divmod(key, size), size)


@lru_cache(maxsize=16)
def dark_room_tasks(size: int = 9) -> TaskSet[DarkRoomTask]:
    """Every goal of a room, its start among them: size^2 tasks."""
    return TaskSet(tuple(DarkRoomTask(cell, None, size) for cell in cells_of(size)))


@lru_cache(maxsize=4)
def key_to_door_tasks(size: int = 9) -> TaskSet[DarkRoomTask]:
    """Every door with every key, both in one cell among them: size^4 tasks."""
    every = cells_of(size)
    return TaskSet(tuple(DarkRoomTask(door, key, size) for key, door in product(every, every)))


def cells_of(size: int) -> list[Cell]:
    """The cells of a room, in the order of their numbers."""
    size = whole_number(size, "size", least=2, most=MOST_ROWS)
    return list(product(range(size), range(size)))


class DarkRoomReturns(NamedTuple):
    """Expected returns of an episode."""

    random: float
    oracle: float


def dark_room_reference_returns(
    tasks: TaskSet[DarkRoomTask] | Sequence[DarkRoomTask],
    *,
    horizon: int = 20,
    start: DarkRoomStart = "centre",
) -> DarkRoomReturns:
    """Returns of random actions and of who knows the task, averaged over tasks and starts.

    Args:
        tasks: Tasks of rooms of any size, with keys or without.
        horizon: Steps in an episode.
        start: The start of episodes.

    Raises:
        ValueError: If there are no tasks or `horizon` is below 1.
    """
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1 step, got {horizon}")
    if not len(tasks):
        raise ValueError("cannot average over no tasks: there are no goals")
    random, oracle = 0.0, 0.0
    for task in tasks:
        begins = starts_of(task.size, start)
        random += float(_random_returns(task, horizon)[begins].mean())
        oracle += float(np.mean([_known_return(task, int(cell), horizon) for cell in begins]))
    return DarkRoomReturns(random / len(tasks), oracle / len(tasks))


def first_cell(size: int, start: DarkRoomStart) -> int:
    """Number of the cell where episodes start; of those that start anywhere, 0."""
    return (size // 2) * (size + 1) if start == "centre" else 0


def starts_of(size: int, start: DarkRoomStart) -> NDArray[np.int64]:
    """Int64 [S], the cells where episodes start, all equally likely."""
    return np.arange(size**2) if start == "random" else np.array([first_cell(size, start)])


def _random_returns(task: DarkRoomTask, horizon: int) -> NDArray[np.float64]:
    """Float64 [size^2], the return of random actions from every start, by dynamic programming."""
    goal, key, _ = (int(array) for array in task.arrays())
    if key == NO_KEY:
        return _paid_again(task.size, goal, horizon)
    return _paid_once(task.size, goal, key, horizon)


@lru_cache(maxsize=256)
def _paid_again(size: int, goal: int, horizon: int) -> NDArray[np.float64]:
    """Return where every step on the goal pays."""
    table, value = next_cells(size), np.zeros(size**2)
    paid = (np.arange(size**2) == goal).astype(np.float64)
    for _ in range(horizon):
        value = (paid + value)[table].mean(axis=1)
    return value


@lru_cache(maxsize=256)
def _reached(size: int, goal: int, horizon: int) -> NDArray[np.float64]:
    """Float64 [horizon + 1, size^2]: chance to end a step on a goal within so many steps."""
    table, chances = next_cells(size), [np.zeros(size**2)]
    for _ in range(horizon):
        after = chances[-1].copy()
        after[goal] = 1.0
        chances.append(after[table].mean(axis=1))
    return np.stack(chances)


def _paid_once(size: int, door: int, key: int, horizon: int) -> NDArray[np.float64]:
    """Return where a key pays once, and then a door."""
    found, opened = _reached(size, key, horizon), _reached(size, door, horizon)[:, key]
    # Chance to end a step on the key for the first time at step t, times 1 + chance of the door.
    first = np.diff(found, axis=0)  # [horizon, size^2]
    worth = 1 + opened[horizon - 1 - np.arange(horizon)]
    total: NDArray[np.float64] = (first * worth[:, None]).sum(0)
    return total


def _known_return(task: DarkRoomTask, start: int, horizon: int) -> float:
    """Return by shortest ways, from the cell of that number."""
    begin = divmod(start, task.size)
    if task.key is None:
        return float(max(0, horizon + 1 - _steps(begin, task.goal)))
    to_key = _steps(begin, task.key)
    to_door = to_key + _steps(task.key, task.goal)
    return float(to_key <= horizon) + float(to_door <= horizon)


def _steps(begin: Cell, end: Cell) -> int:
    """Steps until one ends on a cell; one where the agent stands on it already."""
    return max(1, abs(begin[0] - end[0]) + abs(begin[1] - end[1]))
