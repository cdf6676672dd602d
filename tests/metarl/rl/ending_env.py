"""Environments whose episodes end when they were told to, under each autoreset mode.

The observation is (episode, time) and the reward is 10 episode + time: what belongs to the first
episode is plain to see.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch

ENDS = (
    (3, "terminated"),
    (2, "truncated"),
    (5, "truncated"),
    (1, "both"),
    (4, "terminated"),
    (9, ""),
)
"""Length of every episode of an environment, and how it ends."""


class EndingEnv(gymnasium.Env):
    """One environment; `task` is its number in `ENDS`."""

    observation_space = gymnasium.spaces.Box(-1, 100, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self) -> None:
        self.task: Any = None
        self.episode = -1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.task = (options or {}).get("task", self.task)
        self.episode = 0 if (options or {}).get("count_anew") else self.episode + 1
        self.time = 0
        return self._observe(), {}

    def _observe(self):
        return np.array([self.episode, self.time], np.float32)

    def step(self, action):
        assert self.action_space.contains(action), action
        length, how = ENDS[self.task]
        reward = 10.0 * self.episode + self.time
        self.time += 1
        assert self.time <= length, "stepped past the end"
        over = self.time == length
        terminated = over and how in ("terminated", "both")
        truncated = over and how in ("truncated", "both")
        return self._observe(), reward, terminated, truncated, {}


class TensorEndingEnv:
    """All of `ENDS` as tensors, under SAME_STEP (``final_obs`` at every step) or DISABLED."""

    num_envs = len(ENDS)

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.length = torch.tensor([length for length, _ in ENDS])
        self.may_terminate = torch.tensor([how in ("terminated", "both") for _, how in ENDS])
        self.may_truncate = torch.tensor([how in ("truncated", "both") for _, how in ENDS])

    def observe(self):
        return torch.stack((self.episode, self.time), -1).float()

    def reset(self, *, options=None):
        self.time = torch.zeros(self.num_envs)
        self.episode = torch.zeros(self.num_envs)
        return self.observe(), {}

    def step(self, actions):
        rewards = 10 * self.episode + self.time
        if self.mode == "disabled":
            before = self.time >= self.length
            rewards = torch.where(before, 77.0, rewards)  # must be masked
            self.time = torch.minimum(self.time + 1, self.length)
        else:
            self.time = self.time + 1
        over = self.time >= self.length
        flags = (over & self.may_terminate, over & self.may_truncate)
        if self.mode == "disabled":
            return self.observe(), rewards, *flags, {}
        final = self.observe()
        self.episode = self.episode + over
        self.time = torch.where(over, 0.0, self.time)
        return self.observe(), rewards, *flags, {"final_obs": final, "_final_obs": over}
