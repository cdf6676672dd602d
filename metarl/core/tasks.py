"""What a learner sees of a meta-batch of tasks, whether images or mazes."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Literal, Protocol, Self, TypeVar

from torch import Tensor

from metarl.core.params import Params

BatchT = TypeVar("BatchT")
ReadT = TypeVar("ReadT", contravariant=True)  # a batch that is read and never given
Split = Literal["support", "query"]


class TaskBatch(Protocol[BatchT]):
    """N tasks (or N agents' batches of tasks), vectorised over the leading axis.

    Every parameter that reaches it is stacked ``[N, ...]``, the shared ones too (`core.share`).
    A data set ignores the parameters when it samples; a maze is rolled out with them.
    """

    @property
    def num_tasks(self) -> int:
        """N."""

    def sample(self, fast: Params, slow: Params, split: Split) -> BatchT:
        """Draw experience for every task, without a graph."""

    def loss(self, fast: Params, slow: Params, batch: BatchT) -> Tensor:
        """The loss of every task, ``[N]``: a mean within the task, never over tasks."""


class DivisibleTaskBatch(TaskBatch[BatchT], Protocol):
    """A task batch that can be taken apart, so that a few tasks are worked on at a time.

    What a task draws must not depend on how the batch was divided: each task has its own data or
    its own generator.
    """

    def select(self, tasks: slice) -> Self:
        """These tasks alone."""


class DataTaskBatch(TaskBatch[BatchT], Protocol):
    """Tasks whose experience does not depend on the parameters: those of a data set."""

    @property
    def loss_identity(self) -> Hashable:
        """Equal where the loss is the same function of parameters and experience."""

    def draw(self, split: Split) -> BatchT:
        """What `sample` draws."""


class Halves(Protocol[ReadT]):
    """A loss in two halves: features that no fast parameter reaches, and what is left."""

    def features(self, slow: Params, batch: ReadT) -> Tensor:
        """What the first half makes of a batch, ``[N, B, ...]``.

        Args:
            slow: Slow parameters, unstacked.
            batch: Of N tasks.
        """

    def later(self, slow: Params) -> dict[str, Tensor]:
        """The slow parameters that the second half reads."""

    def loss(self, fast: Params, slow: Params, features: Tensor, batch: ReadT) -> Tensor:
        """The second half: `TaskBatch.loss`, of features."""


class StagedTaskBatch(DataTaskBatch[BatchT], Protocol):
    """Tasks of a data set whose loss can be taken in two halves (`core.run_once`)."""

    @property
    def repeats(self) -> bool:
        """Whether a split is the same batch whenever it is drawn."""

    def halves(self, fast: Collection[str]) -> Halves[BatchT] | None:
        """The halves before and after the first of these parameters; None: nothing comes before."""
