"""Views of task batches: what was drawn of them is remembered, or their places are known.

`Recorded` hands it out again, so that adaptation can be taken from elsewhere: updates that move the
initialisation several times on the same experience (PPO's epochs, TRPO's line search) adapt from
each candidate by the batches that were drawn at first. `Noted` keeps what the experience says of
itself, such as the returns of every task, while a learner works on the tasks as it likes.
`NumberedTasks` know their places in the meta-batch, however they are divided into chunks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import torch
from torch import Tensor

from metarl.core import DivisibleTaskBatch, Params, Split, TaskBatch
from metarl.meta.task_checks import check_offers

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
