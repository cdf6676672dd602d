"""Goals of GridNavi, and what is to be earned there.

The grid world of Zintgraf et al. (2020), "VariBAD", section 5.1: 5 x 5 cells, start in a corner,
the goal on any cell that is not within a king's move of the start. 15 steps per episode, 4 episodes
per trial, 1 for each step that ends on the goal and -0.1 for any other. Exact, per episode:

    random    -1.17    uniform random actions
    oracle    11.07    the shortest way to a known goal, and staying there

and for a whole trial `explorer_return`, what a walk earns that looks for the goal along a fixed
tour and takes shortest ways from then on. The reward tells of nothing but the goal, so all that a
learner can know before it finds the goal is which cells it has seen: every optimal learner is
such an explorer. `EXPLORER_TOUR` earns 37.11 of the oracle's 44.29, and no
learner whatever earns more than 37.74 (`explorer_bound`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..base.checks import as_cell, whole_number
from ..base.grids import moved_cells
from ..base.tasks import Arrays, PlainTask, TaskSet

__all__ = [
    "EXPLORER_TOUR",
    "GridNaviReturns",
    "GridNaviTask",
    "explorer_bound",
    "explorer_return",
    "grid_navi_reference_returns",
    "grid_navi_tasks",
    "next_cells",
]

MOVES = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))
"""(dx, dy) of stay, up, right, down, left, in the published order."""

next_cells = partial(moved_cells, moves=MOVES)
"""Where each action leads from each cell of a room of some size: int64 [size^2, 5]."""

ON_GOAL, ELSEWHERE = 1.0, -0.1

Point = tuple[int, int]

MOST_ROWS = 2**12
"""Rows and columns of a grid; every cell is a number of what is observed."""


@dataclass(frozen=True)
class GridNaviTask(PlainTask):
    """One goal on a grid; episodes start at (0, 0).

    Args:
        goal: (x, y), each in [0, size), not within a king's move of the start.
        size: Cells along a side, at least 3.

    Raises:
        ValueError: If the goal is outside or too near the start, or the grid too small.
    """

    goal: Point
    size: int = 5

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", whole_number(self.size, "size", least=3, most=MOST_ROWS))
        x, y = as_cell(self.goal, "goal")
        if not (0 <= x < self.size and 0 <= y < self.size) or max(x, y) < 2:
            raise ValueError(
                f"goal {self.goal} must lie in the {self.size} x {self.size} grid, at least 2 "
                f"cells from the start (0, 0) along x or y"
            )
        object.__setattr__(self, "goal", (x, y))

    @property
    def distance(self) -> int:
        """Steps from the start to the goal."""
        return sum(self.goal)

    def arrays(self) -> Arrays:
        """The goal's cell number, ``x * size + y``, and the size, int64 [] each."""
        x, y = self.goal
        return np.array(x * self.size + y), np.array(self.size)

    @classmethod
    def from_arrays(cls, *arrays: NDArray[Any]) -> GridNaviTask:
        """The task with the cell number and the size, int64 [] each."""
        cell, size = (int(array) for array in arrays)
        return cls((cell // size, cell % size), size)


def grid_navi_tasks(size: int = 5) -> TaskSet[GridNaviTask]:
    """Every goal of a grid: 21 of the 25 cells of the published one."""
    size = whole_number(size, "size", least=3, most=MOST_ROWS)
    return TaskSet(
        tuple(GridNaviTask((x, y), size) for x in range(size) for y in range(size) if max(x, y) > 1)
    )


class GridNaviReturns(NamedTuple):
    """Expected returns of an episode."""

    random: float
    oracle: float


def grid_navi_reference_returns(
    tasks: TaskSet[GridNaviTask] | Sequence[GridNaviTask], *, horizon: int = 15
) -> GridNaviReturns:
    """Returns of random actions and of the oracle in an episode, averaged over `tasks`.

    Raises:
        ValueError: If there are no tasks or `horizon` is below 1.
    """
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1 step, got {horizon}")
    if not len(tasks):
        raise ValueError("cannot average over no tasks: there are no goals")
    random = [_random_return(task, horizon) for task in tasks]
    oracle = [_known_return(task.distance, horizon) for task in tasks]
    return GridNaviReturns(float(np.mean(random)), float(np.mean(oracle)))


def explorer_return(
    tour: Sequence[str], tasks: TaskSet[GridNaviTask] | Sequence[GridNaviTask], *, horizon: int = 15
) -> float:
    """Return of a trial along a tour, until the goal is found and after, averaged over `tasks`.

    Args:
        tour: One string for each episode, of U, R, D, L and - (stay), at most `horizon` long. An
            agent that finds the goal stays there, and goes straight to it in later episodes; one
            that does not stays where the string ends.
        tasks: Goals of one size.
        horizon: Steps in an episode.

    Raises:
        ValueError: If there are no tasks or an episode's walk is too long.
    """
    if not len(tasks) or max(map(len, tour)) > horizon:
        raise ValueError(f"give at least one task, and walks of at most {horizon} steps")
    visits = _first_visits(tour, tasks[0].size)
    total = 0.0
    for task in tasks:
        episode, step = visits.get(task.goal, (len(tour), 0))
        total += ELSEWHERE * horizon * episode
        if episode < len(tour):
            total += _known_return(step, horizon)
            total += (len(tour) - episode - 1) * _known_return(task.distance, horizon)
    return total / len(tasks)


def explorer_bound(
    tasks: TaskSet[GridNaviTask] | Sequence[GridNaviTask],
    *,
    horizon: int = 15,
    num_episodes: int = 4,
) -> float:
    """More than this no learner earns in a trial, averaged over `tasks`.

    As if a new goal could be looked at in every step of an episode from the nearest one's distance
    on, and the nearest goals, whose later episodes are worth most, came first.
    """
    nearest = min(task.distance for task in tasks)
    times = [(e, t) for e in range(num_episodes) for t in range(nearest, horizon + 1)]
    total = 0.0
    goals = sorted(task.distance for task in tasks)
    for (episode, step), distance in zip(times, goals, strict=False):
        total += ELSEWHERE * horizon * episode + _known_return(step, horizon)
        total += (num_episodes - episode - 1) * _known_return(distance, horizon)
    return (total + ELSEWHERE * horizon * num_episodes * max(0, len(goals) - len(times))) / len(
        goals
    )


EXPLORER_TOUR = ("UURULURRDRDLDRD", "RRRRUUUUL", "", "")
"""A tour that sees all 21 goals in two episodes."""


def _random_return(task: GridNaviTask, horizon: int) -> float:
    """Dynamic programming over the probability of being on each cell."""
    table, goal = next_cells(task.size), int(task.arrays()[0])
    reward = np.where(np.arange(task.size**2) == goal, ON_GOAL, ELSEWHERE)
    value = np.zeros(task.size**2)
    for _ in range(horizon):
        value = (reward + value)[table].mean(axis=1)
    return float(value[0])


def _known_return(distance: int, horizon: int) -> float:
    """Return of an episode that is first on the goal after step `distance`, and then stays."""
    before = min(distance - 1, horizon)
    return ELSEWHERE * before + ON_GOAL * (horizon - before)


def _first_visits(tour: Sequence[str], size: int) -> dict[Point, tuple[int, int]]:
    """The episode, from 0, and the step, from 1, in which a tour first enters each cell."""
    table, letters = next_cells(size), "-URDL"
    visits: dict[Point, tuple[int, int]] = {}
    for episode, walk in enumerate(tour):
        cell = 0
        for step, letter in enumerate(walk, start=1):
            cell = int(table[cell, letters.index(letter)])
            visits.setdefault((cell // size, cell % size), (episode, step))
    return visits
