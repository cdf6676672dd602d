"""Trials of several episodes on one task, for agents that adapt through their hidden state.

A learner without gradients has to be told its own last action and reward (Wang et al. 2016; Duan et
al. 2016). The inputs, in this order, D being the numbers of an observation and A the actions:

    0 .. D-1        the observation
                    1 where an episode has just begun, else 0 (with episode_flag)
                    an unused 0 (with unused_input)
                    bias 1
                    time t / T, in [0, 1), over the whole trial of T steps
                    the previous reward
    .. + A          the previous action: one-hot where actions are one choice (Discrete), else its
                    numbers, within the bounds; 0 at t = 0

The episodes of a trial follow one another in lock step, each of the problem's horizon: one that has
ended earlier waits. What was done and earned last is carried from one episode to the next. A bonus
that is paid in training alone (``info["bonus"]``) is no part of the previous reward.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Space
from torch import Tensor

from metarl.rl.collector import in_tensors
from metarl.rl.problem import TensorEnv


class TrialEnv:
    """B trials as one tensor program (`rollout.TensorVectorEnv`) around B environments.

    Attributes:
        num_envs: B.
        horizon: Steps of a trial, T.
        num_inputs: Numbers in an observation.
    """

    def __init__(
        self,
        env: TensorEnv,
        horizon: int,
        num_episodes: int = 1,
        *,
        device: torch.device,
        episode_flag: bool = True,
        unused_input: bool = False,
        first_action_zero_is_set: bool = False,
    ) -> None:
        """Play trials in these environments.

        Args:
            env: B environments.
            horizon: Steps of an episode.
            num_episodes: Episodes of a trial.
            device: Device of the environments' tensors.
            episode_flag: Say where an episode has just begun.
            unused_input: Keep the unused 0 of the published maze (17 inputs instead of 16).
            first_action_zero_is_set: Set the bit of action 0 at t = 0, as the published code does.
        """
        actions, observed = env.single_action_space, env.single_observation_space
        self.env, self.num_envs = env, env.num_envs
        self._reset, self._step = in_tensors(env)
        self._episode_horizon, self.horizon = horizon, num_episodes * horizon
        self._elapsed = 0
        num_seen, num_actions = int(np.prod(observed.shape or 0)), action_size(actions)
        self._one_hot = is_choice(actions)
        self._bounds: tuple[Tensor, Tensor] | None = None
        if isinstance(actions, Box):
            low, high = (
                torch.tensor(side.ravel(), device=device) for side in (actions.low, actions.high)
            )
            self._bounds = low, high
        self._reward = int(unused_input) + 2  # its place behind observation and flag
        width = self._reward + 1 + num_actions
        rows = torch.zeros(self.horizon + 1, num_actions, width, device=device)
        rows[:, :, self._reward - 2] = 1.0
        rows[:, :, self._reward - 1] = (
            torch.arange(self.horizon + 1, device=device)[:, None] / self.horizon
        )
        rows[:, :, self._reward + 1 :] = torch.eye(num_actions, device=device)
        self._rows = rows.unbind(0)  # T + 1 times [A, width]
        first = torch.zeros(width, device=device)
        first[self._reward - 2] = 1.0
        first[self._reward + 1] = float(first_action_zero_is_set)
        self._first = first.repeat(self.num_envs, 1)  # [B, width]
        one = torch.ones(self.num_envs, 1, device=device)
        # At the start of an episode, and later: nothing, where there is no flag.
        self._flags = ((one,), (torch.zeros_like(one),)) if episode_flag else ((), ())
        self._false = torch.zeros(self.num_envs, dtype=torch.bool, device=device)
        self._true = ~self._false
        self.num_inputs = num_seen + int(episode_flag) + width
        self.single_observation_space = Box(-np.inf, np.inf, (self.num_inputs,), np.float32)
        self.single_action_space = actions

    def reset(self, *, options: dict[str, Any] | None = None) -> tuple[Tensor, dict[str, Any]]:
        """Start a trial everywhere; the options are the environments'."""
        observation, info = self._reset(options=options)
        self._elapsed = 0
        return torch.cat((self._flat(observation), *self._flags[0], self._first), 1), info

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Act everywhere; nothing ends but the trial, at its horizon."""
        observation, rewards, _, _, info = self._step(actions)
        self._elapsed += 1
        over = self._elapsed == self.horizon
        begun = not over and self._elapsed % self._episode_horizon == 0
        if begun:
            observation, _ = self._reset(options={"same_task": True})
            info = {name: info[name] for name in ("bonus",) if name in info}  # paid by this step
        rest = self._told(actions)  # [B, width]
        rest[:, self._reward] = rewards - info["bonus"] if "bonus" in info else rewards
        seen = torch.cat((self._flat(observation), *self._flags[0 if begun else 1], rest), 1)
        return seen, rewards, self._false, self._true if over else self._false, info

    def _told(self, actions: Tensor) -> Tensor:
        """What follows observation and flag, but for the reward, ``[B, width]``."""
        rows = self._rows[self._elapsed]
        if self._one_hot:
            return rows.index_select(0, actions)
        moves = actions.to(rows.dtype).flatten(1)  # [B, A]
        if self._bounds is not None:
            moves = moves.clamp(*self._bounds)
        rest = rows[:1].repeat(self.num_envs, 1)
        rest[:, self._reward + 1 :] = moves
        return rest

    @staticmethod
    def _flat(observation: Tensor) -> Tensor:
        return observation.flatten(1)


def is_choice(actions: object) -> bool:
    """Whether an action is one of finitely many."""
    return isinstance(actions, Discrete)


def action_size(actions: Space[Any]) -> int:
    """Numbers that tell an action, A."""
    return int(actions.n) if isinstance(actions, Discrete) else math.prod(actions.shape or (1,))


def num_trial_inputs(num_seen: int, actions: Space[Any]) -> int:
    """Numbers that an agent sees in a trial, with the flag or with the unused input.

    Args:
        num_seen: D, in an observation of the environment.
        actions: Of one environment.
    """
    return num_seen + 4 + action_size(actions)
