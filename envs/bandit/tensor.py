"""Bernoulli bandits as one tensor program: the twin of `envs.bandit`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode

from ..base.tasks import TaskSource
from ..base.tensor import TaskVectorEnv
from .env import bandit_settings, check_arms
from .tasks import BanditTask

__all__ = ["BanditVectorEnv"]


class BanditVectorEnv(TaskVectorEnv[BanditTask]):
    """B bandits on a torch device; dynamics as in `envs.bandit.BanditEnv`.

    Observations are float32 [B, 1] (always 0), actions int64 [B], the task's parameters the
    probabilities of the arms, float32 [B, K]. Reset option ``uniforms``: float [horizon, B].

    Args:
        num_envs: Number of bandits, B.
        num_arms: K, if `tasks` is not given.
        tasks: Where bandits come from when none are set; uniform probabilities by default.
        horizon: Pulls in an episode.
        device: Where all tensors live.
        generator: The source of bandits and rewards; see `envs.base.tensor`.
        autoreset_mode: DISABLED, SAME_STEP or NEXT_STEP.
        validate_actions: Refuse arms that do not exist. Done on the CPU only: elsewhere the check
            would have to wait for the device.

    Raises:
        ValueError: If a setting is out of range.
    """

    task_type = BanditTask
    step_options = ("uniforms",)
    reward_range = (0.0, 1.0)

    def __init__(
        self,
        num_envs: int = 1,
        *,
        num_arms: int = 5,
        tasks: TaskSource[BanditTask] | Sequence[BanditTask] | None = None,
        horizon: int = 100,
        device: torch.device | str = "cpu",
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.DISABLED,
        validate_actions: bool = True,
    ) -> None:
        source, self.num_arms = bandit_settings(num_arms, tasks)
        super().__init__(
            num_envs,
            source,
            horizon,
            {"probabilities": (self.num_arms,)},
            Box(0.0, 1.0, (1,), np.float32),
            Discrete(self.num_arms),
            device=device,
            generator=generator,
            autoreset_mode=autoreset_mode,
        )
        self._validate = validate_actions and self.device.type == "cpu"

    def _begin(self, started: torch.Tensor | None) -> None:
        pass  # the arms are all there is

    def _read_actions(self, actions: Any) -> torch.Tensor:
        return self._read_discrete(actions, self.num_arms, validate=self._validate)

    def _advance(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        (uniforms,) = self._random.next()
        chances = self._params[0].gather(1, actions[:, None])[:, 0]
        return (uniforms < chances).to(torch.float32), None

    def _observe(self) -> torch.Tensor:
        return torch.zeros(self.num_envs, 1, dtype=torch.float32, device=self.device)

    def _check_parameters(self, *parameters: torch.Tensor) -> None:
        (chances,) = parameters
        if not bool(((chances >= 0) & (chances <= 1)).all()):  # NaN is neither
            raise ValueError("tasks given as numbers must be probabilities in [0, 1]")

    def _check_task(self, task: Any) -> BanditTask:
        return check_arms(super()._check_task(task), self.num_arms)
