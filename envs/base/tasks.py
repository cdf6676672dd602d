"""Tasks as values and where they come from, for the environments that are not mazes.

A *task* is a frozen dataclass whose fields are JSON values: hashable, equal when its contents are,
named by a hash of them. A *task source* is what an environment draws tasks from:

    TaskSet       finitely many tasks, uniform; can be enumerated, filtered and split by hash
    TaskFamily    infinitely many, drawn by a rule (uniform goals, Dirichlet transitions, ...)

Both sample values with a NumPy or torch generator and draw whole batches as tensors on a device
without waiting for it. A tensor environment never sees the values, but their numbers as arrays:
`Task.arrays` and `Task.from_arrays` are the way there and back, exact because a task's real numbers
are rounded to float32 when it is made.
"""

from __future__ import annotations

import hashlib
import json
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from .json_text import json_object

__all__ = [
    "DEFAULT",
    "Arrays",
    "PlainTask",
    "Splits",
    "Task",
    "TaskFamily",
    "TaskSet",
    "TaskSource",
    "Tensors",
    "check_count",
    "check_fractions",
    "deal_out",
    "float32_array",
    "float32_tuple",
    "stack_tasks",
]

DEFAULT: Any = None
"""Stands for a field that `__post_init__` fills in: once made, a value holds no None."""

Arrays = tuple[NDArray[Any], ...]
Tensors = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Task(ABC):
    """A task: a frozen dataclass of JSON values."""

    @abstractmethod
    def arrays(self) -> Arrays:
        """The numbers an environment needs, as arrays of float32 or int64."""

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


class TaskSource(Protocol[T_co]):
    """What an environment draws its tasks from."""

    def sample(self, n: int, rng: np.random.Generator | torch.Generator) -> tuple[T_co, ...]:
        """Draws `n` tasks independently."""

    def draw(self, n: int, generator: torch.Generator, device: torch.device) -> Tensors:
        """The arrays of `n` tasks drawn independently, [n, ...] each, on `device`."""


class Splits(NamedTuple, Generic[T]):
    """Disjoint parts of a task set; together they are the whole."""

    train: TaskSet[T]
    validation: TaskSet[T]
    test: TaskSet[T]


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
        if len(set(self.tasks)) < len(self.tasks):
            raise ValueError("a task is named twice: name each once")

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[T]:
        return iter(self.tasks)

    def __getitem__(self, index: int) -> T:
        return self.tasks[index]

    def __contains__(self, task: object) -> bool:
        return task in self._members

    @cached_property
    def _members(self) -> frozenset[T]:
        return frozenset(self.tasks)

    def sample(self, n: int, rng: np.random.Generator | torch.Generator) -> tuple[T, ...]:
        """Draws `n` tasks independently and uniformly, with replacement.

        Raises:
            ValueError: If the set is empty or `n` is negative.
        """
        self._check_draw(n)
        if isinstance(rng, torch.Generator):
            draws = torch.randint(len(self), (n,), generator=rng, device=rng.device).tolist()
        else:
            draws = rng.integers(len(self), size=n).tolist()
        return tuple(self.tasks[index] for index in draws)

    def draw(self, n: int, generator: torch.Generator, device: torch.device) -> Tensors:
        """The arrays of `n` tasks drawn likewise, [n, ...] each, without waiting for `device`.

        Raises:
            ValueError: If the set is empty or `n` is negative.
        """
        self._check_draw(n)
        rows = torch.randint(len(self), (n,), generator=generator, device=device)
        return tuple(bank.index_select(0, rows) for bank in _banks(self, device))

    def filter(self, predicate: Callable[[T], bool]) -> TaskSet[T]:
        """The tasks for which `predicate` holds, possibly none."""
        return TaskSet(tuple(task for task in self if predicate(task)))

    def split(
        self, *, train: float = 0.8, validation: float = 0.0, test: float = 0.2, salt: str = ""
    ) -> Splits[T]:
        """Parts the tasks by their hash: each falls into a part whatever the others are.

        Args:
            train: Fraction of the tasks to train on, at least 0.
            validation: Fraction to choose settings by, at least 0.
            test: Fraction to report on, at least 0; the three sum to 1.
            salt: Another string gives another split.

        Raises:
            ValueError: If a fraction is negative or they do not sum to 1.
        """
        fractions = check_fractions(train, validation, test)
        parts = deal_out(((task.task_id, task) for task in self), fractions, salt)
        return Splits(*(TaskSet(part) for part in parts))

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
        """The kind of its tasks."""

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator, device: torch.device) -> Tensors:
        """The arrays of `n` tasks drawn independently, [n, ...] each, on `device`."""

    @abstractmethod
    def draw_arrays(self, n: int, rng: np.random.Generator) -> Arrays:
        """The same with NumPy."""

    def sample(self, n: int, rng: np.random.Generator | torch.Generator) -> tuple[PlainT, ...]:
        """Draws `n` tasks independently.

        Args:
            n: How many, at least 0.
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
        """Refuses, but for families with parts that can be named.

        What keeps test tasks apart in a continuum is that no task is drawn twice, not a split.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"{type(self).__name__} draws from a continuum, where no task comes twice, and has no "
            "parts to split: draw the test tasks with a generator of their own, or split a TaskSet "
            "of drawn tasks"
        )


def stack_tasks(tasks: Iterable[Task]) -> Arrays:
    """The arrays of all tasks, [n, ...] each."""
    return tuple(np.stack(column) for column in zip(*(t.arrays() for t in tasks), strict=True))


def float32_array(values: Any, name: str) -> NDArray[np.float32]:
    """The values rounded to float32; too large ones become infinite.

    Raises:
        ValueError: If they are no full array of numbers.
    """
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} must be a full array of numbers: {error}") from None
    if array.size and array.dtype.kind not in "iuf":  # texts and truth values are no numbers
        raise ValueError(f"{name} must be a full array of numbers, got {reprlib.repr(values)}")
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def float32_tuple(values: Sequence[float], name: str) -> tuple[float, ...]:
    """The values rounded to float32, as Python floats.

    Raises:
        ValueError: If they are no sequence of numbers.
    """
    array = float32_array(values, name)
    if array.ndim != 1:
        raise ValueError(f"{name} must be a sequence of numbers, got {reprlib.repr(values)}")
    return tuple(array.tolist())


def check_count(n: int) -> None:
    """Refuses a negative number of tasks.

    Raises:
        ValueError: If `n` is negative.
    """
    if n < 0:
        raise ValueError(f"cannot draw {n} tasks: n must be at least 0")


@lru_cache(maxsize=64)
def _banks(tasks: TaskSet[Any], device: torch.device) -> Tensors:
    """The arrays of a whole set on a device; copied there once."""
    return tuple(torch.tensor(array, device=device) for array in stack_tasks(tasks))


def check_fractions(train: float, validation: float, test: float) -> tuple[float, float, float]:
    """The three fractions of a split.

    Raises:
        ValueError: If one is negative or they do not sum to 1.
    """
    fractions = (train, validation, test)
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(
            f"train={train}, validation={validation}, test={test} sum to {sum(fractions)}: "
            f"they must be fractions of at least 0 that sum to 1"
        )
    return fractions


def deal_out(
    items: Iterable[tuple[object, ItemT]], fractions: tuple[float, float, float], salt: str
) -> tuple[tuple[ItemT, ...], ...]:
    """Part items by the hash of their names: train, validation and test, in the given order.

    Args:
        items: Pairs of a name and what is dealt out by it.
        fractions: Checked by `check_fractions`.
        salt: Another string gives another split.
    """
    parts: tuple[list[ItemT], ...] = ([], [], [])
    for name, item in items:
        parts[part_of(f"{salt}/{name}", fractions)].append(item)
    return tuple(tuple(part) for part in parts)


def part_of(text: str, fractions: tuple[float, float, float]) -> int:
    """The part a hash of `text` falls into, the same on every machine: 0, 1 or 2."""
    train, validation, _ = fractions
    place = int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48
    return 0 if place < train else 1 if place < train + validation else 2
