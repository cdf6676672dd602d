"""Maze tasks as numbers: cells by their numbers, walls as rows of bits (`envs.maze.bits`).

`TaskReader` reads the tasks that are set from outside, and shows those at hand: values, numbers and
the arrays between.

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
from math import prod
from typing import Any

import numpy as np
import torch

from ..base.arrays import as_tensor
from ..base.tasks import TaskSet, Tensors, check_one_for_each
from ..base.tensor import KEEP
from .bits import check_rows
from .boards import Boards
from .settings import MazeSettings
from .tasks import UNSAID, MazeTask

__all__ = ["TaskReader", "check_tasks", "parameter_shapes", "task_numbers"]


class TaskReader:
    """Reader of the tasks of B mazes, from the reset options and back to values.

    Args:
        settings: The environment's settings.
        num_envs: Number of mazes, B.
        device: Device of the results.
    """

    def __init__(self, settings: MazeSettings, num_envs: int, device: torch.device) -> None:
        self.settings, self.num_envs, self.device = settings, num_envs, device
        self._turning = settings.sight.turning
        self._usual_width = sum(prod(shape) for shape in parameter_shapes(settings).values())

    def numbers(self, tasks: Sequence[Any]) -> torch.Tensor:
        """The numbers of tasks, int64 [N, D]; see `GridMazeVectorEnv.task_tensor`.

        Raises:
            TypeError: If a task is of another kind.
            ValueError: If a task cannot be played.
        """
        checked = [self.settings.check_task(task) for task in tasks]
        layouts = {task.layout for task in checked}
        height = None
        if self.settings.layout is None or layouts - {self.settings.layout}:
            heights = (layout.height for layout in layouts)
            height = max(self.settings.sizes.height, *heights, 0)
        return task_numbers(checked, height, self._turning, self.device)

    def read(self, chosen: dict[str, Any]) -> Any:
        """Arrays of the tasks to set (`envs.maze.numbers`); None to draw, `KEEP` to change nothing.

        Args:
            chosen: The reset options.

        Raises:
            TypeError: If a task is of another kind.
            ValueError: If they say no tasks of these mazes.
        """
        if chosen.get("goals") is not None:
            if chosen.get("tasks") is not None:
                raise ValueError("give tasks or goals in the reset options, not both")
            return self._read_goals(chosen["goals"])
        if "tasks" not in chosen:
            return None if "goals" in chosen else KEEP
        tasks = chosen["tasks"]
        if tasks is None:
            return None
        if isinstance(tasks, torch.Tensor | np.ndarray):
            return self._read_numbers(tasks, check=self.device.type == "cpu")
        check_one_for_each(tasks, self.num_envs)
        return self._read_numbers(self.numbers(tasks), check=False)

    def layouts(self, params: Tensors) -> torch.Tensor | None:
        """The layouts among tasks' arrays, rows or numbers; None where all share the one."""
        return params[2] if len(params) > 2 + self._turning else None

    def shown(self, params: Tensors, boards: Boards) -> Tensors:
        """The arrays of tasks, with layouts as rows.

        Args:
            params: The arrays.
            boards: Knows layouts by number.
        """
        layouts = self.layouts(params)
        return params if layouts is None else (*params[:2], boards.rows(layouts), *params[3:])

    def named(self, params: Tensors) -> dict[str, torch.Tensor]:
        """The arrays of tasks, with layouts as rows, by their names."""
        rows = () if self.layouts(params) is None else ("rows",)
        names = ("goal", "start", *rows, *("direction",) * self._turning)
        return dict(zip(names, params, strict=True))

    def values(self, params: Tensors, boards: Boards, count: int) -> tuple[MazeTask, ...]:
        """The first `count` tasks of these arrays as values. Waits for the device.

        Args:
            params: The arrays.
            boards: Knows layouts by number.
            count: Number of tasks.
        """
        arrays = [array[:count].tolist() for array in params]
        walls: list[Any] = [self.settings.layout] * count
        if self.layouts(params) is not None:
            walls = [boards.layout(layout) for layout in arrays.pop(2)]
        ways = arrays.pop() if self._turning else [UNSAID] * count
        return tuple(
            MazeTask.of_numbers(layout, goal, start, None if way == UNSAID else way)
            for layout, goal, start, way in zip(walls, *arrays, ways, strict=True)
        )

    def _read_numbers(self, numbers: Any, *, check: bool) -> Tensors:
        """The arrays of tasks given as rows of numbers, which must be tasks where `check`."""
        rows, settings = as_tensor(numbers, self.device), self.settings
        least = 2 + self._turning  # goal, start and direction
        width = rows.shape[1] if rows.dim() == 2 and len(rows) == self.num_envs else 0
        wide = width > least + 2 and settings.teleport == "free"
        alone = width == least and settings.layout is not None
        if rows.dtype != torch.int64 or not (wide or alone):
            raise ValueError(
                f"tasks given as numbers must be int64 of shape (num_envs, D) = "
                f"({self.num_envs}, {self._usual_width}), with more columns for walls of other "
                f"layouts, got {rows.dtype} of shape {tuple(rows.shape)}: make them with "
                f"task_tensor"
            )
        copy = rows.t().clone(memory_format=torch.contiguous_format)  # [D, B]
        goals, starts = copy[0], copy[1]
        layouts = (copy[2 : width - self._turning].t().contiguous(),) if wide else ()  # [B, H]
        directions = (copy[-1],) if self._turning else ()
        if check:
            if wide:
                num_free = check_rows(*layouts)
            else:
                num_free = torch.full_like(goals, settings.sizes.cells)
            check_tasks(goals, starts, num_free, *directions)
        return goals, starts, *layouts, *directions

    def _read_goals(self, goals: Any) -> Tensors:
        """The arrays of tasks in the one layout, with the usual start."""
        goals, settings = as_tensor(goals, self.device), self.settings
        if goals.dtype != torch.int64 or goals.shape != (self.num_envs,):
            raise ValueError(
                f"goals must be int64 of shape ({self.num_envs},), got {goals.dtype} of shape "
                f"{tuple(goals.shape)}"
            )
        tasks = settings.tasks
        usual = {task.start_number for task in tasks} if isinstance(tasks, TaskSet) else set()
        if len(usual) != 1 or settings.layout is None:
            raise ValueError(
                "goals alone do not say a task here, where tasks start on different cells or in "
                "different layouts: give tasks in the reset options"
            )
        starts = torch.full_like(goals, usual.pop())
        check_tasks(goals, starts, torch.full_like(goals, settings.sizes.cells))
        directions = (torch.full_like(goals, UNSAID),) if self._turning else ()
        return goals.clone(), starts, *directions


def parameter_shapes(settings: MazeSettings) -> dict[str, tuple[int, ...]]:
    """The arrays of the tasks that an environment draws, and their shapes."""
    shapes: dict[str, tuple[int, ...]] = {"goal": (), "start": ()}
    if settings.layout is None:
        shapes["rows"] = (settings.sizes.height,)
    if settings.sight.turning:
        shapes["direction"] = ()
    return shapes


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
