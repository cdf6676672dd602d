"""Views of task batches: what was drawn of them is remembered, or their places are known.

`Recorded` hands it out again, so that adaptation can be taken from elsewhere: updates that move the
initialisation several times on the same experience (PPO's epochs, TRPO's line search) adapt from
each candidate by the batches that were drawn at first. `Noted` keeps what the experience says of
itself, such as the returns of every task, while a learner works on the tasks as it likes.
`NumberedTasks` know their places in the meta-batch, however they are divided into chunks.

Learners count on some things of a batch; `explained` says in words what is wrong, and whose errors
of torch are whose.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import torch
from torch import Tensor

from metarl.core import (
    DivisibleTaskBatch,
    FeatureTasks,
    Params,
    Split,
    TaskBatch,
    nested_tensors,
    run_once,
)
from metarl.core.second_order import twice_differentiable

BASIC = ("num_tasks", "sample", "loss")
"""Attributes that every task batch has."""

FOREIGN = {
    ("vmap", "Batching rule", "batched tensor"): (
        "torch.vmap cannot vectorise this network over tasks: give the module itself, "
        "SupervisedTasks(net, ...) or metarl.nn.ModuleNetwork(net), which is called task by task "
        "where it must be and draws for each task"
    ),
    ("modified inplace", "inplace operation"): (
        "the loss writes in place into what gradients need: leave it, such as max_norm of "
        "nn.Embedding"
    ),
    ("sparse",): (
        "gradients must be dense: take sparse=False in nn.Embedding, nn.EmbeddingBag and their "
        "functions"
    ),
}
"""Meanings and remedies of torch's messages, by words in them."""


def check_offers(tasks: object, learner: object, *names: str) -> Any:
    """Check that tasks have what a learner asks of them.

    Returns:
        The tasks, as what was asked for.

    Raises:
        TypeError: They lack some of it.
    """
    missing = [name for name in (*BASIC, *names) if not hasattr(tasks, name)]
    if missing:
        raise TypeError(
            f"{type(learner).__name__} needs tasks with {', '.join(f'`{n}`' for n in missing)}, "
            f"which {type(tasks).__name__} does not have: write what is missing"
            + (
                ", or take SupervisedTasks(network, examples, criterion)"
                if missing[-1] == "loss"
                else ""
            )
        )
    return tasks


@contextmanager
def explained(tasks: TaskBatch[Any], at: Callable[[], tuple[Params, Params]]) -> Iterator[None]:
    """Say in words what an error that is raised inside has to do with the tasks.

    Args:
        tasks: N tasks.
        at: Gives fast and slow parameters, stacked ``[N, ...]``, to look at the tasks with.

    Raises:
        NotImplementedError: A second derivative is asked for that torch does not have.
        RuntimeError: torch cannot do what the tasks ask for; the remedy is named.
        ValueError: The tasks draw experience without a leading axis of tasks.
    """
    try:
        with twice_differentiable():
            yield
    except (RuntimeError, IndexError, ValueError) as error:
        if error.__cause__ is None:  # else it has been explained
            with torch.no_grad():
                explain(error, tasks, *at())
        raise


def check_metrics(tasks: TaskBatch[Any], metrics: Mapping[str, Tensor]) -> None:
    """Check that metrics are one number per task.

    Raises:
        ValueError: One of them is not ``[N]``.
    """
    for name, value in metrics.items():
        if tuple(value.shape) != (tasks.num_tasks,):
            raise ValueError(
                f"the metric {name} has shape {tuple(value.shape)} where it must be "
                f"({tasks.num_tasks},): one number per task"
            )


def explain(error: Exception, tasks: TaskBatch[Any], fast: Params, slow: Params) -> None:
    """Say what an error in the middle of a learner has to do with the tasks, if it has.

    Args:
        error: The error raised; it gets a note if it came out of the loss.
        tasks: The N tasks of it.
        fast: Fast parameters, stacked ``[N, ...]``.
        slow: Slow parameters, stacked ``[N, ...]``.

    Raises:
        RuntimeError: torch cannot do what the tasks ask for; the remedy is named.
        ValueError: The tasks draw experience without a leading axis of tasks.
    """
    if type(error) is RuntimeError:
        for words, remedy in FOREIGN.items():
            if any(word in str(error) for word in words):
                raise RuntimeError(f"{remedy} ({str(error).splitlines()[0]})") from error
    frames = {frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)}
    of_tasks = {type(tasks).loss.__code__, run_once.__code__, FeatureTasks.loss.__code__}
    if not of_tasks & frames or isinstance(error, torch.OutOfMemoryError):
        return
    count, name = tasks.num_tasks, type(tasks).__name__
    for value in nested_tensors(tasks.sample(fast, slow, "support")):
        if value.dim() == 0 or len(value) != count:
            raise ValueError(
                f"`{name}.sample` gave a tensor of shape {tuple(value.shape)}: experience of "
                f"{count} tasks is stacked, [{count}, ...]"
            ) from error
    if hasattr(error, "__notes__"):
        return
    error.add_note(
        f"This came out of `{name}.loss`. Parameters reach it stacked over the tasks, "
        f"[{count}, ...], those that all tasks share too, and so does experience."
    )


BatchT = TypeVar("BatchT")


class Recorded(Generic[BatchT]):
    """Draws and notes; from the first `replay` on it hands out what was noted, in order.

    Attributes:
        tasks: Source of the batches.
        batches: The batches drawn, in order, each with its split.
    """

    def __init__(self, tasks: TaskBatch[BatchT]) -> None:
        """Begin without batches."""
        self.tasks = tasks
        self.batches: list[tuple[Split, BatchT]] = []
        self._next: int | None = None

    @property
    def num_tasks(self) -> int:
        """Number of tasks, N."""
        return self.tasks.num_tasks

    def replay(self) -> None:
        """Go back to the first batch."""
        self._next = 0

    def sample(self, fast: Params, slow: Params, split: Split) -> BatchT:
        """Draw, or hand out the next batch.

        Raises:
            ValueError: There is no next batch, or it is of the other split.
        """
        if self._next is None:
            batch = self.tasks.sample(fast, slow, split)
            self.batches.append((split, batch))
            return batch
        if self._next == len(self.batches) or self.batches[self._next][0] != split:
            splits = ", ".join(s for s, _ in self.batches)
            raise ValueError(
                f"batch {self._next} is asked for as {split}, but what was recorded is: {splits}"
            )
        self._next += 1
        return self.batches[self._next - 1][1]

    def loss(self, fast: Params, slow: Params, batch: BatchT) -> Tensor:
        """Return the tasks' losses ``[N]``."""
        return self.tasks.loss(fast, slow, batch)


Drawn: TypeAlias = list[tuple[Split, Mapping[str, Tensor]]]
"""Draws of some tasks, in order: each time the split, and metrics ``[N]``."""


class Noted(Generic[BatchT]):
    """Tasks in front of which it is noted what a learner draws, however it divides them.

    For the time of one meta-batch. Everything else is the tasks' own.

    Attributes:
        tasks: Source of the batches.
    """

    def __init__(self, tasks: TaskBatch[BatchT]) -> None:
        """Begin without batches."""
        self.tasks = tasks
        self._place = 0  # the number of the first task in the whole meta-batch
        self._drawn: dict[int, Drawn] = {}
        self._first: dict[int, BatchT] = {}

    @property
    def num_tasks(self) -> int:
        """N, or the size of a part."""
        return self.tasks.num_tasks

    def loss(self, fast: Params, slow: Params, batch: BatchT) -> Tensor:
        """Return the tasks' losses ``[N]``."""
        return self.tasks.loss(fast, slow, batch)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the tasks."""
        if name == "tasks" or name.startswith("__"):
            raise AttributeError(name)
        own = getattr(self.tasks, name)
        return self._select if name == "select" else own  # divisible where the tasks are

    def sample(self, fast: Params, slow: Params, split: Split) -> BatchT:
        """Draw and note."""
        batch = self.tasks.sample(fast, slow, split)
        metrics = getattr(batch, "metrics", {})
        self._drawn.setdefault(self._place, []).append((split, metrics))
        if split == "support":
            self._first.setdefault(self._place, batch)
        return batch

    def _select(self, tasks: slice) -> Noted[BatchT]:
        """Return these tasks alone; they note in the same place."""
        divisible: Any = self.tasks
        part: Noted[BatchT] = Noted(divisible.select(tasks))
        part._place = self._place + tasks.indices(self.num_tasks)[0]
        part._drawn, part._first = self._drawn, self._first
        return part

    @property
    def first(self) -> list[BatchT]:
        """The first batch to adapt by of every part that has drawn, in the order of the tasks."""
        return [self._first[place] for place in sorted(self._first)]

    @property
    def metrics(self) -> dict[str, Tensor]:
        """Metrics of all draws, as the tasks sum them up (`MeasuredTaskBatch`), ``[N]`` each."""
        if not hasattr(self.tasks, "measured"):
            return {}
        parts = [self.tasks.measured(self._drawn[place]) for place in sorted(self._drawn)]
        return (
            {name: torch.cat([part[name] for part in parts]) for name in parts[0]} if parts else {}
        )


@dataclass(frozen=True)
class NumberedTasks:
    """A task batch, or a chunk of one.

    Attributes:
        tasks: The tasks.
        first: The number of the first of them in the whole meta-batch.
    """

    tasks: TaskBatch[Any]
    first: int = 0

    @property
    def num_tasks(self) -> int:
        """N, or the size of the chunk."""
        return self.tasks.num_tasks

    @property
    def places(self) -> slice:
        """The places of these tasks in the whole meta-batch."""
        return slice(self.first, self.first + self.num_tasks)

    def sample(self, fast: Params, slow: Params, split: Split) -> Any:
        """Draw a batch of the tasks."""
        return self.tasks.sample(fast, slow, split)

    def loss(self, fast: Params, slow: Params, batch: Any) -> Tensor:
        """Return the tasks' losses ``[N]``."""
        return self.tasks.loss(fast, slow, batch)

    def select(self, tasks: slice) -> NumberedTasks:
        """Return a batch of these tasks alone."""
        divisible: DivisibleTaskBatch[Any] = check_offers(self.tasks, self, "select")
        start, _, _ = tasks.indices(self.num_tasks)
        return NumberedTasks(divisible.select(tasks), self.first + start)
