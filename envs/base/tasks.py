"""Tasks as values and where they come from.

A *task* is a frozen dataclass of JSON values: hashable, equal when its contents are, named by a
hash of them. A *task source* is what an environment draws tasks from:

    TaskSet       finitely many tasks, uniform; can be enumerated, filtered and split by hash
    TaskFamily    infinitely many, drawn by a rule (uniform goals, Dirichlet transitions, ...)

Both sample values with a NumPy or torch generator and draw whole batches as tensors on a device
without waiting for it. A tensor environment never sees the values, but their numbers as arrays
(`Task.arrays`); the way back is exact because a task's real numbers are rounded to float32 when it
is made. Splits into train, validation and test go by a hash of the task itself, so that they do not
depend on order, process, platform or on which other tasks are around.
"""

from __future__ import annotations

import hashlib
import json
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from .checks import json_object
from .splits import Splits, deal_out

__all__ = [
    "DEFAULT",
    "Arrays",
    "NumberSource",
    "PlainTask",
    "Splits",
    "Task",
    "TaskFamily",
    "TaskSet",
    "TaskSource",
    "Tensors",
    "as_source",
    "check_count",
    "check_one_for_each",
    "check_task_type",
    "deal_out",
]

DEFAULT: Any = None
"""Stands for a field that `__post_init__` fills in: once made, a value holds no None."""

Arrays = tuple[NDArray[Any], ...]
Tensors = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Task(ABC):
    """A task: a frozen dataclass of JSON values, hashable."""

    @abstractmethod
    def arrays(self) -> Arrays:
        """The numbers an environment needs, as arrays of float32 or int64."""

    @classmethod
    def stack(cls, arrays: Sequence[Arrays]) -> Arrays:
        """The arrays of n tasks (at least one) side by side, [n, ...] each."""
        return tuple(np.stack(column) for column in zip(*arrays, strict=True))

    @cached_property
    def task_id(self) -> str:
        """16 hexadecimal digits, a hash of the contents: the same on every machine."""
        text = f"{type(self).__name__} {self.to_json()}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """A JSON object with the fields."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: If it is no JSON object, a field is missing, unknown or of the wrong form.
        """
        fields = json_object(text, cls.__name__)
        try:
            return cls(**fields)
        except TypeError as error:
            raise ValueError(f"not a {cls.__name__}: {error}, got {text[:80]!r}") from error


class PlainTask(Task):
    """A task that is nothing but its numbers."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, *arrays: NDArray[Any]) -> Self:
        """The task with these numbers: the inverse of `arrays`."""


ItemT = TypeVar("ItemT")
PlainT = TypeVar("PlainT", bound=PlainTask)
T = TypeVar("T", bound=Task)
T_co = TypeVar("T_co", bound=Task, covariant=True)


class NumberSource(Protocol):
    """A source of tasks as arrays."""

    def draw(self, n: int, generator: torch.Generator, device: torch.device) -> Tensors:
        """The arrays of `n` tasks drawn independently, [n, ...] each, on `device`."""


class TaskSource(NumberSource, Protocol[T_co]):
    """A source that an environment draws its tasks from."""

    def sample(self, n: int, rng: np.random.Generator | torch.Generator) -> tuple[T_co, ...]:
        """Draws `n` tasks independently."""


@dataclass(frozen=True)
class TaskSet(Generic[T]):
    """Finitely many tasks of one kind, uniform. May be empty, but nothing can be drawn then.

    Args:
        tasks: The tasks, each once.

    Raises:
        ValueError: If a task is named twice.
        TypeError: If something is no `Task`, or the kinds differ.
    """

    tasks: tuple[T, ...]

    def __post_init__(self) -> None:
        tasks: tuple[Any, ...] = tuple(self.tasks)
        object.__setattr__(self, "tasks", tasks)
        if wrong := [task for task in tasks if not isinstance(task, Task)]:
            raise TypeError(f"a task must be a Task, got {wrong[0]!r}")
        if len({type(task) for task in self.tasks}) > 1:
            raise TypeError("the tasks are of different kinds: make one task set for each")
        if len(self._members) < len(self.tasks):
            raise ValueError("a task is named twice: name each once")

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[T]:
        return iter(self.tasks)

    def __getitem__(self, index: int) -> T:
        return self.tasks[index]

    def __contains__(self, task: object) -> bool:
        return task in self._members

    def __getstate__(self) -> dict[str, Any]:
        return {"tasks": self.tasks}  # not the caches

    @cached_property
    def _members(self) -> frozenset[T]:
        return frozenset(self.tasks)

    @cached_property
    def _banks(self) -> dict[torch.device, Tensors]:
        """The arrays of the whole set, by device; copied there once."""
        return {}

    def sample(self, n: int, rng: np.random.Generator | torch.Generator) -> tuple[T, ...]:
        """Draws `n` tasks independently and uniformly, with replacement.

        Args:
            n: Number of tasks, at least 0.
            rng: A NumPy or a (CPU or GPU) torch generator. The two give different tasks.

        Raises:
            ValueError: If the set is empty or `n` is negative.
        """
        self._check_draw(n)
        if isinstance(rng, torch.Generator):
            draws = torch.randint(len(self), (n,), generator=rng, device=rng.device).tolist()
        else:
            draws = rng.integers(len(self), size=n).tolist()
        return tuple(self.tasks[index] for index in draws)

    def draw(self, n: int, generator: torch.Generator, device: torch.device | str) -> Tensors:
        """The arrays of `n` tasks drawn likewise, [n, ...] each, without waiting for `device`.

        Raises:
            ValueError: If the set is empty or `n` is negative.
        """
        self._check_draw(n)
        device = torch.device(device)
        rows = torch.randint(len(self), (n,), generator=generator, device=device)
        banks = self._banks.get(device)
        if banks is None:
            columns = type(self[0]).stack([task.arrays() for task in self.tasks])
            banks = tuple(torch.tensor(column, device=device) for column in columns)
            self._banks[device] = banks
        return tuple(bank.index_select(0, rows) for bank in banks)

    def filter(self, predicate: Callable[[T], bool]) -> TaskSet[T]:
        """The tasks for which `predicate` holds, possibly none."""
        return TaskSet(tuple(task for task in self if predicate(task)))

    def split(
        self, *, train: float = 0.8, validation: float = 0.0, test: float = 0.2, salt: str = ""
    ) -> Splits[TaskSet[T]]:
        """Parts the tasks by their hash.

        Each falls into a part whatever the others are: filtering before or after a split gives the
        same. The price is that the sizes are only about the fractions.

        Args:
            train: Fraction of the tasks to train on, at least 0.
            validation: Fraction to choose settings by, at least 0.
            test: Fraction to report on, at least 0; the three sum to 1.
            salt: Another string gives another split.

        Raises:
            ValueError: If a fraction is negative or they do not sum to 1.
        """
        named = ((task.task_id, task) for task in self)
        parts = deal_out(named, (train, validation, test), salt)
        return Splits(*(TaskSet(part) for part in parts))

    def to_json(self) -> str:
        """A JSON object with the name of the kind and the tasks, in order."""
        kind = type(self[0]).__name__ if len(self) else None
        return json.dumps({"kind": kind, "tasks": [json.loads(task.to_json()) for task in self]})

    @classmethod
    def from_json(cls, text: str, task_type: type[T]) -> TaskSet[T]:
        """Reads what `to_json` wrote.

        Args:
            text: The JSON.
            task_type: The kind of the tasks.

        Raises:
            ValueError: If it is something else, or the tasks are of another kind.
        """
        fields = json_object(text, "task set")
        name = task_type.__name__
        if set(fields) != {"kind", "tasks"} or not isinstance(fields["tasks"], list):
            raise ValueError(f"not a task set: expected kind and tasks, got {text[:80]!r}")
        if fields["tasks"] and fields["kind"] != name:
            raise ValueError(f"the tasks are of kind {fields['kind']!r}, {name} was asked for")
        return cls(tuple(task_type.from_json(json.dumps(task)) for task in fields["tasks"]))

    def _check_draw(self, n: int) -> None:
        if not len(self):
            raise ValueError(
                "cannot draw from an empty task set: widen the filter or the split it came from"
            )
        check_count(n)


class TaskFamily(ABC, Generic[PlainT]):
    """Infinitely many tasks, drawn by a rule. Two draws coincide with negligible probability."""

    @property
    @abstractmethod
    def task_type(self) -> type[PlainT]:
        """The class of the tasks."""

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> Self:
        """The family with these fields, which may be JSON values.

        Raises:
            ValueError: If one is missing, unknown or out of range.
        """
        try:
            return cls(**fields)
        except TypeError as error:
            raise ValueError(f"not a {cls.__name__}: {error}, got {dict(fields)}") from error

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator, device: torch.device) -> Tensors:
        """The arrays of `n` tasks drawn independently, [n, ...] each, on `device`."""

    @abstractmethod
    def draw_arrays(self, n: int, rng: np.random.Generator) -> Arrays:
        """The arrays of `n` tasks drawn independently with NumPy, [n, ...] each."""

    def sample(self, n: int, rng: np.random.Generator | torch.Generator) -> tuple[PlainT, ...]:
        """Draws `n` tasks independently.

        Args:
            n: Number of tasks, at least 0.
            rng: A NumPy or a (CPU or GPU) torch generator. The two give different tasks.

        Raises:
            ValueError: If `n` is negative.
        """
        check_count(n)
        if isinstance(rng, torch.Generator):
            arrays = tuple(x.cpu().numpy() for x in self.draw(n, rng, rng.device))
        else:
            arrays = self.draw_arrays(n, rng)
        return tuple(self.task_type.from_arrays(*row) for row in zip(*arrays, strict=True))

    def split(
        self, *, train: float = 0.8, validation: float = 0.0, test: float = 0.2, salt: str = ""
    ) -> Any:
        """Raises ValueError, but in families with parts that can be named.

        What keeps test tasks apart in a continuum is that no task is drawn twice, not a split.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"{type(self).__name__} draws from a continuum, where no task comes twice, and has no "
            "parts to split: draw the test tasks with a generator of their own, or split a TaskSet "
            "of drawn tasks"
        )


def as_source(
    tasks: TaskSource[T] | Sequence[T], task_type: type[T], family: type[Any] | None = None
) -> TaskSource[T]:
    """A task source: itself, or the set of a sequence of tasks.

    Args:
        tasks: The source or the tasks. Sets, tasks and families may also be the JSON objects that
            Gymnasium's ``spec.to_json`` makes of them.
        task_type: The kind of the tasks.
        family: The `TaskFamily` of such tasks, if there is one.

    Raises:
        TypeError: If the tasks are not all of `task_type`.
        ValueError: If there are none, or fields are missing, unknown or out of range.
    """
    given: Any = tasks
    if isinstance(given, task_type):
        raise TypeError(f"{reprlib.repr(given)} is one task: give a sequence of tasks, or [task]")
    if isinstance(given, Mapping) and "tasks" in given:
        given = list(given["tasks"])
    if isinstance(given, Mapping) and family is not None:
        given = family.of_fields(given)
    if isinstance(given, Sequence):
        given = TaskSet(
            tuple(
                task_type.from_json(json.dumps(task)) if isinstance(task, Mapping) else task
                for task in given
            )
        )
    source: TaskSource[T] = given
    if isinstance(source, TaskSet):
        if not len(source):
            raise ValueError("there are no tasks to draw from: give at least one")
        check_task_type(source[0], task_type)
    elif getattr(source, "task_type", None) is not task_type:
        raise TypeError(f"the tasks must be of kind {task_type.__name__}, got {source!r}")
    return source


def check_task_type(task: Any, task_type: type[ItemT]) -> ItemT:
    """The task itself, if it is of `task_type`.

    Raises:
        TypeError: If it is not.
    """
    if not isinstance(task, task_type):
        raise TypeError(f"a task must be a {task_type.__name__}, got {task!r}")
    return task


def check_one_for_each(tasks: Any, num_envs: int) -> None:
    """Checks that there is a task for each of `num_envs` environments.

    Raises:
        TypeError: If they are no sequence.
        ValueError: If there are more or fewer.
    """
    if isinstance(tasks, str | Mapping) or not isinstance(tasks, Collection):
        raise TypeError(
            f"tasks must be a sequence of {num_envs} tasks, one for each environment, got "
            f"{reprlib.repr(tasks)}"
        )
    if len(tasks) != num_envs:
        raise ValueError(f"got {len(tasks)} tasks for {num_envs} environments: give one for each")


def check_count(n: int) -> None:
    """Checks that a number of tasks is one.

    Raises:
        ValueError: If `n` is no whole number, or negative.
    """
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise ValueError(f"n must be a whole number, at least 0, got {n!r}")
    if n < 0:
        raise ValueError(f"cannot draw {n} tasks: n must be at least 0")
