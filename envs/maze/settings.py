"""The settings the single and the tensor environment share, checked once, at construction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ..base.checks import whole_number
from ..base.tasks import TaskSet, as_source, check_task_type
from .dynamics import MazeTables, TeleportMode, compile_layout
from .generators import make_layout
from .layout import Layout
from .tasks import MazeTask, maze_tasks
from .views import View

__all__ = ["GoalRule", "MazeSettings", "Start", "check_task"]

Tasks = TaskSet[MazeTask] | Sequence[MazeTask]

Start = Literal["centre", "random"]
"""Starts of episodes: on the task's start cell (the centre, if it names none), or each on a free
cell other than the goal, all equally likely."""

GoalRule = Literal["teleports", "ends"]
"""Rules of a goal that has paid: send the agent elsewhere, or end the episode."""


@dataclass(frozen=True)
class MazeSettings:
    """The settings that a grid maze environment was made with, complete and valid.

    Attributes:
        layout: The walls.
        tasks: Source of tasks when none is set.
        horizon: Steps in an episode.
        reward: Paid on entering the goal.
        wall_penalty: Taken off when a wall blocks a move.
        teleport: Destinations of an agent that finds the goal.
        start: The start of episodes.
        goal: The goal's rule when it has paid.
        observe: The view of an agent.
        tables: The compiled layout.
    """

    layout: Layout
    tasks: TaskSet[MazeTask]
    horizon: int
    reward: float
    wall_penalty: float
    teleport: TeleportMode
    start: Start
    goal: GoalRule
    observe: View
    tables: MazeTables

    @property
    def reward_range(self) -> tuple[float, float]:
        """The least and the largest reward of a step."""
        return min(0.0, self.reward, -self.wall_penalty), max(0.0, self.reward)

    @classmethod
    def check(
        cls,
        *,
        maze: str,
        size: int,
        layout: Layout | None,
        tasks: Tasks | None,
        horizon: int,
        reward: float,
        wall_penalty: float,
        teleport: TeleportMode,
        start: Start,
        goal: GoalRule,
        observe: View,
    ) -> MazeSettings:
        """Fills in the defaults and checks every value.

        Raises:
            ValueError: If a value is out of range or two of them contradict each other.
            TypeError: If `tasks` are of another kind.
        """
        layout, source = _layout_and_tasks(maze, size, layout, tasks)
        if not math.isfinite(reward):
            raise ValueError(f"reward must be finite, got {reward}")
        if not (math.isfinite(wall_penalty) and wall_penalty >= 0):
            raise ValueError(
                f"wall_penalty is subtracted, so it must be finite and at least 0, "
                f"got {wall_penalty}"
            )
        for name, value, kind in (
            ("start", start, Start),
            ("goal", goal, GoalRule),
            ("observe", observe, View),
        ):
            if value not in get_args(kind):
                raise ValueError(f"{name} must be one of {get_args(kind)}, got {value!r}")
        return cls(
            layout,
            source,
            whole_number(horizon, "horizon"),
            float(reward),
            float(wall_penalty),
            teleport,
            start,
            goal,
            observe,
            compile_layout(layout, teleport),
        )


def _layout_and_tasks(
    maze: str, size: int, layout: Layout | None, tasks: Tasks | None
) -> tuple[Layout, TaskSet[MazeTask]]:
    """`layout`, else that of `tasks`, else the maze of this name and size; `tasks` or all goals.

    Raises:
        ValueError: If there is no such maze, or tasks are for another layout.
    """
    if tasks is None:
        layout = make_layout(maze, size) if layout is None else layout
        return layout, maze_tasks(layout)
    source = as_source(tasks, MazeTask)
    assert isinstance(source, TaskSet)
    layout = source[0].layout if layout is None else layout
    for task in source:
        if task.layout != layout:
            raise ValueError(
                f"tasks are for another layout than the environment's:\n{task.layout}\nand\n"
                f"{layout}\ngive only tasks, all of one layout, and the environment takes it"
            )
    return layout, source


def check_task(task: Any, layout: Layout) -> MazeTask:
    """The task itself, if it is one for this layout.

    Raises:
        TypeError: If it is not a `MazeTask`.
        ValueError: If it is for another layout.
    """
    checked = check_task_type(task, MazeTask)
    if checked.layout != layout:
        raise ValueError(
            f"task {checked.task_id} is for another layout:\n{checked.layout}\nthis environment "
            f"has\n{layout}\nmake an environment with layout=task.layout"
        )
    return checked
