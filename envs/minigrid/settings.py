"""Settings that the single environment and its tensor twin share, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..base.checks import check_horizon
from ..base.tasks import TaskSet, as_source, check_task_type
from .task_set import as_minigrid_tasks
from .tasks import MinigridTask
from .views import Observe, check_observe

__all__ = ["MinigridSettings", "Tasks"]

Tasks = TaskSet[MinigridTask] | Sequence[MinigridTask] | str
"""Tasks, or the id whose first thousand seeds give them."""

USUAL_ID = "MiniGrid-SimpleCrossingS9N1-v0"
"""Tasks where none are named: all 42 of this id."""


@dataclass(frozen=True)
class MinigridSettings:
    """Settings of an environment.

    Attributes:
        tasks: Source of tasks when none are set.
        horizon: Steps in an episode, at most.
        given_horizon: Whether the horizon was given, and may cut tasks short.
        view_size: Rows and columns of a view.
    """

    tasks: TaskSet[MinigridTask]
    horizon: int
    given_horizon: bool
    view_size: int

    @classmethod
    def check(cls, tasks: Tasks | None, horizon: int | None, observe: Observe) -> MinigridSettings:
        """Settings as given, checked.

        Raises:
            ValueError: If there are no tasks, no such id, tasks with views of different sizes, or
                a setting is out of range.
            TypeError: If something is no `MinigridTask`.
        """
        check_observe(observe)
        if horizon is not None:
            horizon = check_horizon(horizon)
        source = as_source(as_minigrid_tasks(USUAL_ID if tasks is None else tasks), MinigridTask)
        assert isinstance(source, TaskSet)
        sizes = {task.view_size for task in source}
        if len(sizes) > 1:
            raise ValueError(
                f"the tasks have views of {sorted(sizes)} rows and columns: make one set for each"
            )
        longest = max(task.max_steps for task in source)
        steps = longest if horizon is None else horizon
        return cls(source, steps, horizon is not None, sizes.pop())

    def check_task(self, task: Any) -> MinigridTask:
        """The task itself, if an environment of these settings can play it.

        Raises:
            TypeError: If it is no `MinigridTask`.
            ValueError: If its view has another size, or it has more steps than there are.
        """
        checked = check_task_type(task, MinigridTask)
        if checked.view_size != self.view_size:
            raise ValueError(
                f"task {checked.task_id} has a view of {checked.view_size} rows and columns, this "
                f"environment of {self.view_size}: make one for such tasks"
            )
        if checked.max_steps > self.horizon and not self.given_horizon:
            raise ValueError(
                f"task {checked.task_id} has {checked.max_steps} steps, this environment "
                f"{self.horizon}: make one with horizon={checked.max_steps}"
            )
        return checked
