"""Goals for a point in the plane, and what is to be earned there.

Goals are uniform in a square (Finn et al. 2017). The square is cut into `CELLS` x `CELLS` cells and
a split deals out the cells by their hash, so that training and test goals lie in different regions
and both can be drawn on any device. Within the square goals lie on a fine lattice, in the middle of
its meshes, so that rounding never moves a goal to another cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..base.checks import float32_tuple, is_finite_number
from ..base.tasks import (
    DEFAULT,
    Arrays,
    PlainTask,
    Splits,
    TaskFamily,
    TaskSet,
    Tensors,
    check_count,
    deal_out,
)

__all__ = ["PointReturns", "PointTask", "PointTasks", "point_reference_returns"]

CELLS = 32
"""Cells along a side of the square."""

LATTICE = 2**15
"""Meshes of the lattice along a side of a cell."""

QUADRATURE = 8
"""Points along a side of a cell, for expectations over a region."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PointTask(PlainTask):
    """One goal in the plane.

    Args:
        goal: (x, y), rounded to float32.

    Raises:
        ValueError: If the goal is not two finite numbers.
    """

    goal: tuple[float, float]

    def __post_init__(self) -> None:
        goal = float32_tuple(self.goal, "goal")
        if len(goal) != 2 or not all(is_finite_number(x) for x in goal):
            raise ValueError(f"a goal is two finite numbers (x, y), got {self.goal}")
        object.__setattr__(self, "goal", goal)

    def arrays(self) -> Arrays:
        """The goal, float32 [2]."""
        return (np.array(self.goal, dtype=np.float32),)

    @classmethod
    def from_arrays(cls, *arrays: NDArray[Any]) -> PointTask:
        """The task with the goal, float32 [2]."""
        (goal,) = arrays
        return cls((float(goal[0]), float(goal[1])))


@dataclass(frozen=True)
class PointTasks(TaskFamily[PointTask]):
    """Goals uniform in the square [-`half_width`, `half_width`]^2 or in cells of it.

    Args:
        half_width: Half the side of the square, above 0.
        cells: The cells goals may lie in, each once, numbered row by row from 0 to
            ``CELLS**2 - 1``; all if None.

    Raises:
        ValueError: If `half_width` is not above 0 or a cell is out of range or named twice.
    """

    half_width: float = 0.5
    cells: tuple[int, ...] = DEFAULT

    def __post_init__(self) -> None:
        if not (is_finite_number(self.half_width) and self.half_width > 0):
            raise ValueError(f"half_width must be above 0, got {self.half_width}")
        given: tuple[int, ...] | None = self.cells
        cells = tuple(range(CELLS**2)) if given is None else tuple(int(cell) for cell in given)
        wrong = [cell for cell in cells if not 0 <= cell < CELLS**2]
        if wrong or len(set(cells)) < len(cells):
            raise ValueError(f"cells must be different numbers in [0, {CELLS**2}), got {cells}")
        object.__setattr__(self, "cells", cells)

    @property
    def task_type(self) -> type[PointTask]:
        """The class of the tasks."""
        return PointTask

    def __contains__(self, task: object) -> bool:
        if not isinstance(task, PointTask):
            return False
        column, row = (math.floor((x / self.half_width + 1) / 2 * CELLS) for x in task.goal)
        inside = 0 <= column < CELLS and 0 <= row < CELLS
        return inside and row * CELLS + column in self._members

    @property
    def _members(self) -> frozenset[int]:
        return _members(self.cells)

    def draw(self, n: int, generator: torch.Generator, device: torch.device) -> Tensors:
        """float32 [n, 2], goals, without waiting for `device`."""
        self._check_draw(n)
        cells = _corners(self.cells, device)
        rows = torch.randint(len(cells), (n,), generator=generator, device=device)
        corners = cells.index_select(0, rows)
        inside = torch.randint(LATTICE, (n, 2), generator=generator, device=device)
        places = (corners * LATTICE + inside).double() + 0.5
        return (((places * (2 / (CELLS * LATTICE)) - 1) * self.half_width).float(),)

    def draw_arrays(self, n: int, rng: np.random.Generator) -> Arrays:
        """Goals of `n` tasks, float32 [n, 2]."""
        self._check_draw(n)
        corners = cell_corners(self.cells)[rng.integers(len(self.cells), size=n)]
        places = corners * LATTICE + rng.integers(LATTICE, size=(n, 2)) + 0.5
        goals = (places * (2 / (CELLS * LATTICE)) - 1) * self.half_width
        return (goals.astype(np.float32),)

    def split(
        self, *, train: float = 0.8, validation: float = 0.0, test: float = 0.2, salt: str = ""
    ) -> Splits[PointTasks]:
        """Deals out the cells by their hash.

        Args:
            train: Fraction of the cells to train on, at least 0.
            validation: Fraction to choose settings by, at least 0.
            test: Fraction to report on, at least 0; the three sum to 1.
            salt: Another string gives another split.

        Raises:
            ValueError: If a fraction is negative or they do not sum to 1.
        """
        named = ((cell, cell) for cell in self.cells)
        parts = deal_out(named, (train, validation, test), salt)
        return Splits(*(PointTasks(self.half_width, part) for part in parts))

    def _check_draw(self, n: int) -> None:
        if not self.cells:
            raise ValueError("cannot draw from an empty region: widen the split it came from")
        check_count(n)


class PointReturns(NamedTuple):
    """Expected returns of an episode."""

    standing_still: float
    oracle: float


def point_reference_returns(
    tasks: PointTasks | TaskSet[PointTask] | Sequence[PointTask],
    *,
    horizon: int = 100,
    max_step: float = 0.1,
    goal_radius: float = 0.01,
) -> PointReturns:
    """Returns of standing still and of the oracle in an episode, averaged over the goals.

    The oracle knows the goal and moves each coordinate as far towards it as it may: at every step
    no policy is nearer, so none earns more. Over a region the average is by a quadrature with
    `QUADRATURE`^2 points a cell.

    Args:
        tasks: Source of the goals.
        horizon: Steps in an episode.
        max_step: Largest change of a coordinate in a step.
        goal_radius: An episode ends when both coordinates are nearer than this.

    Raises:
        ValueError: If there are no tasks.
    """
    if isinstance(tasks, PointTasks):
        middles = (np.arange(QUADRATURE) + 0.5) / QUADRATURE
        grid = np.stack(np.meshgrid(middles, middles), -1).reshape(1, -1, 2)
        # [cells, 1, 2] + [1, points, 2]
        goals = (cell_corners(tasks.cells)[:, None] + grid).reshape(-1, 2)
        goals = (goals * (2 / CELLS) - 1) * tasks.half_width
    else:
        goals = np.array([task.goal for task in tasks])
    if not len(goals):
        raise ValueError("cannot average over no tasks: there are no goals")
    return PointReturns(
        _return(goals, horizon, 0.0, goal_radius), _return(goals, horizon, max_step, goal_radius)
    )


def cell_corners(cells: tuple[int, ...]) -> NDArray[np.int64]:
    """int64 [n, 2], the (column, row) of cells."""
    numbers = np.array(cells, dtype=np.int64)
    return np.stack((numbers % CELLS, numbers // CELLS), axis=-1)


def _return(goals: Array, horizon: int, max_step: float, goal_radius: float) -> float:
    """Mean return of an agent that goes straight to the goal with steps of `max_step`."""
    away, total = np.abs(goals), np.zeros(len(goals))
    running = np.ones(len(goals), dtype=bool)
    for step in range(horizon):
        before, away = away, np.maximum(away - max_step, 0.0)
        if step and np.array_equal(before, away):  # and so it stays
            total -= (horizon - step) * running * np.hypot(away[:, 0], away[:, 1])
            break
        total -= running * np.hypot(away[:, 0], away[:, 1])
        running &= ~(away < goal_radius).all(-1)
    return float(total.mean())


@lru_cache(maxsize=64)
def _members(cells: tuple[int, ...]) -> frozenset[int]:
    return frozenset(cells)


@lru_cache(maxsize=64)
def _corners(cells: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """`cell_corners` on a device; copied there once."""
    return torch.tensor(cell_corners(cells), device=device)
