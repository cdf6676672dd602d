"""`MetaObservation` for vector environments: tensor ones of this package, and anybody's.

`VectorMetaObservation` is one of two classes, as `pathlib.Path` is: `TensorMetaObservation` stays
on the device and never waits for it, `HostMetaObservation` takes arrays of NumPy.
"""

from __future__ import annotations

from typing import Any, Self, cast

import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space, iterate
from numpy.typing import NDArray

from ..base.arrays import Seed, StepResult, as_tensor
from ..base.checks import as_actions
from ..base.clock import episode_horizon
from .features import InputSlots, action_row, observation_box, observation_row, observation_rows
from .vector_wrapper import TensorWrapper, reset_where, takes_tensors
from .wrapped import autoreset_mode, check_vector, reward_bounds

__all__ = ["VectorMetaObservation"]


class VectorMetaObservation(VectorWrapper[Any, Any, Any, Any, Any]):
    """`MetaObservation` for a vector environment: float32 [B, width].

    Every step returns a new tensor on the environment's device (an array where the environment
    speaks NumPy). All three autoreset modes are understood, and of other environments than tensor
    ones the option ``reset_mask``.

    Args:
        env: A Gymnasium vector environment, or a `VectorTrial` of one.
        unused_input: Keep the published layout's unused 0, for 17 inputs instead of 16.
        first_action_zero_is_set: Set the bit of action 0 at t = 0, as the published code does.
        horizon: Steps of an episode (or trial), at most. None: as the environment says.

    Raises:
        ValueError: If nothing says how long an episode is, or observations or actions are no row of
            numbers.
        TypeError: If `env` is no vector environment.
    """

    horizon: int
    passes_rewards = True

    def __new__(cls, env: VectorEnv[Any, Any, Any] | None = None, **settings: Any) -> Self:
        """One for tensors or one for arrays; without `env`, as in a copy, the class itself."""
        if cls is not VectorMetaObservation or env is None:
            return super().__new__(cls)
        check_vector(env, "MetaObservation")
        kind: Any = TensorMetaObservation if takes_tensors(env) else HostMetaObservation
        return cast(Self, super().__new__(kind))

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        *,
        unused_input: bool = True,
        first_action_zero_is_set: bool = False,
        horizon: int | None = None,
    ) -> None:
        super().__init__(env)
        self.horizon = self._one_horizon(horizon)
        self._seen = env.single_observation_space
        inner, actions = observation_box(self._seen), env.single_action_space
        self._slots = InputSlots.after(inner.shape[0], unused_input, actions)
        first_row = self._slots.first_row(first_action_zero_is_set)
        self._autoreset = autoreset_mode(env)
        self._set_up(first_row)
        self.single_observation_space = self._slots.space(inner, actions, reward_bounds(env))
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def _one_horizon(self, given: int | None) -> int:
        """The horizon of `env`, or the `given` one."""
        return episode_horizon(self.env, given)

    def _set_up(self, first_row: NDArray[np.float32]) -> None:
        """Makes what is needed, around the inputs at t = 0, float32 [width]."""
        raise NotImplementedError


class TensorMetaObservation(TensorWrapper, VectorMetaObservation):
    """`VectorMetaObservation` of a tensor environment."""

    def _set_up(self, first_row: NDArray[np.float32]) -> None:
        device, actions = self._device, self.single_action_space
        self._table = torch.tensor(self._slots.rows(self.horizon), device=device)  # [T + 1, A, ...]
        self._rows = self._table.unbind(0)
        self._first_row = torch.tensor(first_row, device=device)
        if isinstance(actions, Box):
            self._low = torch.tensor(actions.low, device=device)
            self._high = torch.tensor(actions.high, device=device)
        self._each = self._base.may_terminate and self._autoreset is not AutoresetMode.DISABLED
        self._elapsed = 0
        self._times = torch.zeros(self.num_envs, dtype=torch.int64, device=device)
        self._ended = torch.zeros(self.num_envs, dtype=torch.bool, device=device)

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
        else:  # what ended in the step before was reset in this one, whatever the action
            started, self._ended = self._ended, done
            if self._slots.one_hot:
                actions = as_actions(actions, rewards.device).masked_fill(started, 0)
        self._times = times.masked_fill(started, 0)
        after = self._extend(patch, actions, rewards, self._times)
        observation = torch.where(started[:, None], self._first(patch), after)
        return observation, rewards, terminated, truncated, info

    def look_up(self, num_steps: int) -> Any:
        """The next steps as tables (`envs.maze.look_up.LookUp`), none past the horizon, or None."""
        num_steps = min(num_steps, self.horizon - self._elapsed - 1)
        told = type(self) is TensorMetaObservation and self._slots.one_hot and not self._each
        if not (told and hasattr(type(self.env), "look_up")) or num_steps < 1:
            return None
        tables = self.env.look_up(num_steps)  # type: ignore[attr-defined]
        if tables is None or tables.told is not None:
            return None
        after = self._elapsed + 1
        return tables._replace(
            told=self._table[after : after + tables.num_steps],
            reward_column=self._slots.reward - self._slots.patch,
            tells_bonus=True,
        )

    def jump(self, places: torch.Tensor, num_steps: int) -> None:
        """Takes what `num_steps` steps by the tables have come to."""
        self.env.jump(places, num_steps)  # type: ignore[attr-defined]
        self._elapsed += num_steps

    def _first(self, patch: torch.Tensor) -> torch.Tensor:
        """float32 [B, width], the observation of t = 0."""
        observation = self._first_row.expand(self.num_envs, -1).clone()
        observation[:, : self._slots.patch] = patch.flatten(1)
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
        return torch.cat((patch.flatten(1).to(rest.dtype), rest), dim=1)


class HostMetaObservation(VectorMetaObservation):
    """`VectorMetaObservation` of any other vector environment: each episode has its own clock."""

    def _set_up(self, first_row: NDArray[np.float32]) -> None:
        self._first_row = first_row
        self._times = np.zeros(self.num_envs, dtype=np.int64)
        self._ended = np.zeros(self.num_envs, dtype=np.bool_)
        self._inputs = np.zeros((self.num_envs, self._slots.width), dtype=np.float32)

    def reset(
        self, *, seed: Seed = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Resets; no previous action, no previous reward, time 0."""
        where = reset_where(options, self.num_envs)
        observation, info = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        self._times[where], self._ended[where] = 0, False
        self._inputs = np.where(where[:, None], self._first(observation), self._inputs)
        return self._inputs.copy(), info

    def step(self, actions: Any) -> Any:
        """Acts; the observations tell of these actions and of their rewards."""
        observation, rewards, terminated, truncated, info = self.env.step(actions)
        done = np.asarray(terminated) | np.asarray(truncated)
        started = np.zeros_like(done)
        if self._autoreset is AutoresetMode.NEXT_STEP:  # reset in this step, whatever the action
            started = self._ended
        self._ended = done
        times = np.where(started, 0, self._times + 1)
        self._check_times(times)
        told = np.zeros((self.num_envs, self._slots.width - self._slots.action), np.float32)
        for number, action in enumerate(iterate(self.action_space, actions)):
            if not started[number]:
                told[number] = action_row(self.single_action_space, action)
        patch = self._flat(observation)
        if self._autoreset is AutoresetMode.SAME_STEP and done.any():
            info = {**info, "final_obs": self._final(info["final_obs"], times, rewards, told)}
            started, times = done, np.where(done, 0, times)
        after = self._slots.filled(patch, times / self.horizon, rewards, told)
        self._times = times
        self._inputs = np.where(started[:, None], self._first(observation), after)
        return self._inputs.copy(), rewards, terminated, truncated, info

    def _flat(self, observations: Any) -> NDArray[np.float32]:
        return observation_rows(self._seen, self.env.observation_space, observations)

    def _first(self, observations: Any) -> NDArray[np.float32]:
        """float32 [B, width], the observation of t = 0."""
        first = np.tile(self._first_row, (self.num_envs, 1))
        first[:, : self._slots.patch] = self._flat(observations)
        return first

    def _final(self, observations: Any, times: Any, rewards: Any, told: Any) -> NDArray[np.object_]:
        """Object [B]: what an ended episode's last step shows; None for the others."""
        final = np.full(self.num_envs, None, dtype=object)
        for number, observation in enumerate(observations):
            if observation is not None:
                patch = observation_row(self._seen, observation)
                time = times[number] / self.horizon
                final[number] = self._slots.filled(patch, time, rewards[number], told[number])
        return final

    def _check_times(self, times: NDArray[np.int64]) -> None:
        if times.max() > self.horizon:
            raise ValueError(
                f"an episode of environment {times.argmax()} goes on after horizon="
                f"{self.horizon} steps: make the environments with max_episode_steps="
                f"{self.horizon}, or give a larger horizon="
            )
