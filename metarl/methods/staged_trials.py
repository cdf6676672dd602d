"""Trials that agents with a memory learn from, by stages of a problem and shared by processes.

Processes that train the same agents have each its share of every batch:

    play apart      each process its trials, by its part of the random numbers of all
    judge together  what was played is given to everybody; advantages, their normalisation, the
                    sizes of returns and the metrics are those of the whole batch, as in one process
    learn apart     from the own trials, or from a share of every minibatch: the loss is this
                    process's part of the mean over trials, and the gradients add up to the whole

So nothing that is said of a batch has to be said again for parts of it. Activations, which are
large, stay where they were played.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from metarl.core import Params, Split
from metarl.core.processes import Processes, current
from metarl.errors import UserError
from metarl.rl import ActorCriticSettings, Collector, Policy
from metarl.rl.advantages import return_scales
from metarl.rl.problem import Eased, Problem, Stage, eased, stages_of
from metarl.rl.tasks import PolicyGradientTasks
from metarl.rl.trajectory import Played, ScoredTrajectory, Trajectory
from metarl.rl.trial_env import TrialEnv
from metarl.rl.windows import Windows


class StagedTrials:
    """The trials of every stage, all played by the same policy and drawn from the same streams.

    Attributes:
        scales: Sizes of the agents' returns, where their loss divides by them; otherwise None.
    """

    def __init__(
        self,
        stages: Sequence[tuple[Stage, TrialEnv]],
        policy: Policy,
        generators: Sequence[torch.Generator],
        loss: ActorCriticSettings,
        *,
        record: Literal[True, "values"],
        share: tuple[int, slice] | None = None,
        num_trials: int = 1,
        dealt_out: bool = False,
        truncate: int | None = None,
    ) -> None:
        """Play in these environments.

        Args:
            stages: The stages in their order, each with its environments.
            policy: Who plays.
            generators: Of each agent's actions.
            loss: What is learned by.
            record: What of a rollout is kept; see `Collector`.
            share: Which trials are here, where several processes play; see `Collector`.
            num_trials: Trials per agent that its loss is a mean over, in all processes.
            dealt_out: Whether they are dealt out to minibatches.
            truncate: Steps that a gradient goes back through memory; None: all of a trial.
        """
        self._stages, self._share = [stage for stage, _ in stages], share
        self.scales = return_scales(loss, len(generators), generators[0].device)
        self._envs = [env for _, env in stages]
        windows = None if truncate is None else Windows(policy, truncate)
        players = [
            Collector(
                env,
                policy,
                generators,
                env.horizon,
                options={"tasks": None},  # each on one of training's, drawn again
                record=record,
                share=share,
            )
            for env in self._envs
        ]
        self._trials: list[PolicyGradientTasks] = [
            PolicyGradientTasks(player, loss, self.scales, windows)
            if share is None
            else SharedTrials(
                player, loss, self.scales, windows, num_trials=num_trials, keep_all=dealt_out
            )
            for player in players
        ]

    def at(self, done: float, levels: Tensor | None = None) -> PolicyGradientTasks:
        """The trials to learn from now.

        Args:
            done: Share of the training's iterations that is over.
            levels: A task per trial in all processes, as numbers ``[N * B, D]``; None: each is
                drawn of those to train on.
        """
        n = stage_at(self._stages, done)
        eased(self._stages[n].problem, self._envs[n].env, done)
        if levels is not None and self._share is not None:
            whole, here = self._share
            levels = levels.view(-1, whole, levels.shape[1])[:, here].flatten(0, 1)
        self._trials[n].collector.options = {"tasks": levels}
        return self._trials[n].at(done)

    @property
    def own_time(self) -> bool:
        """Whether episodes of a trial end in their own time."""
        return self._envs[0].own_time

    def num_steps(self, done: float) -> int:
        """Steps of a trial, likewise."""
        return self._envs[stage_at(self._stages, done)].horizon


def stage_at(stages: Sequence[Stage], done: float) -> int:
    """Number of the stage at which a training is.

    Args:
        stages: In their order.
        done: Share of the iterations that is over.
    """
    return max(n for n, stage in enumerate(stages) if stage.begins <= done)


def check_captured(problem: Problem, loss: ActorCriticSettings) -> None:
    """Check that nothing changes but weights while a problem is learned, as a CUDA graph asks.

    Raises:
        UserError: Something does.
    """
    if loss.entropy_decay != "constant" or loss.return_scaling == "running":
        raise UserError(
            "--cuda-graph repeats the same program in every iteration: it goes with "
            "--loss.entropy-decay constant and --loss.return-scaling fixed alone"
        )
    changes = isinstance(problem, Eased) and problem.eases
    if changes or len(stages_of(problem)) > 1:
        raise UserError(
            "--cuda-graph repeats the same program in every iteration, and this problem changes "
            "while it is learned: drop --cuda-graph, or --size-schedule and --exploration-bonus"
        )


# Shared by processes ------------------------------------------------------------------------------


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


def check_shared(loss: ActorCriticSettings, batch_size: int, minibatch: int | None) -> None:
    """Check that the processes of now can share trials.

    Args:
        loss: What is learned by.
        batch_size: Trials per agent and batch.
        minibatch: Trials per agent and minibatch; None: there are none.

    Raises:
        UserError: They cannot.
    """
    current().share(batch_size, "trials of a batch")
    if minibatch is not None:
        current().share(minibatch, "trials of a minibatch")
    if loss.published_baseline and minibatch is not None:
        raise UserError(
            "the published fault of the baseline has the value of maze 0 for every maze, which is "
            "in one minibatch alone: drop --minibatch-trials, or --loss.no-published-baseline"
        )
    if loss.published_baseline and current().count > 1:
        raise UserError(
            "the published fault of the baseline has the value of maze 0 for every maze, which is "
            "in one process alone: train it without torchrun, or --loss.no-published-baseline"
        )
