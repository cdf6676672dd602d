"""Maze tasks as numbers: cells by their numbers, walls as rows of bits (`envs.maze.bits`).

The tensor environment knows the tasks of B mazes by up to four arrays, in this order:

    goal        int64 [B], a cell number
    start       int64 [B], likewise
    layout      its rows, int64 [B, H], or its number in a bank, int64 [B]; left out where the
                environment has one layout
    direction   int64 [B], the way the agent looks at first, -1 where the task does not say; left
                out where agents do not turn
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from ..base.tasks import TaskSource, Tensors
from .bits import MOST_SIDE, free_rows
from .layout import Layout
from .tasks import MazeTask

__all__ = [
    "UNSAID",
    "FamilyDraws",
    "Sizes",
    "TaskTable",
    "check_rows",
    "check_tasks",
    "num_free",
    "task_numbers",
]

UNSAID = -1
"""The direction of a task that does not say one."""


PAIRS, FOURS, BYTES = 0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F
"""Every second bit, every second two, every second four."""


class Sizes(NamedTuple):
    """Free cells, rows and columns that some layouts have, at most."""

    cells: int
    height: int
    width: int

    @classmethod
    def of_layouts(cls, layouts: Sequence[Layout]) -> Sizes:
        """The sizes of layouts.

        Raises:
            ValueError: If one is too large to be padded.
        """
        for layout in layouts:
            if max(layout.height, layout.width) > MOST_SIDE:
                raise ValueError(
                    f"mazes of different layouts have at most {MOST_SIDE} rows and columns, got "
                    f"one of {layout.height} x {layout.width}: make an environment with this "
                    f"layout alone"
                )
        sizes = [(layout.num_free, layout.height, layout.width) for layout in layouts]
        return cls(*(max(x) for x in zip(*sizes, strict=True)))

    @classmethod
    def of_rows(cls, rows: torch.Tensor) -> Sizes:
        """The sizes of layouts given as rows, int64 [n, H]. Waits for the device."""
        most, widest = torch.stack((num_free(rows).amax(), rows.amax())).tolist()
        return cls(most, rows.shape[1], widest.bit_length())

    def joined(self, other: Sizes) -> Sizes:
        """Sizes that hold both."""
        return Sizes(*map(max, zip(self, other, strict=True)))


def task_numbers(
    tasks: Sequence[MazeTask], height: int | None, turning: bool, device: torch.device
) -> torch.Tensor:
    """The numbers of N tasks, side by side: int64 [N, D].

    Args:
        tasks: The tasks.
        height: Rows of a layout, 0 below it; None to leave layouts out.
        turning: Whether directions are in.
        device: Device of the numbers.
    """
    rows = []
    for task in tasks:
        row = [task.goal_number, task.start_number]
        if height is not None:
            row += [*task.layout.packed.tolist(), *[0] * (height - task.layout.height)]
        if turning:
            row.append(UNSAID if task.direction is None else task.direction)
        rows.append(row)
    width = 2 + (height or 0) + turning
    return torch.tensor(rows, dtype=torch.int64, device=device).view(len(rows), width)


def check_tasks(
    goals: torch.Tensor,
    starts: torch.Tensor,
    num_free: torch.Tensor,
    directions: torch.Tensor | None = None,
) -> None:
    """Checks that tasks given as numbers, int64 [B] each, are tasks in layouts of `num_free` cells.

    Raises:
        ValueError: If one is not.
    """
    outside = (starts < 0) | (starts >= num_free)
    if bool(outside.any()):
        first = int(outside.nonzero()[0])
        raise ValueError(f"start {int(starts[first])} is no cell number in [0, {num_free[first]})")
    wrong = (goals < 0) | (goals >= num_free) | (goals == starts)
    if bool(wrong.any()):
        first = int(wrong.nonzero()[0])
        raise ValueError(
            f"goal {int(goals[first])} is no cell number in [0, {num_free[first]}) "
            f"other than the start's, {int(starts[first])}"
        )
    if directions is not None:
        odd = (directions < UNSAID) | (directions > 3)
        if bool(odd.any()):
            raise ValueError(
                f"direction {int(directions[odd][0])} is none of 0 right, 1 down, 2 left, 3 up, "
                f"or {UNSAID} where a task does not say"
            )


def check_rows(rows: torch.Tensor) -> torch.Tensor:
    """The numbers of free cells, int64 [n], of layouts given as rows, int64 [n, H].

    Raises:
        ValueError: If one is too wide, has fewer than two free cells or an open border.
    """
    free, top = free_rows(rows), rows[:, :1]
    inside = top >> 1 & ~1  # the columns but the first and the last
    wide = ((top < 0) | (top >> MOST_SIDE != 0) | (top & (top + 1) != 0))[:, 0]
    below = torch.cat((rows[:, 1:], torch.zeros_like(top)), 1) == 0  # nothing is below such a row
    open_ = ((free & ~inside) != 0).any(1) | (below & (free != 0)).any(1)
    cells = num_free(rows)
    wrong = wide | open_ | (cells < 2) | (rows > top).any(1)
    if bool(wrong.any()):
        number = int(wrong.nonzero()[0])
        raise ValueError(
            f"the walls of task {number} are no layout with a closed border and two free cells, "
            f"at most {MOST_SIDE} wide: rows {rows[number].tolist()}; make the numbers of tasks "
            f"with task_tensor"
        )
    return cells


def num_free(rows: torch.Tensor) -> torch.Tensor:
    """The numbers of free cells of layouts given as rows: int64 [n] of int64 [n, H]."""
    bits = free_rows(rows)  # counted in pairs, in fours, in bytes
    bits = bits - (bits >> 1 & PAIRS)
    bits = (bits & FOURS) + (bits >> 2 & FOURS)
    bits = bits + (bits >> 4) & BYTES
    return sum((bits >> shift & 255 for shift in range(0, 64, 8)), torch.zeros_like(bits)).sum(1)


class TaskTable:
    """The tasks of a set on a device, drawn as the set draws them.

    Attributes:
        layouts: The different layouts, in the order in which they come.
        rows: Their walls, int64 [L, H].
        by_number: Whether tasks have the numbers of their layouts in place of the rows.

    Args:
        tasks: The tasks.
        turning: Whether directions are in.
        device: Device of the draws.
        most_numbers: Layouts that may be said by number, at most.
    """

    def __init__(
        self, tasks: Sequence[MazeTask], turning: bool, device: torch.device, most_numbers: int
    ) -> None:
        self.layouts = tuple(dict.fromkeys(task.layout for task in tasks))
        height = max(layout.height for layout in self.layouts)
        packed = [[*x.packed.tolist(), *[0] * (height - x.height)] for x in self.layouts]
        self.rows = torch.tensor(packed, device=device)
        numbers = {layout: number for number, layout in enumerate(self.layouts)}
        columns = [[task.goal_number for task in tasks], [task.start_number for task in tasks]]
        if len(self.layouts) > 1:
            columns.append([numbers[task.layout] for task in tasks])
        if turning:
            columns.append([UNSAID if t.direction is None else t.direction for t in tasks])
        self._columns = [torch.tensor(column, device=device) for column in columns]
        self.by_number = len(self.layouts) <= most_numbers
        if len(self.layouts) > 1 and not self.by_number:
            self._columns[2] = self.rows.index_select(0, self._columns[2])
        self._length = len(tasks)

    def draw(self, n: int, generator: torch.Generator, device: torch.device) -> Tensors:
        """The arrays of `n` tasks drawn independently and uniformly, [n] each."""
        rows = torch.randint(self._length, (n,), generator=generator, device=device)
        return tuple(column.index_select(0, rows) for column in self._columns)


class FamilyDraws:
    """The tasks of a family of mazes, with layouts as rows.

    Args:
        family: The family.
        turning: Whether directions are in.
    """

    def __init__(self, family: TaskSource[MazeTask], turning: bool) -> None:
        self._family, self._turning = family, turning

    def draw(self, n: int, generator: torch.Generator, device: torch.device) -> Tensors:
        """The arrays of `n` tasks drawn independently, [n, ...] each."""
        goals, starts, rows, *said = self._family.draw(n, generator, device)
        if not self._turning:
            return goals, starts, rows
        return goals, starts, rows, said[0] if said else torch.full_like(goals, UNSAID)
