"""What the small environments check at their border: tasks, actions, horizons, render modes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from .tasks import Task, TaskSet, TaskSource
from .whole_numbers import whole_number

__all__ = [
    "as_source",
    "check_discrete",
    "check_horizon",
    "check_render_mode",
    "check_task_type",
]

T = TypeVar("T", bound=Task)
AnyT = TypeVar("AnyT")


def as_source(tasks: TaskSource[T] | Sequence[T], task_type: type[T]) -> TaskSource[T]:
    """A task source: itself, or the set of a sequence of tasks.

    Raises:
        TypeError: If the tasks are not all of `task_type`.
        ValueError: If there are none.
    """
    source = TaskSet(tuple(tasks)) if isinstance(tasks, Sequence) else tasks
    if isinstance(source, TaskSet):
        if not len(source):
            raise ValueError("there are no tasks to draw from: give at least one")
        check_task_type(source[0], task_type)
    elif getattr(source, "task_type", None) is not task_type:
        raise TypeError(f"the tasks must be of kind {task_type.__name__}, got {source!r}")
    return source


def check_task_type(task: Any, task_type: type[AnyT]) -> AnyT:
    """The task itself, if it is of `task_type`.

    Raises:
        TypeError: If it is not.
    """
    if not isinstance(task, task_type):
        raise TypeError(f"a task must be a {task_type.__name__}, got {task!r}")
    return task


def check_discrete(action: Any, num_actions: int, names: str = "") -> np.int64:
    """The action as an integer.

    Args:
        action: What was given.
        num_actions: How many there are.
        names: What they are called, for the error message.

    Raises:
        ValueError: If it is not a whole number in [0, num_actions).
    """
    try:
        return np.int64(whole_number(action, "action", least=0, most=num_actions - 1))
    except ValueError:
        wanted = names or f"a whole number in [0, {num_actions})"
        raise ValueError(f"action must be {wanted}, got {action}") from None


def check_horizon(horizon: int) -> int:
    """The number of steps in an episode.

    Raises:
        ValueError: If it is no whole number of at least 1.
    """
    return whole_number(horizon, "horizon")


def check_render_mode(render_mode: str | None, known: Sequence[str]) -> None:
    """Refuses a render mode that is not known.

    Raises:
        ValueError: If it is neither None nor known.
    """
    if render_mode is not None and render_mode not in known:
        raise ValueError(f"render_mode must be None or one of {list(known)}, got {render_mode!r}")
