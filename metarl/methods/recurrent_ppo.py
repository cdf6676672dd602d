"""RecurrentPPO of sb3-contrib on trials: what a well-known library makes of RL^2.

The agent sees what ours see (`metarl.rl.trial_env`): beside the observation its last action and
reward, the time in the trial and whether an episode has just begun. SB3 cuts what it has collected
into minibatches of transitions, wherever in a trial that may be, and begins each stretch with the
hidden state that was stored when it was played.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from metarl.devices import resolve_device
from metarl.evaluate.adapter import Loaded, Measurement
from metarl.methods.agents import LSTMOfSB3
from metarl.methods.gradient import STREAMS
from metarl.methods.learning import InTurn
from metarl.methods.ppo import RecurrentPPOSettings
from metarl.methods.trials import USUAL_TRIALS, OnTrials, TrialAdapter
from metarl.rl.problem import Problem
from metarl.runs.directory import RunDirectory
from metarl.sb3 import SB3Agent, draw_seed, seeded
from metarl.sb3.recurrent import RecurrentPPOLearner, TrialVecEnv, recurrent_ppo
from metarl.seeding import spawn_generators
from metarl.train.loop import LoopSettings, MetaTraining


@dataclass(frozen=True)
class RecurrentPPOLearning(InTurn, OnTrials):
    """RecurrentPPO on one problem.

    Attributes:
        problem: What is learned.
        method: How RecurrentPPO learns.
        player: The network and its trials.
    """

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

    def check(self, device: str, meta_batch: int) -> None:
        """Check that a model can be made.

        Raises:
            UserError: It cannot, or sb3-contrib is not installed.
        """
        self.model(torch.Generator(), 1, resolve_device(device))

    def build(
        self, run: RunDirectory, loop: LoopSettings, meta_batch: int, device: torch.device
    ) -> MetaTraining:
        """Make everything that trains one seed; see `InTurn.train`."""
        streams = spawn_generators(run.seed, STREAMS, device)
        model = self.model(streams["init"], meta_batch, device)
        learner = RecurrentPPOLearner(model, self.method.lr)
        return MetaTraining(
            learner,
            partial(self.iterate, learner, streams, meta_batch, device),
            [run],
            [streams],
            meta_batch * self.trial_steps,
            loop,
            description=f"training seed {run.seed}",
        )

    def iterate(
        self,
        learner: RecurrentPPOLearner,
        streams: Mapping[str, torch.Generator],
        meta_batch: int,
        device: torch.device,
    ) -> Mapping[str, Tensor]:
        """Learn from a trial on each of a meta-batch of tasks; metrics ``[1]``."""
        tasks = self.problem.train.sample(meta_batch, streams["tasks"])
        seeds = [draw_seed(streams["episodes"]) for _ in range(len(tasks) + 1)]
        return learner.update(self.env_on(tasks, seeds[1:], device), seeds[0], len(tasks))

    def env_on(
        self, tasks: Sequence[Any], seeds: Sequence[int], device: torch.device
    ) -> TrialVecEnv:
        """Make a trial on each task; a seed per task for what its environment draws."""
        generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        env = self.trials(len(tasks), generators, device)
        return TrialVecEnv(env, tasks=tasks)

    def model(self, generator: torch.Generator, num_envs: int, device: torch.device) -> Any:
        """Make the model before its first iteration.

        Args:
            generator: Draws the seed of the initial parameters; on the CPU.
            num_envs: Trials of an iteration.
            device: Where the parameters live.

        Raises:
            UserError: sb3-contrib is not installed.
        """
        own, kind = self.method, recurrent_ppo()
        tasks = self.problem.train.sample(num_envs, torch.Generator())
        hidden = list(self.player.hidden)
        with warnings.catch_warnings(), seeded(draw_seed(generator)):
            warnings.filterwarnings("ignore", "You are trying to run PPO on the GPU")
            return kind(
                "MlpLstmPolicy",
                self.env_on(tasks, [0] * num_envs, device),
                learning_rate=own.lr,
                n_steps=self.trial_steps,
                batch_size=own.batch_size,
                n_epochs=own.num_epochs,
                gamma=own.gamma,
                gae_lambda=own.gae_lambda,
                clip_range=own.clip,
                ent_coef=own.entropy_coef,
                vf_coef=own.value_coef,
                max_grad_norm=own.max_grad_norm,
                target_kl=own.target_kl,
                policy_kwargs={
                    "lstm_hidden_size": self.player.hidden_size,
                    "net_arch": {"pi": hidden, "vf": hidden},
                },
                device=device,
            )

    def load(self, run: RunDirectory, device: torch.device) -> Loaded:
        """Load the model of a run's checkpoint, and the same before its first iteration.

        Raises:
            UserError: The checkpoint is missing, damaged or another learner's.
        """
        trained, untrained = (
            self.model(spawn_generators(run.seed, STREAMS)["init"], 1, device) for _ in range(2)
        )
        state = run.load_checkpoint()
        with run.fits_settings():
            RecurrentPPOLearner(trained, self.method.lr).load_agent_states([state["learner"]])
        sides = [RecurrentPPOAdapter(device, self, model) for model in (trained, untrained)]
        usual = Measurement(self.trial_episodes - 1, USUAL_TRIALS)
        return Loaded(sides[0], sides[1], int(state["iteration"]), usual, "episodes before")


@dataclass(frozen=True)
class RecurrentPPOAdapter(TrialAdapter):
    """A model.

    Attributes:
        model: Trained, or not.
    """

    model: Any

    def agent(self, generator: torch.Generator, *, greedy: bool = False) -> SB3Agent:
        """Make who plays."""
        return SB3Agent(self.model, generator, deterministic=greedy)
