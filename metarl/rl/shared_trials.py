"""Trials that several processes play for the same agents, each its share of every batch.

    play apart      each process its trials, by its part of the random numbers of all
    judge together  what was played is given to everybody; advantages, their normalisation, the
                    sizes of returns and the metrics are those of the whole batch, as in one process
    learn apart     from the own trials, or from a share of every minibatch: the loss is this
                    process's part of the mean over trials, and the gradients add up to the whole

So nothing that is said of a batch has to be said again for parts of it. Activations, which are
large, stay where they were played.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metarl.core import Params, Split
from metarl.core.processes import Processes, current
from metarl.rl.tasks import PolicyGradientTasks, ScoredTrajectory
from metarl.rl.trajectory import Played, Trajectory

PER_STEP = (
    *("observations", "actions", "rewards", "outputs", "log_p", "terminated", "truncated"),
    *("mask", "values", "starts", "bonus"),
)
"""Parts of a trajectory that are ``[N, T, B, ...]``."""


@dataclass(frozen=True)
class SharedTrials(PolicyGradientTasks):
    """N agents with B trials each, of which some are here.

    Attributes:
        num_trials: Trials per agent that a loss is a mean over, in all processes: B, or those of a
            minibatch.
        keep_all: Learn from shares of minibatches, for which everybody needs the whole batch.
    """

    num_trials: int = 1
    keep_all: bool = False

    @torch.no_grad()
    def sample(self, fast: Params, slow: Params, split: Split = "support") -> ScoredTrajectory:
        """Play the trials that are here, and judge those of all."""
        params, processes = {**fast, **slow}, current()
        own = self.collector.collect(params)
        whole = of_all(own, processes)
        judged = self.score(params, whole, split)
        # What everybody says of the whole is added up: one says it.
        metrics = judged.metrics
        if not processes.is_first:
            metrics = {name: torch.zeros_like(value) for name, value in metrics.items()}
        if self.keep_all:
            return judged._replace(metrics=metrics, everywhere=judged)
        assert self.collector.share is not None
        _, here = self.collector.share
        targets = judged.targets
        return judged._replace(
            trajectory=own,
            advantages=judged.advantages[:, :, here],
            targets=None if targets is None else targets[:, :, here],
            metrics=metrics,
            played=Played(params, own),
            everywhere=judged,
        )

    def loss(self, fast: Params, slow: Params, batch: ScoredTrajectory) -> Tensor:
        """This process's part of the mean over trials, ``[N]``."""
        share = batch.trajectory.rewards.shape[2] / self.num_trials
        return super().loss(fast, slow, batch) * share


def of_all(own: Trajectory, processes: Processes) -> Trajectory:
    """The trajectories of all processes as one, without activations."""
    found = {name: value for name in PER_STEP if (value := getattr(own, name)) is not None}
    ends = own.last_observations.unsqueeze(1)  # [N, 1, B, I]
    *parts, last = processes.joined([*found.values(), ends], dim=2)
    whole: dict[str, Any] = dict(zip(found, parts, strict=True))
    return own._replace(**whole, last_observations=last.squeeze(1), trace=None, means=None)
