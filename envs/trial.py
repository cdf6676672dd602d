"""The trial: several episodes on one task, seen as one.

A meta-learner adapts from episode to episode, so its unit of experience is the trial (Duan et al.
2016, "RL^2", figure 1). These wrappers start each inner episode on the task of the first, hide the
inner truncations and truncate at the end of the trial. Put `MetaObservation` around the trial, not
inside it: previous action and reward are then carried across episodes.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.meta_observation import (
    MetaObservation,
    VectorMetaObservation,
    task_environment,
    tensor_device,
    trial_horizon,
)

__all__ = ["Trial", "VectorTrial"]

Observation = NDArray[np.float32]


class Trial(gymnasium.Wrapper[Observation, Any, Observation, Any], RecordConstructorArgs):
    """A trial of a single environment.

    ``info`` says in ``"trial_episode"`` which episode the observation belongs to (from 0), and in
    ``"episode_ended"`` whether this step was an episode's last; if it was and another followed,
    ``"final_episode_obs"`` is the observation the ended one left behind. Reset options with a
    number for each step (``"teleports"``, ``"uniforms"``, ...) cover the whole trial. An episode
    that terminates is followed by the next at once, and the trial is then shorter than `horizon`.

    Args:
        env: An environment of this package.
        num_episodes: Episodes in a trial, at least 1.
        episode_flag: Append an input that is 1 in the first observation of each episode, else 0.

    Raises:
        ValueError: If `num_episodes` is below 1, or `env` already holds a `MetaObservation`.
        TypeError: If `env` is another environment.
    """

    def __init__(
        self,
        env: gymnasium.Env[Observation, Any],
        num_episodes: int,
        *,
        episode_flag: bool = False,
    ) -> None:
        RecordConstructorArgs.__init__(self, num_episodes=num_episodes, episode_flag=episode_flag)
        super().__init__(env)
        check_trial(env, num_episodes, MetaObservation)
        self.num_episodes = num_episodes
        self._episode_horizon: int = env.get_wrapper_attr("horizon")
        self._flag = episode_flag
        self._episode = self._elapsed = 0
        self._given: dict[str, Any] = {}
        if episode_flag:
            assert isinstance(env.observation_space, Box)
            self.observation_space = with_flag(env.observation_space)

    @property
    def horizon(self) -> int:
        """Steps in a trial."""
        return self.num_episodes * self._episode_horizon

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts a trial; seed and options are the environment's."""
        self._given = step_options(options, self)
        self._episode = self._elapsed = 0
        observation, info = self.env.reset(seed=seed, options=self._inner_options(options))
        return self._with_flag(observation), info | {"trial_episode": 0}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Acts; truncated only at the end of the trial, and never terminated."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._elapsed += 1
        truncated = terminated or truncated
        info = info | {"trial_episode": self._episode, "episode_ended": truncated}
        if truncated and self._episode + 1 < self.num_episodes:
            self._episode += 1
            self._elapsed = 0
            info["trial_episode"] = self._episode
            info["final_episode_obs"] = self._with_flag(observation, first=False)
            observation, _ = self.env.reset(options=self._inner_options({"same_task": True}))
            truncated = False
        return self._with_flag(observation), float(reward), False, truncated, info

    def _inner_options(self, options: dict[str, Any] | None) -> dict[str, Any] | None:
        return episode_options(options, self._given, self._episode, self)

    def _with_flag(self, observation: Observation, first: bool | None = None) -> Observation:
        if not self._flag:
            return observation
        flag = self._elapsed == 0 if first is None else first
        return np.append(observation, np.float32(flag))


class VectorTrial(
    VectorWrapper[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
):
    """`Trial` for a tensor environment.

    ``info`` has the same keys; its values hold for all environments, which are in lock step.

    Args:
        env: A tensor environment of this package in which no episode ends before its horizon, with
            ``autoreset_mode=AutoresetMode.DISABLED``.
        num_episodes: Episodes in a trial, at least 1.
        episode_flag: Append an input that is 1 in the first observation of each episode, else 0.

    Raises:
        ValueError: If `num_episodes` is below 1, `env` resets itself, its episodes may terminate,
            or `env` already holds a `VectorMetaObservation`.
        TypeError: If `env` is another environment.
    """

    def __init__(
        self,
        env: VectorEnv[torch.Tensor, torch.Tensor, torch.Tensor],
        num_episodes: int,
        *,
        episode_flag: bool = False,
    ) -> None:
        super().__init__(env)
        check_trial(env, num_episodes, VectorMetaObservation)
        if env.metadata["autoreset_mode"] is not AutoresetMode.DISABLED:
            raise ValueError(
                f"a trial resets its episodes itself, got an environment with "
                f"{env.metadata['autoreset_mode']}: make it with AutoresetMode.DISABLED"
            )
        if task_environment(env).may_terminate:
            raise ValueError(
                "the episodes of these trials could end at different times: make the environment "
                "so that none ends early (a point with goal_radius=0)"
            )
        self.num_episodes = num_episodes
        self._episode_horizon = trial_horizon(env)
        device = tensor_device(env)
        self._running = torch.zeros(self.num_envs, dtype=torch.bool, device=device)
        self._flags = (
            torch.zeros(self.num_envs, 1, device=device, dtype=torch.float32),
            torch.ones(self.num_envs, 1, device=device, dtype=torch.float32),
        )
        self._flag = episode_flag
        self._episode = self._elapsed = 0
        self._given: dict[str, Any] = {}
        if episode_flag:
            assert isinstance(env.single_observation_space, Box)
            self.single_observation_space = with_flag(env.single_observation_space)
            self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    @property
    def horizon(self) -> int:
        """Steps in a trial."""
        return self.num_episodes * self._episode_horizon

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Starts a trial everywhere; seed and options are the environment's."""
        self._given = step_options(options, self)
        self._episode = self._elapsed = 0
        inner = self._inner_options(options)
        observation, info = self.env.reset(seed=seed, options=inner)  # type: ignore[arg-type]
        return self._with_flag(observation), info | {"trial_episode": 0}

    def step(
        self, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Acts; truncated only at the end of the trial."""
        observation, rewards, terminated, truncated, info = self.env.step(actions)
        self._elapsed += 1
        ended = self._elapsed == self._episode_horizon
        info = info | {"trial_episode": self._episode, "episode_ended": ended}
        if ended and self._episode + 1 < self.num_episodes:
            self._episode += 1
            self._elapsed = 0
            info["trial_episode"] = self._episode
            info["final_episode_obs"] = self._with_flag(observation, first=False)
            observation, _ = self.env.reset(options=self._inner_options({"same_task": True}))
            truncated = self._running
        return self._with_flag(observation), rewards, terminated, truncated, info

    def _inner_options(self, options: dict[str, Any] | None) -> dict[str, Any] | None:
        return episode_options(options, self._given, self._episode, self)

    def _with_flag(self, observation: torch.Tensor, first: bool | None = None) -> torch.Tensor:
        if not self._flag:
            return observation
        flag = self._elapsed == 0 if first is None else first
        return torch.cat((observation, self._flags[flag]), dim=1)


def step_options(options: dict[str, Any] | None, trial: Trial | VectorTrial) -> dict[str, Any]:
    """Those of `options` that have an entry for each step of a trial.

    Raises:
        ValueError: If one is of another length.
    """
    names = task_environment(trial).step_options
    given = {name: value for name, value in (options or {}).items() if name in names}
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        if len(value) != trial.horizon:
            raise ValueError(
                f"{name} cover {len(value)} steps, and the trial has {trial.horizon}: give one "
                f"for each step of the whole trial"
            )
    return given


def episode_options(
    options: dict[str, Any] | None,
    given: dict[str, Any],
    episode: int,
    trial: Trial | VectorTrial,
) -> dict[str, Any] | None:
    """`options` for one inner episode, with its part of what is `given` for the whole trial."""
    if not given:
        return options
    length = trial.horizon // trial.num_episodes
    steps = slice(episode * length, (episode + 1) * length)
    return (options or {}) | {name: value[steps] for name, value in given.items()}


def with_flag(space: Box[Any]) -> Box[Any]:
    """The space with one more input in {0, 1}."""
    low = np.append(space.low, np.float32(0.0))
    high = np.append(space.high, np.float32(1.0))
    return Box(low, high, dtype=np.float32)


def check_trial(env: Any, num_episodes: int, meta_observation: type) -> None:
    """Refuses what cannot be made a trial of.

    Raises:
        ValueError: If `num_episodes` is below 1, or `meta_observation` lies inside.
        TypeError: If `env` is another environment.
    """
    task_environment(env)
    if isinstance(num_episodes, bool) or int(num_episodes) != num_episodes or num_episodes < 1:
        raise ValueError(f"num_episodes must be a whole number, at least 1, got {num_episodes}")
    inner = env
    while inner is not inner.unwrapped:
        if isinstance(inner, meta_observation):
            raise ValueError(
                f"{meta_observation.__name__} inside a trial would forget the previous action and "
                f"reward at every episode: wrap the trial in it instead"
            )
        inner = inner.env
