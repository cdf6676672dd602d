"""A check that tasks reach an environment: two that differ must make a difference.

An environment that ignores an option, or reads an attribute when it is built and never again, plays
one task under many names, and nothing else would say so. An option that no environment reads is an
error. Beyond that, two environments made for the purpose are told two tasks and play the same
actions from the same seed; where they behave alike that is a warning, for the tasks may differ
later than anybody looked.
"""

from __future__ import annotations

import copy
import dataclasses
import reprlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import gymnasium
import numpy as np
import torch

NUM_STEPS = 200
"""For which two environments may behave alike before it is said."""

Via = Literal["attribute", "option"]
AnyEnv = gymnasium.Env[Any, Any]


class WatchedOptions(dict[str, Any]):
    """Reset options that note whether anybody looked at one of them; pickled, they do not.

    Attributes:
        seen: Whether that one was read, or all of them were.
    """

    def __init__(self, options: Mapping[str, Any], name: str) -> None:
        """Watch the option ``name``."""
        super().__init__(options)
        self.name, self.seen = name, False

    def _look(self, key: object) -> None:
        self.seen = self.seen or key == self.name

    def __contains__(self, key: object) -> bool:
        self._look(key)
        return super().__contains__(key)

    def __getitem__(self, key: str) -> Any:
        self._look(key)
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[str]:
        self.seen = True
        return super().__iter__()

    def get(self, key: str, default: Any = None) -> Any:
        """The dict's value of a key, which is noted as read."""
        self._look(key)
        return super().get(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        """The dict's value of a key, which is taken out and noted as read."""
        self._look(key)
        return super().pop(key, *default)

    def keys(self) -> Any:
        """The dict's keys, all noted as read."""
        self.seen = True
        return super().keys()

    def items(self) -> Any:
        """The dict's items, all noted as read."""
        self.seen = True
        return super().items()

    def values(self) -> Any:
        """The dict's values, all noted as read."""
        self.seen = True
        return super().values()

    def copy(self) -> Self:
        """Itself, so that a look at the copy counts."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (list(super().items()),)


def ignored_option(name: str) -> str:
    """The message about a reset option that no environment reads."""
    return (
        f"the environments do not look at the reset option {name!r}, so that every task is the "
        "same to them: give task_name= an option that their reset reads, or an attribute with "
        "task_via='attribute', or wrap them in what does the task"
    )


def two_different(tasks: Sequence[Any]) -> tuple[Any, Any] | None:
    """The first task, and another that differs from it; None: all are alike."""
    others = (task for task in tasks[1:] if not alike(tasks[0], task))
    other = next(others, None)
    return None if other is None else (tasks[0], other)


def check_difference(
    first: AnyEnv, second: AnyEnv, via: Via, name: str, tasks: tuple[Any, Any], options: Any
) -> None:
    """Warn where two environments behave alike on two tasks that differ; closes them.

    Args:
        first: Is told the first task.
        second: Made in the same way; is told the second.
        via: Way in which tasks are told.
        name: Name of the attribute or option.
        tasks: Differ.
        options: Others, for ``reset``.

    Raises:
        ValueError: Nobody looks at the option.
    """
    told = zip((first, second), tasks, strict=True)
    shown = (behaviour(env, via, name, task, options) for env, task in told)
    try:
        if not all(alike(one, other) for one, other in zip(*shown, strict=False)):
            return
    finally:
        first.close()
        second.close()
    a, b = (reprlib.repr(task) for task in tasks)
    warnings.warn(
        f"the tasks {a} and {b}, told by the {via} {name!r}, made no difference in {NUM_STEPS} "
        "steps of the same actions from the same seed. An attribute must be read while episodes "
        "are played, not only when the environment is built, and must outlive reset; give "
        "task_name= another, or task_via= the other way. If tasks differ later than that, give "
        "check_tasks=False",
        stacklevel=4,
    )


def behaviour(env: AnyEnv, via: Via, name: str, task: Any, options: Any) -> Iterator[Any]:
    """Yield an environment's outputs on a task, step by step: the same actions at every call.

    Raises:
        ValueError: It does not look at the option.
    """
    chosen: dict[str, Any] = dict(options)
    if via == "option":
        chosen = WatchedOptions({**options, name: task}, name)
    else:
        env.set_wrapper_attr(name, task)
    observation, info = env.reset(seed=0, options=chosen or None)
    if isinstance(chosen, WatchedOptions) and not chosen.seen:
        raise ValueError(ignored_option(name))
    yield copy.deepcopy((observation, info))
    actions = copy.deepcopy(env.action_space)  # which may be one object for all environments
    actions.seed(0)
    for _ in range(NUM_STEPS):
        observation, reward, terminated, truncated, _ = env.step(actions.sample())
        yield copy.deepcopy((observation, reward, terminated, truncated))
        if terminated or truncated:
            yield copy.deepcopy(env.reset(options=chosen or None)[0])


def alike(a: Any, b: Any) -> bool:
    """Whether two values are equal, whatever they are made of."""
    if a is b:
        return True
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        a, b = a.detach().cpu().numpy(), b.detach().cpu().numpy()
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape:
            return False
        if a.dtype == object or b.dtype == object:
            return all(alike(x, y) for x, y in zip(a.flat, b.flat, strict=True))
        return bool(((a == b) | ((a != a) & (b != b))).all())
    if type(a) is not type(b) and not (np.isscalar(a) and np.isscalar(b)):
        return False
    if dataclasses.is_dataclass(a) and not isinstance(a, type):
        return alike(vars(a), vars(b)) if hasattr(a, "__dict__") else bool(a == b)
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(alike(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b) or (a != a and b != b)


def fresh_pair(make: Callable[[], AnyEnv], known: Sequence[AnyEnv]) -> tuple[AnyEnv, AnyEnv] | None:
    """Two environments for trying; None: the function hands out ones that are in use."""
    first, second = make(), make()
    used = {id(env.unwrapped) for env in known}
    if first.unwrapped is second.unwrapped or {id(first.unwrapped), id(second.unwrapped)} & used:
        return None
    return first, second
