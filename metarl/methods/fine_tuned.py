"""PPO on the mixture of tasks, then fine-tuned to each: the baseline without meta-learning.

SB3's PPO learns one policy from episodes of all training tasks; on a new task it goes on learning
from that task's. It sees the same meta-batches of whole episodes as the learners that adapt by
policy gradient, but one batch per iteration, where those draw another for each inner step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from metarl.errors import UserError
from metarl.evaluate.adapter import Measurement
from metarl.evaluate.film import Scene, play_stages
from metarl.evaluate.returns import AdaptationResult
from metarl.methods.agents import MixturePolicy
from metarl.methods.by_sb3 import BySB3
from metarl.methods.gradient import USUAL_STEPS
from metarl.methods.ppo import PPOSettings
from metarl.rl import Gaussian
from metarl.rl.problem import Problem, eased
from metarl.sb3 import (
    PPO,
    FineTuning,
    SB3Agent,
    TaskVecEnv,
    adaptation,
    copy_of,
    draw_seed,
    fine_tune,
)
from metarl.seeding import spawn_generators


@dataclass(frozen=True)
class FineTunedLearning(BySB3):
    """PPO on one problem.

    Attributes:
        problem: What is learned.
        method: How PPO learns, and is fine-tuned.
        agent: The policy and its episodes.
    """

    counted: ClassVar[str] = "fine-tuning steps"

    problem: Problem
    method: PPOSettings
    agent: MixturePolicy

    @property
    def steps_per_task(self) -> int:
        """Steps of a task's episodes in an iteration, at most."""
        return self.agent.episodes * self.problem.horizon

    @property
    def usual(self) -> Measurement:
        """Usual way to measure what was learned."""
        return Measurement(USUAL_STEPS, self.agent.episodes)

    def envs(
        self, tasks: Sequence[Any], seeds: Sequence[int], device: torch.device, done: float
    ) -> TaskVecEnv:
        """Make the environments of an iteration; see `BySB3.envs`."""
        return self.env_on(tasks, self.agent.episodes, seeds, device, done=done)

    def env_on(
        self,
        tasks: Sequence[Any],
        num_episodes: int,
        seeds: Sequence[int],
        device: torch.device,
        *,
        done: float = 1.0,
    ) -> TaskVecEnv:
        """Make E environments per task, task-major.

        Args:
            tasks: The tasks.
            num_episodes: E.
            seeds: One per task, for what its environments draw.
            device: Where.
            done: Share of the training that is over, in [0, 1]; 1 where returns are measured.
        """
        generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        env = self.problem.make_env(len(tasks) * num_episodes, generators, device)
        env = eased(self.problem, env, done)
        many = [task for task in tasks for _ in range(num_episodes)]
        return TaskVecEnv(env, action_space=self.problem.actions, tasks=many, wait=True)

    def kind(self, num_tasks: int, device: torch.device) -> Callable[..., PPO]:
        """Return SB3's PPO, given a perceptron; its own rollouts are not used.

        Raises:
            UserError: There is no policy for the actions.
        """
        agent = self.agent
        distribution = agent.distribution(self.problem)
        hidden = list(agent.hidden)
        policy: dict[str, Any] = {
            "net_arch": {"pi": hidden, "vf": hidden},
            "activation_fn": nn.Tanh if agent.activation == "tanh" else nn.ReLU,
        }
        if isinstance(distribution, Gaussian):
            policy["log_std_init"] = float(np.log(distribution.initial_std))
        tasks = self.problem.train.sample(1, torch.Generator())
        env = self.env_on(tasks, 1, [0], device)
        steps = self.method.batch_size
        return partial(PPO, "MlpPolicy", env, n_steps=steps, policy_kwargs=policy)

    def adapter(self, model: PPO, device: torch.device) -> PPOAdapter:
        """Make what is measured, of a model."""
        return PPOAdapter(self, model, device)


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
