"""Observations and actions of any space as rows of numbers.

Observations are those of `gymnasium.spaces.utils.flatten`, as float32: boxes in one row and as they
are (bytes are not scaled), one of n as n bits, dicts and tuples part by part. Actions likewise, but

- those of a `Box` are clipped to its bounds, as environments do that take any;
- those of a `MultiDiscrete` are their numbers, counted from 0.

`InputSlots` are the places in the row of inputs that a meta-learner sees.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Space
from gymnasium.spaces.utils import flatten, flatten_space
from gymnasium.vector.utils import iterate
from numpy.typing import NDArray

__all__ = [
    "InputSlots",
    "action_box",
    "action_row",
    "observation_box",
    "observation_row",
    "observation_rows",
]


Row = NDArray[np.float32]


def observation_box(space: Space[Any]) -> Box[Any]:
    """The space of flat observations, float32 with one axis.

    Raises:
        ValueError: If there is none of one length.
    """
    if isinstance(space, Box) and space.dtype == np.float32 and len(space.shape) == 1:
        return space
    flat = _flat_space(space)
    if flat is None:
        raise ValueError(f"observations of {space} are no row of numbers: {_remedy(space)}")
    return _float32_box(flat.low, flat.high)


def observation_row(space: Space[Any], observation: Any) -> Row:
    """An observation of `space` as float32 [D]; itself, if it is that."""
    if isinstance(observation, np.ndarray) and observation.dtype == np.float32:
        return observation.ravel()
    with np.errstate(over="ignore"):
        if isinstance(space, Box):
            return np.asarray(observation, dtype=np.float32).ravel()
        return np.asarray(flatten(space, observation), dtype=np.float32)


def observation_rows(space: Space[Any], batch: Space[Any], observations: Any) -> Row:
    """Observations of B environments as float32 [B, D].

    Args:
        space: Of one environment.
        batch: Of all of them.
        observations: Of `batch`.
    """
    if isinstance(space, Box):
        values = np.asarray(observations)
        with np.errstate(over="ignore"):
            return values.reshape(len(values), -1).astype(np.float32)  # [B, D]
    return np.stack([observation_row(space, one) for one in iterate(batch, observations)])


def action_box(space: Space[Any]) -> Box[Any]:
    """The space of flat actions, float32 with one axis.

    Raises:
        ValueError: If there is none of one length.
    """
    if isinstance(space, MultiDiscrete):
        most = space.nvec.ravel() - 1
        return _float32_box(np.zeros_like(most), most)
    flat = _flat_space(space)
    if flat is None:
        raise ValueError(
            f"actions of {space} are no row of numbers: wrap the environment in an ActionWrapper "
            f"whose space is of Box, Discrete, MultiDiscrete or MultiBinary"
        )
    return _float32_box(flat.low, flat.high)


def action_row(space: Space[Any], action: Any) -> Row:
    """An action of `space` as float32 [A].

    Raises:
        ValueError: If it is none of finitely many.
    """
    if isinstance(space, Discrete):
        number = int(action) - int(space.start)
        row: Row = np.zeros(int(space.n), dtype=np.float32)
        if not 0 <= number < len(row):
            raise ValueError(f"action must be one of {space}, got {action}")
        row[number] = 1.0
        return row
    if isinstance(space, MultiDiscrete):
        return np.asarray(np.asarray(action) - space.start, dtype=np.float32).ravel()
    with np.errstate(over="ignore"):
        if isinstance(space, Box):
            return np.asarray(np.clip(action, space.low, space.high), dtype=np.float32).ravel()
        return np.asarray(flatten(space, action), dtype=np.float32)


def _flat_space(space: Space[Any]) -> Box[Any] | None:
    """Gymnasium's flat space; None where it is not one of numbers, or of no fixed length."""
    try:
        flat = flatten_space(space)
    except NotImplementedError:
        return None
    return flat if isinstance(flat, Box) else None


def _float32_box(low: NDArray[Any], high: NDArray[Any]) -> Box[Any]:
    with np.errstate(over="ignore"):  # what float32 does not reach is infinite
        return Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)


def _remedy(space: Space[Any]) -> str:
    if isinstance(space, Dict):
        kept = [key for key, part in space.items() if _flat_space(part) is not None]
        if kept:
            return f"keep those that are, with gymnasium.wrappers.FilterObservation(env, {kept})"
    return "wrap the environment in an ObservationWrapper whose space is a Box"


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
        bias = patch + int(unused_input)
        width = bias + 3 + action_box(actions).shape[0]
        return cls(patch, bias, bias + 1, bias + 2, bias + 3, width, isinstance(actions, Discrete))

    def filled(self, patch: Row, time: Any, reward: Any, action: Row) -> Row:
        """The inputs after a step.

        Args:
            patch: Flat observations, float32 [..., patch].
            time: Steps taken of the horizon, in [0, 1], [...].
            reward: Previous rewards, [...].
            action: Flat previous actions, float32 [..., width - action].

        Returns:
            float32 [..., width].
        """
        inputs = np.zeros((*patch.shape[:-1], self.width), dtype=np.float32)
        inputs[..., : self.patch] = patch
        inputs[..., self.bias] = 1.0
        inputs[..., self.time] = time
        inputs[..., self.reward] = reward
        inputs[..., self.action :] = action
        return inputs

    def rows(self, horizon: int) -> Row:
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

    def first_row(self, first_action_zero_is_set: bool) -> Row:
        """Float32 [width]: the same at t = 0, where there is no previous action."""
        row = np.zeros(self.width, dtype=np.float32)
        row[self.bias] = 1.0
        if first_action_zero_is_set:
            if not self.one_hot:
                raise ValueError(
                    "first_action_zero_is_set sets the bit of action 0, and continuous actions "
                    "have none, nor have several at once: leave it out"
                )
            row[self.action] = 1.0
        return row

    def space(
        self, inner: Box[Any], actions: Space[Any], reward_range: tuple[float, float]
    ) -> Box[Any]:
        """The space of the inputs, around flat observations `inner`."""
        low, high = np.zeros(self.width, np.float32), np.ones(self.width, np.float32)
        told = action_box(actions)
        low[: self.patch], high[: self.patch] = inner.low, inner.high
        low[self.reward], high[self.reward] = reward_range
        low[self.action :], high[self.action :] = told.low, told.high
        first = slice(self.reward, None)  # where all is 0 at t = 0
        low[first], high[first] = np.minimum(low[first], 0), np.maximum(high[first], 0)
        return Box(low, high, dtype=np.float32)
