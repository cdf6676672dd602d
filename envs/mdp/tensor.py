"""Random Markov decision processes as one tensor program: the twin of `envs.mdp.env`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode

from ..base.tasks import TaskSource
from ..base.tensor import TaskVectorEnv
from .env import check_sizes, mdp_settings
from .tasks import MDPTask

__all__ = ["TabularMDPVectorEnv"]


class TabularMDPVectorEnv(TaskVectorEnv[MDPTask]):
    """B processes on a torch device; dynamics as in `envs.mdp.env.TabularMDPEnv`.

    Observations are float32 [B, S] (one-hot), actions int64 [B], the tasks' parameters transitions,
    float32 [B, S, A, S], and reward means, float32 [B, S, A]. Reset options ``uniforms`` and
    ``normals``: float [horizon, B].

    Args:
        num_envs: Number of processes, B.
        num_states: S, if `tasks` is not given.
        num_actions: A, if `tasks` is not given.
        tasks: Where processes come from when none are set; those of RL^2 by default.
        horizon: Steps in an episode.
        device: Where all tensors live.
        generator: The source of processes, moves and noise; see `envs.base.tensor`.
        autoreset_mode: DISABLED, SAME_STEP or NEXT_STEP.
        validate_actions: Refuse actions out of range. Done on the CPU only: elsewhere the check
            would have to wait for the device.

    Raises:
        ValueError: If a setting is out of range.
    """

    task_type = MDPTask
    step_options = ("uniforms", "normals")
    reward_range = (-math.inf, math.inf)

    def __init__(
        self,
        num_envs: int = 1,
        *,
        num_states: int = 10,
        num_actions: int = 5,
        tasks: TaskSource[MDPTask] | Sequence[MDPTask] | None = None,
        horizon: int = 10,
        device: torch.device | str = "cpu",
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.DISABLED,
        validate_actions: bool = True,
    ) -> None:
        source, self.num_states, self.num_actions = mdp_settings(num_states, num_actions, tasks)
        super().__init__(
            num_envs,
            source,
            horizon,
            {
                "transitions": (self.num_states, self.num_actions, self.num_states),
                "reward_means": (self.num_states, self.num_actions),
            },
            Box(0.0, 1.0, (self.num_states,), np.float32),
            Discrete(self.num_actions),
            device=device,
            generator=generator,
            autoreset_mode=autoreset_mode,
        )
        self._validate = validate_actions and self.device.type == "cpu"
        self._one_hot = torch.eye(self.num_states, dtype=torch.float32, device=self.device)
        self._start = torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)
        rows = torch.arange(self.num_envs, device=self.device)
        self._first_rows = rows * (self.num_states * self.num_actions)

    @property
    def states(self) -> torch.Tensor:
        """int64 [B], the numbers of the states. Do not write into it."""
        assert self.task_parameters
        return self._states

    def _begin(self, started: torch.Tensor | None) -> None:
        transitions, means = self._params
        sums = transitions.cumsum(dim=-1, dtype=torch.float64)
        self._thresholds = sums[..., :-1].float().flatten(0, 2)  # [B * S * A, S - 1]
        self._means = means.flatten()  # [B * S * A]
        self._states = self._start

    def _read_actions(self, actions: Any) -> torch.Tensor:
        return self._read_discrete(actions, self.num_actions, validate=self._validate)

    def _advance(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        uniforms, normals = self._random.next()
        rows = self._first_rows + self._states * self.num_actions + actions
        rewards = self._means.index_select(0, rows) + normals
        below = self._thresholds.index_select(0, rows) <= uniforms[:, None]
        self._states = below.sum(dim=1)
        return rewards, None

    def _observe(self) -> torch.Tensor:
        return self._one_hot.index_select(0, self._states)

    def _check_parameters(self, *parameters: torch.Tensor) -> None:
        transitions, means = parameters
        sums = transitions.sum(dim=-1, dtype=torch.float64)
        if not bool((transitions >= 0).all()) or not bool(((sums - 1).abs() <= 1e-4).all()):
            raise ValueError("transitions must be probabilities that sum to 1 over the next state")
        if not bool(torch.isfinite(means).all()):
            raise ValueError("reward_means must be finite")

    def _check_task(self, task: Any) -> MDPTask:
        return check_sizes(super()._check_task(task), self.num_states, self.num_actions)
