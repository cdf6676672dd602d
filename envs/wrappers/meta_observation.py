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

Deviation: the published code sets the bit of action 0 at t = 0, as if "up" had been taken;
``first_action_zero_is_set=True`` does the same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Space
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from ..base.arrays import Seed, StepResult, as_tensor
from ..base.checks import as_actions
from ..base.clock import episode_horizon
from .tensor_wrapper import TensorWrapper, task_environment

__all__ = ["MetaObservation", "VectorMetaObservation"]

Observation = NDArray[np.float32]


class InputSlots(NamedTuple):
    """Places of the inputs in the vector of `width` numbers; `one_hot` for discrete actions."""

    patch: int
    bias: int
    time: int
    reward: int
    action: int
    width: int
    one_hot: bool

    @classmethod
    def after(cls, patch: int, unused_input: bool, actions: Space[Any]) -> InputSlots:
        """The slots behind an observation of `patch` numbers."""
        one_hot = isinstance(actions, Discrete)
        size = int(actions.n) if isinstance(actions, Discrete) else int(np.prod(actions.shape or 0))
        bias = patch + int(unused_input)
        return cls(patch, bias, bias + 1, bias + 2, bias + 3, bias + 3 + size, one_hot)

    def rows(self, horizon: int) -> NDArray[np.float32]:
        """The inputs that follow the patch, but for the reward.

        Returns:
            float32 [horizon + 1, A, width - patch], a row for each discrete action;
            [horizon + 1, 1, width - patch] without the action where it is continuous.
        """
        num_rows = self.width - self.action if self.one_hot else 1
        rows = np.zeros((horizon + 1, num_rows, self.width), dtype=np.float32)
        rows[:, :, self.bias] = 1.0
        rows[:, :, self.time] = np.arange(horizon + 1, dtype=np.float32)[:, None] / horizon
        if self.one_hot:
            rows[:, :, self.action :] = np.eye(num_rows, dtype=np.float32)
        return rows[:, :, self.patch :]

    def first_row(self, first_action_zero_is_set: bool) -> NDArray[np.float32]:
        """Float32 [width]: the same at t = 0, where there is no previous action."""
        row = np.zeros(self.width, dtype=np.float32)
        row[self.bias] = 1.0
        if first_action_zero_is_set:
            if not self.one_hot:
                raise ValueError(
                    "first_action_zero_is_set sets the bit of action 0, and continuous actions "
                    "have none: leave it out"
                )
            row[self.action] = 1.0
        return row

    def space(
        self, inner: Box[Any], actions: Space[Any], reward_range: tuple[float, float]
    ) -> Box[Any]:
        """The space of the extended observation."""
        low, high = np.zeros(self.width, np.float32), np.ones(self.width, np.float32)
        low[: self.patch], high[: self.patch] = inner.low, inner.high
        low[self.reward], high[self.reward] = reward_range
        if isinstance(actions, Box):
            low[self.action :], high[self.action :] = actions.low.ravel(), actions.high.ravel()
        return Box(low, high, dtype=np.float32)


class MetaObservation(gymnasium.Wrapper[Observation, Any, Observation, Any], RecordConstructorArgs):
    """Appends bias, time, previous reward and previous action to an environment's observation.

    Around a `Trial` the time runs over the whole trial, and previous action and reward are
    carried from one episode to the next.

    Args:
        env: An environment of this package, or a `Trial` of one.
        unused_input: Keep the published layout's unused 0, for 17 inputs instead of 16.
        first_action_zero_is_set: Set the bit of action 0 at t = 0, as the published code does.

    Raises:
        TypeError: If `env` is another environment.
    """

    def __init__(
        self,
        env: gymnasium.Env[Observation, Any],
        *,
        unused_input: bool = True,
        first_action_zero_is_set: bool = False,
    ) -> None:
        RecordConstructorArgs.__init__(
            self, unused_input=unused_input, first_action_zero_is_set=first_action_zero_is_set
        )
        super().__init__(env)
        reward_range = task_environment(env).reward_range
        inner, actions = env.observation_space, env.action_space
        assert isinstance(inner, Box)
        self._slots = InputSlots.after(inner.shape[0], unused_input, actions)
        self._horizon = episode_horizon(env)
        self._first_row = self._slots.first_row(first_action_zero_is_set)
        self._elapsed = 0
        self.observation_space = self._slots.space(inner, actions, reward_range)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Resets; no previous action, no previous reward, time 0."""
        patch, info = self.env.reset(seed=seed, options=options)
        self._elapsed = 0
        observation = self._first_row.copy()
        observation[: self._slots.patch] = patch
        return observation, info

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Acts; the observation tells of this action and of its reward."""
        patch, reward, terminated, truncated, info = self.env.step(action)
        self._elapsed += 1
        slots = self._slots
        observation = np.zeros(slots.width, dtype=np.float32)
        observation[: slots.patch] = patch
        observation[slots.bias] = 1.0
        observation[slots.time] = self._elapsed / self._horizon
        observation[slots.reward] = reward
        if isinstance(self.action_space, Box):
            bounds = self.action_space
            observation[slots.action :] = np.clip(action, bounds.low, bounds.high).ravel()
        else:
            observation[slots.action + int(action)] = 1.0
        return observation, float(reward), terminated, truncated, info


class VectorMetaObservation(TensorWrapper):
    """`MetaObservation` for a tensor environment: float32 [B, width] on its device.

    Every step returns a new tensor (an array where the environment speaks NumPy). All three
    autoreset modes are understood.

    Args:
        env: A tensor environment of this package, or a `VectorTrial` of one.
        unused_input: Keep the published layout's unused 0, for 17 inputs instead of 16.
        first_action_zero_is_set: Set the bit of action 0 at t = 0, as the published code does.

    Raises:
        TypeError: If `env` is another environment.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        *,
        unused_input: bool = True,
        first_action_zero_is_set: bool = False,
    ) -> None:
        super().__init__(env)
        device, self.horizon = self._device, episode_horizon(env)
        inner, actions = env.single_observation_space, env.single_action_space
        assert isinstance(inner, Box)
        self._slots = InputSlots.after(inner.shape[0], unused_input, actions)
        self._table = torch.tensor(self._slots.rows(self.horizon), device=device)  # [T + 1, A, ...]
        self._rows = self._table.unbind(0)
        first_row = self._slots.first_row(first_action_zero_is_set)
        self._first_row = torch.tensor(first_row, device=device)
        if isinstance(actions, Box):
            self._low = torch.tensor(actions.low, device=device)
            self._high = torch.tensor(actions.high, device=device)
        self._autoreset: AutoresetMode = env.metadata["autoreset_mode"]
        self._each = self._base.may_terminate and self._autoreset is not AutoresetMode.DISABLED
        self._elapsed = 0
        self._times = torch.zeros(self.num_envs, dtype=torch.int64, device=device)
        self._ended = torch.zeros(self.num_envs, dtype=torch.bool, device=device)
        self.single_observation_space = self._slots.space(inner, actions, self._base.reward_range)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def reset_tensors(
        self, seed: Seed = None, options: dict[str, Any] | None = None
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Resets; no previous action, no previous reward, time 0."""
        patch, info = self._inner_reset(seed, options)
        self._elapsed = 0
        if self._each:
            self._times = torch.zeros_like(self._times)
            self._ended = torch.zeros_like(self._ended)
        return self._first(patch), info

    def step_tensors(self, actions: Any) -> StepResult:
        """Acts; the observations tell of these actions and of their rewards."""
        patch, rewards, terminated, truncated, info = self._inner_step(actions)
        if self._each:
            return self._step_each(actions, patch, rewards, terminated, truncated, info)
        self._elapsed += 1
        if self._elapsed > self.horizon:  # NEXT_STEP: this step has reset the mazes instead
            self._elapsed = 0
            return self._first(patch), rewards, terminated, truncated, info
        if self._elapsed == self.horizon and self._autoreset is AutoresetMode.SAME_STEP:
            final = self._extend(info["final_obs"], actions, rewards, self._elapsed)
            self._elapsed = 0
            return self._first(patch), rewards, terminated, truncated, {**info, "final_obs": final}
        observation = self._extend(patch, actions, rewards, self._elapsed)
        return observation, rewards, terminated, truncated, info

    def _step_each(
        self,
        actions: Any,
        patch: torch.Tensor,
        rewards: torch.Tensor,
        terminated: torch.Tensor,
        truncated: torch.Tensor,
        info: dict[str, Any],
    ) -> StepResult:
        """The observations where each episode ends in its own time, and has its own clock."""
        done = terminated | truncated
        times = self._times + 1
        if self._autoreset is AutoresetMode.SAME_STEP:
            started = done
            final = self._extend(info["final_obs"], actions, rewards, times)
            info = {**info, "final_obs": final}
        else:  # what ended in the step before was reset in this one
            started, self._ended = self._ended, done
        self._times = times.masked_fill(started, 0)
        after = self._extend(patch, actions, rewards, self._times)
        observation = torch.where(started[:, None], self._first(patch), after)
        return observation, rewards, terminated, truncated, info

    def _first(self, patch: torch.Tensor) -> torch.Tensor:
        """float32 [B, width], the observation of t = 0."""
        observation = self._first_row.repeat(self.num_envs, 1)
        observation[:, : self._slots.patch] = patch
        return observation

    def _extend(
        self,
        patch: torch.Tensor,
        actions: Any,
        rewards: torch.Tensor,
        times: int | torch.Tensor,
    ) -> torch.Tensor:
        """float32 [B, width], the observation after a step; `times` of all, or int64 [B]."""
        slots = self._slots
        if slots.one_hot:
            numbers = as_actions(actions, rewards.device)
            rest = (
                torch.index_select(self._rows[times], 0, numbers)
                if isinstance(times, int)
                else self._table[times, numbers]
            )
        else:
            rest = (
                self._rows[times].repeat(self.num_envs, 1)
                if isinstance(times, int)
                else self._table[times, 0]
            )
            moves = as_tensor(actions, rewards.device, torch.float32)
            rest[:, slots.action - slots.patch :] = moves.clamp(self._low, self._high).flatten(1)
        rest[:, slots.reward - slots.patch] = rewards
        return torch.cat((patch, rest), dim=1)
