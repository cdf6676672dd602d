"""A meta-learner's observations: the environment's, with the last action and reward beside them.

A learner that adapts through its hidden state has to be told its own last action and reward (Wang
et al. 2016; Duan et al. 2016). The inputs, in this order, are those of the maze experiment of
Miconi et al. (2018) and Flennerhag et al. (2020); there D = 9 and A = 4, 17 in all:

    0 .. D-1        the observation
    D               an unused 0 (left out with unused_input=False)
    D+1             bias 1
    D+2             time t / horizon, in [0, 1]
    D+3             the previous reward, as it was paid
    D+4 .. D+3+A    the previous action, one-hot or, if continuous, as it was clipped; 0 at t = 0

Observations and actions of other kinds are made rows of numbers as `features` says: CartPole's
inputs are 4 + 4 + 2, FrozenLake's, with one of 16 fields, 16 + 4 + 4.

Deviation: the published code sets the bit of action 0 at t = 0, as if "up" had been taken;
``first_action_zero_is_set=True`` does the same.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from ..base.clock import cuts, episode_horizon
from .features import InputSlots, action_row, observation_box, observation_row
from .wrapped import check_single, reward_bounds

__all__ = ["MetaObservation"]

Observation = NDArray[np.float32]


class MetaObservation(gymnasium.Wrapper[Observation, Any, Any, Any], RecordConstructorArgs):
    """Appends bias, time, previous reward and previous action to an environment's observation.

    Around a `Trial` the time runs over the whole trial, and previous action and reward are
    carried from one episode to the next.

    Args:
        env: A Gymnasium environment, or a `Trial` of one.
        unused_input: Keep the published layout's unused 0, for 17 inputs instead of 16.
        first_action_zero_is_set: Set the bit of action 0 at t = 0, as the published code does.
        horizon: Steps of an episode (or trial), at most; it is cut there. None: as the environment
            says.

    Raises:
        ValueError: If nothing says how long an episode is, or observations or actions are no row of
            numbers.
        TypeError: If `env` is no single environment.
    """

    passes_rewards = True

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        *,
        unused_input: bool = True,
        first_action_zero_is_set: bool = False,
        horizon: int | None = None,
    ) -> None:
        RecordConstructorArgs.__init__(
            self,
            unused_input=unused_input,
            first_action_zero_is_set=first_action_zero_is_set,
            horizon=horizon,
        )
        check_single(env, "MetaObservation")
        self._horizon = episode_horizon(env, horizon)
        if not cuts(env, self._horizon):
            env = gymnasium.wrappers.TimeLimit(env, self._horizon)
        super().__init__(env)
        self._seen = env.observation_space
        inner, actions = observation_box(self._seen), env.action_space
        self._slots = InputSlots.after(inner.shape[0], unused_input, actions)
        self._first_row = self._slots.first_row(first_action_zero_is_set)
        self._elapsed = 0
        self.observation_space = self._slots.space(inner, actions, reward_bounds(env))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Resets; no previous action, no previous reward, time 0."""
        patch, info = self.env.reset(seed=seed, options=options)
        self._elapsed = 0
        observation = self._first_row.copy()
        observation[: self._slots.patch] = observation_row(self._seen, patch)
        return observation, info

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Acts; the observation tells of this action and of its reward."""
        patch, reward, terminated, truncated, info = self.env.step(action)
        self._elapsed += 1
        observation = self._slots.filled(
            observation_row(self._seen, patch),
            self._elapsed / self._horizon,
            reward,
            action_row(self.action_space, action),
        )
        return observation, float(reward), terminated, truncated, info
