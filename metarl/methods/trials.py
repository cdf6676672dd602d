"""Trials of several episodes on one task: how agents with a memory play them, and are measured."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metarl.core.settings import Method
from metarl.errors import UserError
from metarl.evaluate.adapter import Measurement
from metarl.evaluate.film import Scene, Watched, require_filmed
from metarl.evaluate.returns import AdaptationResult, evaluate_agent
from metarl.rl import Trajectory
from metarl.rl.problem import Problem, TensorEnv, eased
from metarl.rl.trial_env import TrialEnv, num_trial_inputs
from metarl.seeding import spawn_generators

USUAL_TRIALS = 20
"""Per task, to be measured by."""


class OnTrials:
    """Common base of what is learned from trials.

    Attributes:
        problem: What is learned.
        method: How.
        trial_episodes: Episodes of a trial.
        trial_steps: Steps of a trial in training, whatever episodes go into them; None: it is over
            with its last episode.
        published_inputs: The inputs of the published maze.
        first_action_zero_is_set: A fault of the published inputs.
    """

    problem: Problem
    method: Method
    trial_episodes: int
    trial_steps: int | None
    published_inputs: bool
    first_action_zero_is_set: bool

    @property
    def num_steps(self) -> int:
        """Steps of a trial in training, at most."""
        return self.trial_steps or self.trial_episodes * self.problem.horizon

    @property
    def num_inputs(self) -> int:
        """Numbers that the agent sees."""
        seen, actions = self.problem.observation, self.problem.actions
        return num_trial_inputs(math.prod(seen.shape or ()), actions)

    @property
    def flag(self) -> int:
        """Number of the input behind the observation.

        It is 1 where an episode has just begun; of the published inputs it is the unused 0.
        """
        return math.prod(self.problem.observation.shape or ())

    def trials(
        self,
        num_envs: int,
        generators: Sequence[torch.Generator],
        device: torch.device,
        *,
        num_episodes: int | None = None,
        watched: bool = False,
    ) -> TrialEnv:
        """Make trials as the agent sees them.

        Its clock runs as in training, or slower, where a trial is longer than those of training.

        Args:
            num_envs: Trials side by side.
            generators: Of the environments.
            device: Where.
            num_episodes: Of a trial that is measured or filmed, which is over with the last one;
                None: as in training.
            watched: Note what is shown, for films (`Watched`).
        """
        env: TensorEnv = self.problem.make_env(num_envs, generators, device)
        clock = None
        if num_episodes is not None:
            env = eased(self.problem, env)
            clock = max(self.num_steps, num_episodes * self.problem.horizon)
        return TrialEnv(
            Watched(env, require_filmed(self.problem)) if watched else env,
            self.problem.horizon,
            self.trial_episodes if num_episodes is None else num_episodes,
            num_steps=self.trial_steps if num_episodes is None else None,
            clock=clock,
            device=device,
            episode_flag=not self.published_inputs,
            unused_input=self.published_inputs,
            first_action_zero_is_set=self.first_action_zero_is_set,
        )


@dataclass(frozen=True)
class TrialAdapter(ABC):
    """An agent (`metarl.evaluate.adapter.Adapter`): k counts the episodes of its trial before.

    The clock that it sees runs as in training; in trials that are longer than those it runs slower.

    Attributes:
        device: Where it plays.
        learning: What it was trained with.
    """

    device: torch.device
    learning: OnTrials

    def adapt(
        self, tasks: Sequence[Any], how: Measurement, generator: torch.Generator
    ) -> AdaptationResult:
        """Play trials on N tasks, ``how.episodes`` on each."""
        learning = self.learning
        if how.chunk_size is not None:
            raise UserError(f"--chunk-size: {learning.method.name} plays all its trials at once")
        many = [task for task in tasks for _ in range(how.episodes)]
        return evaluate_agent(
            self.agent(generator),
            learning.trials(
                len(many), [generator], self.device, num_episodes=self._num_episodes(how.steps)
            ),
            len(tasks),
            how.steps + 1,
            learning.problem.horizon,
            has_goal=learning.problem.has_goal,
            options={"tasks": many},
        )

    def film(self, task: Any, steps: int, seed: int, *, greedy: bool) -> list[Scene]:
        """Play the episodes of one trial."""
        streams = spawn_generators(seed, ("environment", "actions"), self.device)
        agent = self.agent(streams["actions"], greedy=greedy)
        titles = [f"episode {k + 1}" for k in range(steps + 1)]
        return self.scenes(
            agent, task, titles, streams["environment"], num_episodes=self._num_episodes(steps)
        )

    @abstractmethod
    def agent(self, generator: torch.Generator, *, greedy: bool = False) -> Any:
        """Make who plays (`metarl.rl.Agent`)."""

    def scenes(
        self,
        agent: Any,
        task: Any,
        titles: Sequence[str],
        generator: torch.Generator,
        *,
        num_episodes: int,
    ) -> list[Scene]:
        """The first episodes of one trial, as many as there are titles."""
        env = self.learning.trials(
            1, [generator], self.device, num_episodes=num_episodes, watched=True
        )
        watched = env.env
        assert isinstance(watched, Watched)
        agent.begin(1)
        observation, _ = env.reset(options={"tasks": [task]})
        for _ in range(len(titles) * self.learning.problem.horizon):
            observation, *_ = env.step(agent.act(observation))
        return watched.scenes(task, titles)

    def _num_episodes(self, steps: int) -> int:
        return max(steps + 1, self.learning.trial_episodes)


def episode_metrics(
    played: Trajectory, num_episodes: int, flag: int | None = None
) -> dict[str, Tensor]:
    """Metrics of the episodes in trials, ``[N]`` each, means over trials.

    Args:
        played: The trials.
        num_episodes: Episodes of each.
        flag: Number of the input that is 1 where an episode has just begun, of episodes that end in
            their own time; None: all are of one length.

    Returns:
        ``return_before``: of the first episode; ``return``: of the last; ``trial_return``: of all
        together; ``unrewarded``: the fraction of trials whose first episode paid nothing.
    """
    rewards = played.rewards
    num_agents, num_steps, num_trials = rewards.shape
    if flag is None:
        # [N, episodes, steps, B]
        episodes = rewards.view(num_agents, num_episodes, num_steps // num_episodes, num_trials)
        returns, unrewarded = episodes.sum(2), (episodes[:, 0] == 0).all(1)
    else:
        numbers = played.observations[..., flag].cumsum(1).to(torch.int64) - 1  # [N, T, B]
        unrewarded = ((rewards == 0) | (numbers > 0)).all(1)
        last = numbers.clamp(max=num_episodes - 1)  # what lies behind the end paid nothing
        returns = rewards.new_zeros(num_agents, num_episodes, num_trials)
        returns = returns.scatter_add(1, last, rewards)
    return {
        "return_before": returns[:, 0].mean(-1),
        "return": returns[:, -1].mean(-1),
        "trial_return": returns.sum(1).mean(-1),
        "unrewarded": unrewarded.float().mean(-1),
    }
