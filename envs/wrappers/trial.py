"""The trial: several episodes on one task, seen as one.

A meta-learner adapts from episode to episode, so its unit of experience is the trial (Duan et al.
2016, "RL^2", figure 1). These wrappers start each inner episode on the task of the first, hide the
inner truncations and truncate at the end of the trial. Put `MetaObservation` around the trial, not
inside it: previous action and reward are then carried across episodes.

What the task is, the environment says. Those of this package know ``same_task``. To any other, a
later episode begins by the reset that began the trial: with its options, where a task may be one of
them, and with its seed, which is the task where nothing else is known (a layout of Minigrid). With
the seed, all that is random begins again too; ``same_seed=False`` lets it go on, for environments
whose task is an option or an attribute, or which have but one.

    >>> env = MetaObservation(Trial(gymnasium.make("FrozenLake-v1"), 3, same_seed=False))
"""

from __future__ import annotations

import copy
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box
from gymnasium.utils import RecordConstructorArgs

from ..base.checks import check_seed, whole_number
from ..base.clock import cuts, episode_horizon
from .features import observation_box, observation_row
from .meta_observation import MetaObservation
from .wrapped import check_single, has_tasks, step_option_names

__all__ = [
    "MAX_SEED",
    "Trial",
    "check_episodes",
    "episode_options",
    "passed_on",
    "step_options",
    "with_flag",
]

MAX_SEED = 2**31 - 1
"""The largest seed drawn; some environments keep 32 bits with a sign."""


class Trial(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """A trial of a single environment.

    ``info`` says in ``"trial_episode"`` which episode the observation belongs to (from 0), and in
    ``"episode_ended"`` whether this step was an episode's last; if it was and another followed,
    ``"final_episode_obs"`` is the observation the ended one left behind, and
    ``"final_episode_info"`` its ``info``, which else is what the reset says. Reset options with a
    number for each step (``"teleports"``, ``"uniforms"``, ...) cover the whole trial. An episode
    that terminates is followed by the next at once, and the trial is then shorter than `horizon`.

    Args:
        env: A Gymnasium environment.
        num_episodes: Episodes in a trial, at least 1.
        episode_flag: Append an input that is 1 in the first observation of each episode, else 0,
            to the observation, which is made a row of numbers for it.
        horizon: Steps of an episode, at most; it is cut there. None: as the environment says.
        same_seed: Begin every episode of a trial with one seed (given, or drawn), in environments
            without tasks of their own.

    Raises:
        ValueError: If `num_episodes` is below 1, `env` already holds a `MetaObservation`, nothing
            says how long an episode is, or observations with a flag are no row of numbers.
        TypeError: If `env` is no single environment.
    """

    passes_rewards = True

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        num_episodes: int,
        *,
        episode_flag: bool = False,
        horizon: int | None = None,
        same_seed: bool = True,
    ) -> None:
        RecordConstructorArgs.__init__(
            self,
            num_episodes=num_episodes,
            episode_flag=episode_flag,
            horizon=horizon,
            same_seed=same_seed,
        )
        check_single(env, "Trial")
        self.num_episodes = check_episodes(env, num_episodes, MetaObservation)
        self._episode_horizon = episode_horizon(env, horizon)
        if not cuts(env, self._episode_horizon):
            env = gymnasium.wrappers.TimeLimit(env, self._episode_horizon)
        super().__init__(env)
        self._has_tasks = has_tasks(env)
        self._repeats = same_seed and not self._has_tasks  # whether episodes repeat a seed
        self._seeds = np.random.default_rng()
        self._flag = episode_flag
        self._episode = self._elapsed = 0
        self._over = False
        self._given: dict[str, Any] = {}
        self._began: tuple[int | None, dict[str, Any] | None] = (None, None)
        if episode_flag:
            self.observation_space = with_flag(observation_box(env.observation_space))

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
            if self._has_tasks:
                spec.kwargs.setdefault("horizon", self._episode_horizon)
            else:  # which knows no horizon: a time limit inside the trial says it
                limit = gymnasium.wrappers.TimeLimit.wrapper_spec(
                    max_episode_steps=self._episode_horizon
                )
                *inner, trial = spec.additional_wrappers
                spec.additional_wrappers = (*inner, limit, trial)
            spec.max_episode_steps = self.horizon
        return spec

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts a trial; seed and options are the environment's."""
        given = step_options(options, self)
        inner = episode_options(options, given, 0, self)
        if seed is not None:
            self._seeds = np.random.default_rng(check_seed(seed))
        elif self._repeats:
            seed = int(self._seeds.integers(MAX_SEED))
        observation, info = self.env.reset(seed=seed, options=copy.copy(inner))
        self._given = given
        self._began = seed if self._repeats else None, options
        self._episode = self._elapsed = 0
        self._over = False
        return self._with_flag(observation), info | {"trial_episode": 0}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Acts; truncated only at the end of the trial, and never terminated.

        Raises:
            gymnasium.error.ResetNeeded: Past the end of the trial.
        """
        if self._over:
            raise ResetNeeded(f"the trial of {self.num_episodes} episodes is over: call reset()")
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._elapsed += 1
        truncated = ended = bool(terminated or truncated)
        if ended and self._episode + 1 < self.num_episodes:
            self._episode += 1
            self._elapsed = 0
            final = self._with_flag(copy.deepcopy(observation), first=False)
            observation, fresh = self._next_episode()
            info = passed_on(info, fresh) | {"final_episode_obs": final}
            truncated = False
        info = info | {"trial_episode": self._episode, "episode_ended": ended}
        self._over = truncated
        return self._with_flag(observation), float(reward), False, truncated, info

    def _next_episode(self) -> tuple[Any, dict[str, Any]]:
        """Starts another episode on the task at hand."""
        if not self._has_tasks:
            seed, began = self._began
            return self.env.reset(seed=seed, options=copy.copy(began))
        options = episode_options({"same_task": True}, self._given, self._episode, self)
        return self.env.reset(options=options)

    def _with_flag(self, observation: Any, first: bool | None = None) -> Any:
        if not self._flag:
            return observation
        flag = self._elapsed == 0 if first is None else first
        row = observation_row(self.env.observation_space, observation)
        return np.append(row, np.float32(flag))


def passed_on(info: dict[str, Any], fresh: dict[str, Any]) -> dict[str, Any]:
    """The info of a step that ended an episode and began the next, of which `fresh` tells."""
    return {**info, **fresh, "final_episode_info": info}


def step_options(options: dict[str, Any] | None, trial: Any) -> dict[str, Any]:
    """The options that have an entry for each step of a trial.

    Raises:
        ValueError: If one is of another length.
    """
    names = step_option_names(trial)
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
    options: dict[str, Any] | None, given: dict[str, Any], episode: int, trial: Any
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


def check_episodes(env: Any, num_episodes: int, meta_observation: type) -> int:
    """The number of episodes of a trial, if `env` can be made one of.

    Raises:
        ValueError: If `num_episodes` is below 1, or `meta_observation` lies inside.
    """
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
