"""RecurrentPPO of sb3-contrib on trials: what a well-known library makes of RL^2.

The agent sees what ours see (`metarl.rl.trial_env`): beside the observation its last action and
reward, the time in the trial and whether an episode has just begun. SB3 cuts what it has collected
into minibatches of transitions, wherever in a trial that may be, and begins each stretch with the
hidden state that was stored when it was played.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch

from metarl.evaluate.adapter import Measurement
from metarl.methods.agents import LSTMOfSB3
from metarl.methods.by_sb3 import BySB3
from metarl.methods.ppo import RecurrentPPOSettings
from metarl.methods.trials import USUAL_TRIALS, OnTrials, TrialAdapter
from metarl.rl.problem import Problem, eased
from metarl.sb3 import PPO, PPOLearner, SB3Agent
from metarl.sb3.recurrent import RecurrentPPOLearner, TrialVecEnv, recurrent_ppo


@dataclass(frozen=True)
class RecurrentPPOLearning(BySB3, OnTrials):
    """RecurrentPPO on one problem.

    Attributes:
        problem: What is learned.
        method: How RecurrentPPO learns.
        player: The network and its trials.
    """

    learner: ClassVar[type[PPOLearner]] = RecurrentPPOLearner
    counted: ClassVar[str] = "episodes before"

    problem: Problem
    method: RecurrentPPOSettings
    player: LSTMOfSB3
    published_inputs: bool = False
    first_action_zero_is_set: bool = False

    @property
    def trial_episodes(self) -> int:  # type: ignore[override]
        """Episodes of a trial."""
        return self.player.trial_episodes

    @property
    def trial_steps(self) -> int:  # type: ignore[override]
        """Steps of a trial in training: as many as its episodes have at most."""
        return self.player.trial_steps or self.trial_episodes * self.problem.horizon

    @property
    def steps_per_task(self) -> int:
        """Steps of the trial on a task."""
        return self.trial_steps

    @property
    def usual(self) -> Measurement:
        """Usual way to measure what was learned."""
        return Measurement(self.trial_episodes - 1, USUAL_TRIALS)

    def envs(
        self, tasks: Sequence[Any], seeds: Sequence[int], device: torch.device, done: float
    ) -> TrialVecEnv:
        """Make a trial on each task; see `BySB3.envs`."""
        generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        env = self.trials(len(tasks), generators, device)
        eased(self.problem, env.env, done)
        return TrialVecEnv(env, tasks=tasks)

    def kind(self, num_tasks: int, device: torch.device) -> Callable[..., PPO]:
        """Return sb3-contrib's RecurrentPPO, whose rollout is a trial on each task.

        Raises:
            UserError: sb3-contrib is not installed.
        """
        own, hidden = recurrent_ppo(), list(self.player.hidden)
        tasks = self.problem.train.sample(num_tasks, torch.Generator())
        return partial(
            own,
            "MlpLstmPolicy",
            self.envs(tasks, [0] * num_tasks, device, 0.0),
            n_steps=self.trial_steps,
            policy_kwargs={
                "lstm_hidden_size": self.player.hidden_size,
                "net_arch": {"pi": hidden, "vf": hidden},
            },
        )

    def adapter(self, model: PPO, device: torch.device) -> RecurrentPPOAdapter:
        """Make what is measured, of a model."""
        return RecurrentPPOAdapter(device, self, model)


@dataclass(frozen=True)
class RecurrentPPOAdapter(TrialAdapter):
    """Adapter of a model of SB3's recurrent PPO.

    Attributes:
        model: Trained, or not.
    """

    model: Any

    def agent(self, generator: torch.Generator, *, greedy: bool = False) -> SB3Agent:
        """Make who plays."""
        return SB3Agent(self.model, generator, deterministic=greedy)
