"""What outer updates of policies ask of a task batch beyond its loss.

The learners that use it know probabilities, not environments: where a batch came from and what an
action is are the task batch's business.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from torch import Tensor

from metarl.core import Params, TaskBatch

BatchT = TypeVar("BatchT")


class PolicyTaskBatch(TaskBatch[BatchT], Protocol[BatchT]):
    """N tasks whose model is a policy and whose batches remember how they were played."""

    def clipped_loss(self, fast: Params, slow: Params, batch: BatchT, clip: float) -> Tensor:
        """The loss with PPO's clipped ratio to the probabilities when it was played, ``[N]``."""

    def predictions(self, fast: Params, slow: Params, batch: BatchT) -> Tensor:
        """What describes the distributions over actions now, ``[N, ...]``."""

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
