"""PPO on the mixture of tasks, then fine-tuned to each: the baseline without meta-learning.

SB3's PPO learns one policy from episodes of all training tasks; on a new task it goes on learning
from that task's. It sees the same meta-batches of whole episodes as the learners that adapt by
policy gradient, but one batch per iteration, where those draw another for each inner step.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from torch import Tensor, nn

from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.evaluate.adapter import Loaded, Measurement
from metarl.evaluate.film import Scene, play_stages
from metarl.evaluate.returns import AdaptationResult
from metarl.methods.agents import MixturePolicy
from metarl.methods.gradient import STREAMS, USUAL_STEPS
from metarl.methods.learning import InTurn
from metarl.methods.ppo import PPOSettings
from metarl.rl import Gaussian
from metarl.rl.problem import Problem
from metarl.runs.directory import RunDirectory
from metarl.sb3 import (
    FineTuning,
    PPOLearner,
    SB3Agent,
    TaskVecEnv,
    adaptation,
    copy_of,
    draw_seed,
    fine_tune,
    seeded,
)
from metarl.seeding import spawn_generators
from metarl.train.loop import LoopSettings, MetaTraining


@dataclass(frozen=True)
class FineTunedLearning(InTurn):
    """PPO on one problem.

    Attributes:
        problem: What is learned.
        method: How PPO learns, and is fine-tuned.
        agent: The policy and its episodes.
    """

    problem: Problem
    method: PPOSettings
    agent: MixturePolicy

    def check(self, device: str, meta_batch: int) -> None:
        """Check that a model can be made.

        Raises:
            UserError: It cannot.
        """
        self.model(torch.Generator(), resolve_device(device))

    def build(
        self, run: RunDirectory, loop: LoopSettings, meta_batch: int, device: torch.device
    ) -> MetaTraining:
        """Make everything that trains one seed; see `InTurn.train`."""
        streams = spawn_generators(run.seed, STREAMS, device)
        learner = PPOLearner(self.model(streams["init"], device), self.method.lr)
        return MetaTraining(
            learner,
            partial(self.iterate, learner, streams, meta_batch, device),
            [run],
            [streams],
            meta_batch * self.agent.episodes * self.problem.horizon,
            loop,
            description=f"training seed {run.seed}",
        )

    def iterate(
        self,
        learner: PPOLearner,
        streams: Mapping[str, torch.Generator],
        meta_batch: int,
        device: torch.device,
    ) -> Mapping[str, Tensor]:
        """Learn from one meta-batch; metrics ``[1]``."""
        tasks = self.problem.train.sample(meta_batch, streams["tasks"])
        seeds = [draw_seed(streams["episodes"]) for _ in range(len(tasks) + 1)]
        env = self.env_on(tasks, self.agent.episodes, seeds[1:], device)
        return learner.update(env, seeds[0], len(tasks))

    def load(self, run: RunDirectory, device: torch.device) -> Loaded:
        """Load the model of a run's checkpoint, and the same before its first iteration.

        Raises:
            UserError: The checkpoint is missing, damaged or another learner's.
        """
        trained, untrained = (
            self.model(spawn_generators(run.seed, STREAMS)["init"], device) for _ in range(2)
        )
        state = run.load_checkpoint()
        with run.fits_settings():
            PPOLearner(trained, self.method.lr).load_agent_states([state["learner"]])
        usual = Measurement(USUAL_STEPS, self.agent.episodes)
        sides = [PPOAdapter(self, model, device) for model in (trained, untrained)]
        return Loaded(sides[0], sides[1], int(state["iteration"]), usual, "fine-tuning steps")

    def env_on(
        self, tasks: Sequence[Any], num_episodes: int, seeds: Sequence[int], device: torch.device
    ) -> TaskVecEnv:
        """Make E environments per task, task-major; a seed per task for what they draw."""
        generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        env = self.problem.make_env(len(tasks) * num_episodes, generators, device)
        many = [task for task in tasks for _ in range(num_episodes)]
        return TaskVecEnv(env, action_space=self.problem.actions, tasks=many, wait=True)

    def model(self, generator: torch.Generator, device: torch.device) -> PPO:
        """Make the model before its first iteration.

        Args:
            generator: Draws the seed of the initial parameters; on the CPU.
            device: Where they live.

        Raises:
            UserError: There is no policy for the actions.
        """
        own, agent = self.method, self.agent
        distribution = agent.distribution(self.problem)
        hidden = list(agent.hidden)
        policy: dict[str, Any] = {
            "net_arch": {"pi": hidden, "vf": hidden},
            "activation_fn": nn.Tanh if agent.activation == "tanh" else nn.ReLU,
        }
        if isinstance(distribution, Gaussian):
            policy["log_std_init"] = float(np.log(distribution.initial_std))
        (task,) = self.problem.train.sample(1, torch.Generator())
        with warnings.catch_warnings(), seeded(draw_seed(generator)):
            warnings.filterwarnings("ignore", "You are trying to run PPO on the GPU")
            return PPO(
                "MlpPolicy",
                self.env_on([task], 1, [0], device),
                learning_rate=own.lr,
                n_steps=own.batch_size,  # of SB3's own rollouts, which are not used
                batch_size=own.batch_size,
                n_epochs=own.num_epochs,
                gamma=own.gamma,
                gae_lambda=own.gae_lambda,
                clip_range=own.clip,
                ent_coef=own.entropy_coef,
                vf_coef=own.value_coef,
                max_grad_norm=own.max_grad_norm,
                target_kl=own.target_kl,
                policy_kwargs=policy,
                device=device,
            )


@dataclass(frozen=True)
class PPOAdapter:
    """A model (`metarl.evaluate.adapter.Adapter`): k counts fine-tuning steps.

    Attributes:
        learning: What it was trained with.
        model: Trained, or not.
        device: Where it plays.
    """

    learning: FineTunedLearning
    model: PPO
    device: torch.device

    def adapt(
        self, tasks: Sequence[Any], how: Measurement, generator: torch.Generator
    ) -> AdaptationResult:
        """Fine-tune to N tasks, one after the other."""
        if how.chunk_size is not None:
            raise UserError("--chunk-size: ppo is fine-tuned to one task after the other")
        return fine_tune(
            self.model,
            lambda n, seed: self.learning.env_on([tasks[n]], how.episodes, [seed], self.device),
            len(tasks),
            how.steps,
            seed=draw_seed(generator),
            settings=self._how_it_learns(),
            has_goal=self.learning.problem.has_goal,
        )

    def film(self, task: Any, steps: int, seed: int, *, greedy: bool) -> list[Scene]:
        """Play an episode before fine-tuning and after each step."""
        learning = self.learning
        streams = spawn_generators(seed, ("episodes", "film"))
        seeds = [draw_seed(streams["episodes"]) for _ in range(2)]
        env = learning.env_on([task], learning.agent.episodes, seeds[:1], self.device)
        stages = adaptation(self.model, env, steps, seed=seeds[1], settings=self._how_it_learns())
        models = [copy_of(model) for model, _ in stages]
        agent = StagesAgent(
            [SB3Agent(model, streams["film"], deterministic=greedy) for model in models]
        )
        return play_stages(learning.problem, task, agent, len(models), seed, self.device)

    def _how_it_learns(self) -> FineTuning:
        return FineTuning(**asdict(self.learning.method.fine_tuning))


@dataclass(frozen=True)
class StagesAgent:
    """Several agents as one (`metarl.rl.Agent`): trial k is played by agent k."""

    agents: Sequence[SB3Agent]

    def begin(self, num_trials: int) -> None:
        """Begin a trial each."""
        for agent in self.agents:
            agent.begin(1)

    def act(self, observations: Tensor) -> Tensor:
        """Choose an action each."""
        seen = zip(self.agents, observations.unsqueeze(1), strict=True)
        return torch.cat([agent.act(x) for agent, x in seen])

    def observe(self, rewards: Tensor, terminated: Tensor, truncated: Tensor) -> None:
        """Ignore what happened: these models remember nothing."""
