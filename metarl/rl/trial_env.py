"""Trials of several episodes on one task, for agents that adapt through their hidden state.

A learner without gradients has to be told its own last action and reward (Wang et al. 2016; Duan et
al. 2016). The inputs, in this order, D being the numbers of an observation and A the actions:

    0 .. D-1        the observation
                    1 where an episode has just begun, else 0 (with episode_flag)
                    an unused 0 (with unused_input)
                    bias 1
                    time t / T, in [0, 1), over the whole trial of T steps (or slower: `clock`)
                    the previous reward
    .. + A          the previous action: one-hot where actions are one choice (Discrete), else its
                    numbers, within the bounds; 0 at t = 0

The episodes of a trial follow one another in lock step, each of the problem's horizon: one that has
ended earlier waits. Where environments let each episode end in its own time (the tensor
environments of this package in mode NEXT_STEP), the next one on the same task follows at once. A
trial is over with its last episode; or it has so many steps, and as many episodes as go into them.
What was done and earned last is carried from one episode to the next. A bonus
that is paid in training alone (``info["bonus"]``) is no part of the previous reward.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Space
from gymnasium.vector import AutoresetMode
from torch import Tensor

from metarl.errors import UserError
from metarl.rl.collector import in_tensors
from metarl.rl.problem import TensorEnv


class TrialEnv:
    """B trials as one tensor program (`rollout.TensorVectorEnv`) around B environments.

    Attributes:
        num_envs: B.
        horizon: Steps of a trial, T.
        clock: Steps in which the time that agents see goes from 0 to 1.
        num_inputs: Numbers in an observation.
        own_time: Whether an episode that ends is followed by the next at once.
        episodes: int64 ``[B]``, the number of the episode (from 0) that each trial is in.
        episode_ends: Two of bool ``[B]``: whether the last step terminated or truncated the episode
            of each trial, or it had ended before and waits.
    """

    def __init__(
        self,
        env: TensorEnv,
        horizon: int,
        num_episodes: int = 1,
        *,
        num_steps: int | None = None,
        clock: int | None = None,
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
            num_steps: Steps of a trial, whatever episodes go into them; None: it is over with its
                last episode.
            clock: Steps in which the time that agents see goes from 0 to 1, at least those of a
                trial; None: those of a trial.
            device: Device of the environments' tensors.
            episode_flag: Say where an episode has just begun.
            unused_input: Keep the unused 0 of the published maze (17 inputs instead of 16).
            first_action_zero_is_set: Set the bit of action 0 at t = 0, as the published code does.

        Raises:
            ValueError: The environments start episodes themselves, and not at once after an end; or
                the clock is over before the trial.
        """
        actions, observed = env.single_action_space, env.single_observation_space
        self.env, self.num_envs = env, env.num_envs
        self._reset, self._step = in_tensors(env)
        self._episode_horizon = horizon
        self.horizon = num_episodes * horizon if num_steps is None else num_steps
        self.clock = self.horizon if clock is None else clock
        if self.clock < self.horizon:
            raise ValueError(
                f"clock must be at least the {self.horizon} steps of a trial, got {clock}"
            )
        self._num_episodes = num_episodes if num_steps is None else None
        self.own_time = in_own_time(env)
        self._elapsed = 0
        self.episodes = torch.zeros(self.num_envs, dtype=torch.int64, device=device)
        num_seen, num_actions = int(np.prod(observed.shape or 0)), action_size(actions)
        self._one_hot = is_choice(actions)
        self._bounds = _bounds(actions, device)
        self._reward = int(unused_input) + 2  # its place behind observation and flag
        self._lay_out_what_is_told(num_actions, episode_flag, first_action_zero_is_set, device)
        self._false = torch.zeros(self.num_envs, dtype=torch.bool, device=device)
        self.episode_ends = self._false, self._false
        self.num_inputs = num_seen + int(episode_flag) + self._first.shape[1]
        self.single_observation_space = Box(-np.inf, np.inf, (self.num_inputs,), np.float32)
        self.single_action_space = actions

    def _lay_out_what_is_told(
        self, num_actions: int, flagged: bool, first_is_set: bool, device: torch.device
    ) -> None:
        """Inputs behind the observation, before every step."""
        rows = _told_after_steps(self.horizon, self.clock, num_actions, self._reward, device)
        self._rows = rows.unbind(0)  # T + 1 times [A, width]
        flag = rows.new_zeros(*rows.shape[:2], int(flagged))  # no step begins an episode
        self._told_behind = torch.cat((flag, rows), 2)  # [T + 1, A, flag and width]
        first = rows[0, 0].clone()
        first[self._reward + 1] = float(first_is_set)
        self._first = first.repeat(self.num_envs, 1)  # [B, width]
        one = torch.ones(self.num_envs, 1, device=device)
        # At the start of an episode, and later: nothing, where there is no flag.
        self._flags: tuple[tuple[Tensor, ...], tuple[Tensor, ...]] = (
            ((one,), (torch.zeros_like(one),)) if flagged else ((), ())
        )

    def reset(self, *, options: dict[str, Any] | None = None) -> tuple[Tensor, dict[str, Any]]:
        """Start a trial everywhere; the options are the environments'."""
        observation, info = self._reset(options=options)
        _, self._step = in_tensors(self.env)  # a reset may choose another way of stepping
        self._elapsed = 0
        self.episodes = self._false.to(torch.int64)  # a new one: a recording reads no old ones
        return torch.cat((self._flat(observation), *self._flags[0], self._first), 1), info

    def use_share(self, whole: int, start: int) -> None:
        """Play a part of more trials, of which the others are elsewhere.

        Args:
            whole: Number of all trials of a generator.
            start: Number of the first one that is here.

        Raises:
            UserError: The environments cannot draw as a part of more.
        """
        use: Any = getattr(self.env, "use_share", None)
        if use is None:
            raise UserError(
                f"{type(self.env).__name__} cannot be shared by several processes: it has no "
                "`use_share(whole, start)`, which draws for all and takes what is its own"
            )
        use(whole, start)

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Act everywhere; nothing ends but the trial: truncated at its horizon, or terminated."""
        observation, rewards, terminated, truncated, info = self._step(actions)
        self._elapsed += 1
        self.episode_ends = terminated, truncated
        over = self._elapsed == self.horizon
        flags, done = self._flags[1], self._false
        if self.own_time:
            ended = terminated | truncated
            observation = self.env.begin_again()  # type: ignore[attr-defined]
            self.episodes = self.episodes + ended
            flags = tuple(ended.unsqueeze(1).to(flag.dtype) for flag in flags)  # [B, 1]
            if self._num_episodes is not None:
                done = self.episodes >= self._num_episodes
        elif not over and self._elapsed % self._episode_horizon == 0:
            observation, _ = self._reset(options={"same_task": True})
            self.episodes = self.episodes + 1
            flags = self._flags[0]
        # Of what is known of the step, only what it paid: the rest is of episodes.
        info = {name: info[name] for name in ("bonus",) if name in info}
        rest = self._told(actions)  # [B, width]
        rest[:, self._reward] = rewards - info["bonus"] if "bonus" in info else rewards
        seen = torch.cat((self._flat(observation), *flags, rest), 1)
        return seen, rewards, done, ~done if over else self._false, info

    def look_up(self, num_steps: int) -> Any:
        """The next steps within an episode as tables (`metarl.native.world.LookUp`).

        Args:
            num_steps: As many as are asked for. The last one of an episode is not among them.

        Returns:
            The tables, or None: the environments have none, or the observation is none that a table
            tells.
        """
        horizon = self._episode_horizon
        over = min(self.horizon, (self._elapsed // horizon + 1) * horizon)
        num_steps = min(num_steps, over - self._elapsed - 1)
        told = type(self) is TrialEnv and self._one_hot and not self.own_time
        if not (told and hasattr(type(self.env), "look_up")) or num_steps < 1:
            return None
        tables = self.env.look_up(num_steps)  # type: ignore[attr-defined]
        if tables is None or tables.told is not None:
            return None
        after = self._elapsed + 1
        return tables._replace(
            told=self._told_behind[after : after + tables.num_steps],
            reward_column=len(self._flags[1]) + self._reward,
            tells_bonus=False,
            tells_end=False,
        )

    def jump(self, places: Tensor, num_steps: int) -> None:
        """Take what the steps by the tables have come to: places ``[B]``."""
        self.env.jump(places, num_steps)  # type: ignore[attr-defined]
        self._elapsed += num_steps

    def _told(self, actions: Tensor) -> Tensor:
        """Inputs behind observation and flag, but for the reward, ``[B, width]``."""
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


def _told_after_steps(
    num_steps: int, clock: int, num_actions: int, reward: int, device: torch.device
) -> Tensor:
    """Inputs behind observation and flag after 0 to T steps, by the action, ``[T + 1, A, width]``.

    Args:
        num_steps: T.
        clock: Steps in which the time goes from 0 to 1.
        num_actions: A.
        reward: Place of the previous reward, which is left 0.
        device: Where.
    """
    rows = torch.zeros(num_steps + 1, num_actions, reward + 1 + num_actions, device=device)
    rows[:, :, reward - 2] = 1.0
    rows[:, :, reward - 1] = torch.arange(num_steps + 1, device=device)[:, None] / clock
    rows[:, :, reward + 1 :] = torch.eye(num_actions, device=device)
    return rows


def _bounds(actions: Space[Any], device: torch.device) -> tuple[Tensor, Tensor] | None:
    """The lowest and the highest numbers of an action, ``[A]`` each; None: it is a choice."""
    if not isinstance(actions, Box):
        return None
    low, high = (torch.tensor(side.ravel(), device=device) for side in (actions.low, actions.high))
    return low, high


def in_own_time(env: Any) -> bool:
    """Whether an environment lets each episode end in its own time, and begins the next when asked.

    Raises:
        ValueError: It begins the next one itself, on another task.
    """
    if not getattr(env, "out_of_step", False):
        return False
    mode = getattr(env, "autoreset_mode", None)
    if mode is not AutoresetMode.NEXT_STEP:
        raise ValueError(
            f"a trial starts its episodes itself, got environments with {mode}: make them with "
            "AutoresetMode.NEXT_STEP (the next episode follows at once) or DISABLED (all wait)"
        )
    return True


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
