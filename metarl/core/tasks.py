"""A meta-batch of tasks as a learner sees it, whether images or mazes.

Every task batch is a `TaskBatch`. What some learners ask beside that is a protocol of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from typing import Literal, Protocol, Self, TypeGuard, TypeVar

import torch
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
        """Number of tasks, N."""

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
        """Return a batch of these tasks alone."""


def is_divisible(tasks: TaskBatch[BatchT]) -> TypeGuard[DivisibleTaskBatch[BatchT]]:
    """Whether a task batch can be taken apart."""
    return hasattr(tasks, "select")


class IdentifiedTaskBatch(DivisibleTaskBatch[BatchT], Protocol):
    """N tasks that are met again: each has a number for life."""

    @property
    def indices(self) -> Tensor:
        """The numbers of the tasks, ``[N]``, int64, 0 to M - 1, on the parameters' device."""


class ShowingTaskBatch(DivisibleTaskBatch[BatchT], Protocol):
    """Tasks that show what a learned loss may see."""

    def features(self, fast: Params, slow: Params, batch: BatchT) -> Tensor:
        """Features of every example of the batch, ``[N, B, F]``, without its label.

        They must depend on the fast parameters, as predictions or activations do: there is nothing
        to descend otherwise.
        """


class PartedTaskBatch(TaskBatch[BatchT], Protocol):
    """Tasks whose loss can be taken in parts, so that memory is needed for one at a time."""

    def losses(self, fast: Params, slow: Params, batch: BatchT) -> Iterator[Tensor]:
        """Parts of the loss, ``[N]`` each, which add up to `loss`.

        Each is to be differentiated before the next is asked for, under the same parameters.
        """


def is_parted(tasks: TaskBatch[BatchT]) -> TypeGuard[PartedTaskBatch[BatchT]]:
    """Whether the loss of tasks can be taken in parts."""
    return hasattr(tasks, "losses")


class PolicyTaskBatch(TaskBatch[BatchT], Protocol):
    """Tasks whose model is a policy and whose batches remember how they were played.

    Outer updates of policies ask it; they know probabilities, not environments: where a batch came
    from and what an action is are the task batch's business.
    """

    def clipped_loss(self, fast: Params, slow: Params, batch: BatchT, clip: float) -> Tensor:
        """The loss with PPO's clipped ratio to the probabilities when it was played, ``[N]``."""

    def predictions(self, fast: Params, slow: Params, batch: BatchT) -> Tensor:
        """Return the parameters of the distributions over actions now, ``[N, ...]``."""

    def divergence(self, fast: Params, slow: Params, batch: BatchT) -> Tensor:
        """``KL(when it was played || now)`` in nats, a mean over a task's steps: ``[N]``."""

    def fisher(self, batch: BatchT, tangent: Tensor) -> Tensor:
        """The Hessian of the summed `divergence` by the `predictions`, times ``tangent``.

        Taken at the predictions when the batch was played, where the divergence is 0.
        """

    def log_likelihood(self, fast: Params, slow: Params, batch: BatchT) -> Tensor:
        """Log-probability of all actions of a task together, ``[N]``."""

    def largest_log_ratio(self, fast: Params, slow: Params, batch: BatchT) -> Tensor:
        """Largest change of the log-probability of an action since it was played, ``[N]``."""

    def performance(self, batch: BatchT) -> Tensor:
        """Mean return of a task, ``[N]``."""


class DataTaskBatch(TaskBatch[BatchT], Protocol):
    """Tasks whose experience does not depend on the parameters: those of a data set."""

    @property
    def loss_identity(self) -> Hashable:
        """Equal where the loss is the same function of parameters and experience."""

    def draw(self, split: Split) -> BatchT:
        """Draw the batch that `sample` draws."""


class MeasuredTaskBatch(TaskBatch[BatchT], Protocol):
    """Tasks whose experience says more of itself than its loss, such as returns.

    Their batches have ``metrics``, ``[N]`` each by name.
    """

    def measured(self, drawn: Sequence[tuple[Split, Mapping[str, Tensor]]]) -> dict[str, Tensor]:
        """Return the metrics of all batches that were drawn, as each task's own, ``[N]`` each.

        Args:
            drawn: The split and the metrics of every batch, in order.
        """


class Halves(Protocol[ReadT]):
    """A loss in two halves: features that no fast parameter reaches, and what is left."""

    def features(self, slow: Params, batch: ReadT) -> Tensor:
        """Compute the features of a batch, ``[N, B, ...]``, by the first half.

        Args:
            slow: Slow parameters, unstacked.
            batch: A batch of N tasks.
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


def is_data(tasks: TaskBatch[BatchT]) -> TypeGuard[DataTaskBatch[BatchT]]:
    """Whether what tasks draw does not depend on the parameters."""
    return hasattr(tasks, "draw") and hasattr(tasks, "loss_identity")


def is_staged(tasks: TaskBatch[BatchT]) -> TypeGuard[StagedTaskBatch[BatchT]]:
    """Whether the loss of tasks may be taken in two halves."""
    return hasattr(tasks, "draw") and hasattr(tasks, "halves")


class StaleBatchError(RuntimeError):
    """The probabilities computed again are not those that were stored when the batch was played."""


MAX_LOG_RATIO = 1e-4
"""The largest rounding on an accelerator, which may add up in another order each time."""


def tolerance(device: torch.device) -> float:
    """Return the largest log-ratio: on the CPU 0, where the same program gives the same bits."""
    return 0.0 if device.type == "cpu" else MAX_LOG_RATIO


def check_ratios(largest: Tensor) -> None:
    """Check that a batch's ratios of new to stored probabilities begin at 1.

    Surrogates of a policy gradient weigh actions by this ratio. At the weights that played a batch
    it is 1, or something stands between what was drawn and what is learned from.

    Args:
        largest: Largest ``|log p_now - log p_played|`` at the weights that played, any shape. Not a
            number is let through: then the weights have lost their way, not the batch, and the loss
            will say so. Waits for the device.

    Raises:
        StaleBatchError: A ratio is not 1, beyond the device's `tolerance`.
    """
    worst = float(largest.max())
    if worst > tolerance(largest.device):
        raise StaleBatchError(
            "at the weights that played a batch, the probabilities of its actions must be those "
            f"that were stored, but a log-ratio is {worst:.3g}: look for actions that are changed "
            "after they are drawn, for observations normalised again, and for other weights"
        )
