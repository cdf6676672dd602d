"""Trials that agents with a memory learn from, stage by stage of a problem (`metarl.rl.stages`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from metarl.errors import UserError
from metarl.methods.scaled_returns import return_scales
from metarl.rl import ActorCriticSettings, Collector, Policy, PolicyGradientTasks
from metarl.rl.problem import Problem
from metarl.rl.stages import Eased, stage_at, stages_of
from metarl.rl.trial_env import TrialEnv

if TYPE_CHECKING:
    from metarl.methods.recurrent import RecurrentLearning


class StagedTrials:
    """The trials of every stage, all played by the same policy and drawn from the same streams."""

    def __init__(
        self,
        learning: RecurrentLearning,
        policy: Policy,
        streams: Sequence[Mapping[str, torch.Generator]],
        batch_size: int,
        device: torch.device,
    ) -> None:
        """Make the environments of all stages.

        Args:
            learning: Whose problem, and how its agents see it.
            policy: Who plays.
            streams: Random streams of each agent.
            batch_size: Trials per agent and iteration.
            device: Where.
        """
        self._stages = stages_of(learning.problem)
        self.scales = return_scales(learning.agent.loss, len(streams), device)
        self._trials: list[tuple[TrialEnv, PolicyGradientTasks]] = []
        for stage in self._stages:
            there = replace(learning, problem=stage.problem)
            generators = [s[learning.environments] for s in streams]
            env = there.trials(len(streams) * batch_size, generators, device)
            collector = Collector(
                env,
                policy,
                [s[learning.actions] for s in streams],
                there.num_steps,
                options={"tasks": None},  # each on one of training's, drawn again
                record=True if learning.method.minibatch_trials is None else "values",
            )
            trials = PolicyGradientTasks(collector, learning.agent.loss, self.scales)
            self._trials.append((env, trials))

    def at(self, done: float) -> PolicyGradientTasks:
        """The trials to learn from now.

        Args:
            done: Share of the training's iterations that is over.
        """
        n = stage_at(self._stages, done)
        env, trials = self._trials[n]
        problem = self._stages[n].problem
        if isinstance(problem, Eased):
            problem.ease(env.env, done)
        return trials.at(done)

    @property
    def own_time(self) -> bool:
        """Whether episodes of a trial end in their own time."""
        return self._trials[0][0].own_time

    def num_steps(self, done: float) -> int:
        """Steps of a trial, likewise."""
        return self._trials[stage_at(self._stages, done)][1].collector.num_steps


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
