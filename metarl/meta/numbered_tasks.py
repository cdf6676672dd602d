"""Tasks that know their places in the meta-batch, however they are divided into chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from metarl.core import DivisibleTaskBatch, Params, Split, TaskBatch
from metarl.meta.task_checks import check_offers


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
        """What the tasks draw."""
        return self.tasks.sample(fast, slow, split)

    def loss(self, fast: Params, slow: Params, batch: Any) -> Tensor:
        """Their losses ``[N]``."""
        return self.tasks.loss(fast, slow, batch)

    def select(self, tasks: slice) -> NumberedTasks:
        """These tasks alone."""
        divisible: DivisibleTaskBatch[Any] = check_offers(self.tasks, self, "select")
        start, _, _ = tasks.indices(self.num_tasks)
        return NumberedTasks(divisible.select(tasks), self.first + start)
