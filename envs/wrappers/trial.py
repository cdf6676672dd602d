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
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from ..base.arrays import Seed, StepResult
from ..base.checks import whole_number
from ..base.clock import episode_horizon
from .meta_observation import MetaObservation, VectorMetaObservation
from .tensor_wrapper import TensorWrapper, task_environment

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
        self.num_episodes = check_trial(env, num_episodes, MetaObservation)
        self._episode_horizon = episode_horizon(env)
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

    @property
    def spec(self) -> EnvSpec | None:  # type: ignore[override]
        """The specification, with the trial's horizon; the episode's is among the arguments."""
        fresh = self._cached_spec is None
        spec = super().spec
        if fresh and spec is not None:
            spec.kwargs.setdefault("horizon", self._episode_horizon)
            spec.max_episode_steps = self.horizon
        return spec

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts a trial; seed and options are the environment's."""
        given = step_options(options, self)
        inner = episode_options(options, given, 0, self)
        observation, info = self.env.reset(seed=seed, options=inner)
        self._given = given
        self._episode = self._elapsed = 0
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


class VectorTrial(TensorWrapper):
    """`Trial` for a tensor environment.

    ``info`` has the same keys; its values hold for all environments, which are in lock step. Within
    a trial it resets its episodes itself; after the trial the autoreset mode holds: DISABLED waits
    for a reset, and under NEXT_STEP the next step starts a trial.

    Args:
        env: A tensor environment of this package in which no episode ends before its horizon, with
            ``autoreset_mode`` DISABLED or NEXT_STEP.
        num_episodes: Episodes in a trial, at least 1.
        episode_flag: Append an input that is 1 in the first observation of each episode, else 0.
        wait: Take an environment whose episodes may end before their horizon, in mode DISABLED. An
            episode that has ended pays nothing more and waits for the horizon, where all go on
            (those of a `Trial` go on at once).

    Raises:
        ValueError: If `num_episodes` is below 1, `env` is in mode SAME_STEP, its episodes may
            terminate and do not `wait`, or `env` already holds a `VectorMetaObservation`.
        TypeError: If `env` is another environment.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        num_episodes: int,
        *,
        episode_flag: bool = False,
        wait: bool = False,
    ) -> None:
        super().__init__(env)
        self.num_episodes = check_trial(env, num_episodes, VectorMetaObservation)
        self._autoreset: AutoresetMode = env.metadata["autoreset_mode"]
        if self._autoreset is AutoresetMode.SAME_STEP:
            raise ValueError(
                f"a trial resets its episodes itself, got an environment with {self._autoreset}: "
                f"make it with AutoresetMode.DISABLED or NEXT_STEP"
            )
        waits = wait and self._autoreset is AutoresetMode.DISABLED
        if self._base.may_terminate and not waits:
            raise ValueError(
                "the episodes of these trials could end at different times: make the environment "
                "so that none ends early (a point with goal_radius=0), or let them wait for each "
                "other, with wait=True and AutoresetMode.DISABLED"
            )
        self._episode_horizon = episode_horizon(env)
        device = self._device
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

    def reset_tensors(
        self, seed: Seed = None, options: dict[str, Any] | None = None
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Starts a trial everywhere; seed and options are the environment's."""
        given = step_options(options, self)
        inner = episode_options(options, given, 0, self)
        observation, info = self._inner_reset(seed, inner)
        self._given = given
        self._episode = self._elapsed = 0
        return self._with_flag(observation), info | {"trial_episode": 0}

    def step_tensors(self, actions: Any) -> StepResult:
        """Acts; truncated only at the end of the trial."""
        observation, rewards, terminated, truncated, info = self._inner_step(actions)
        if self._elapsed == self._episode_horizon:  # NEXT_STEP: this step has begun a trial instead
            self._given = {}
            self._episode = self._elapsed = 0
            info = info | {"trial_episode": 0, "episode_ended": False}
            return self._with_flag(observation), rewards, terminated, truncated, info
        self._elapsed += 1
        ended = self._elapsed == self._episode_horizon
        if self._base.may_terminate:  # an episode that has ended waits, and its trial goes on
            truncated = terminated | truncated if ended else self._running
            terminated = self._running
        info = info | {"trial_episode": self._episode, "episode_ended": ended}
        if ended and self._episode + 1 < self.num_episodes:
            self._episode += 1
            self._elapsed = 0
            info["trial_episode"] = self._episode
            info["final_episode_obs"] = self._with_flag(observation, first=False)
            observation, _ = self._inner_reset(None, self._inner_options({"same_task": True}))
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
    """The options that have an entry for each step of a trial.

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


def check_trial(env: Any, num_episodes: int, meta_observation: type) -> int:
    """The number of episodes of a trial, if `env` can be made one of.

    Raises:
        ValueError: If `num_episodes` is below 1, or `meta_observation` lies inside.
        TypeError: If `env` is another environment.
    """
    task_environment(env)
    count = whole_number(num_episodes, "num_episodes")
    inner = env
    while inner is not inner.unwrapped:
        if isinstance(inner, meta_observation):
            raise ValueError(
                f"{meta_observation.__name__} inside a trial would forget the previous action and "
                f"reward at every episode: wrap the trial in it instead"
            )
        inner = inner.env
    return count
