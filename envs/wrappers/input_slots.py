"""The vector of inputs that a meta-learner sees, and the places in it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete, Space
from numpy.typing import NDArray

from .features import action_box

__all__ = ["InputSlots"]

Numbers = NDArray[np.float32]


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

    def filled(self, patch: Numbers, time: Any, reward: Any, action: Numbers) -> Numbers:
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

    def rows(self, horizon: int) -> Numbers:
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

    def first_row(self, first_action_zero_is_set: bool) -> Numbers:
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
