"""Points in the plane as one tensor program: the twin of `envs.point.env`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from gymnasium.vector import AutoresetMode

from ..base.arrays import as_tensor
from ..base.checks import as_source
from ..base.tasks import TaskSource
from ..base.tensor import TaskVectorEnv
from .env import check_point_settings, point_spaces
from .tasks import PointTask, PointTasks

__all__ = ["PointNavigationVectorEnv"]


class PointNavigationVectorEnv(TaskVectorEnv[PointTask]):
    """B points on a torch device; dynamics as in `envs.point.env.PointNavigationEnv`.

    Observations are float32 [B, 2], actions float32 [B, 2] (clipped), the task's parameters the
    goals, float32 [B, 2]. Where `goal_radius` is above 0, episodes end at different times; see
    `envs.base.tensor` for what then happens.

    Args:
        num_envs: Number of points, B.
        tasks: Where goals come from when none are set; uniform in [-0.5, 0.5]^2 by default.
        horizon: Steps in an episode.
        max_step: Largest change of a coordinate in a step.
        goal_radius: How near the goal an episode ends; 0 for never.
        action_scale: What an action is multiplied by to be a move; with `max_step` an action of 1
            is the longest step.
        device: Where all tensors live.
        generator: The source of goals; see `envs.base.tensor`.
        autoreset_mode: DISABLED, SAME_STEP, or, with ``goal_radius=0``, NEXT_STEP.
        validate_actions: Refuse actions that are not finite. Done on the CPU only: elsewhere the
            check would have to wait for the device.

    Raises:
        ValueError: If a setting is out of range.
    """

    task_type = PointTask

    def __init__(
        self,
        num_envs: int = 1,
        *,
        tasks: TaskSource[PointTask] | Sequence[PointTask] | None = None,
        horizon: int = 100,
        max_step: float = 0.1,
        goal_radius: float = 0.01,
        action_scale: float = 1.0,
        device: torch.device | str = "cpu",
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.DISABLED,
        validate_actions: bool = True,
    ) -> None:
        self.max_step, self.goal_radius, self.action_scale = check_point_settings(
            max_step, goal_radius, action_scale
        )
        self.may_terminate = self.goal_radius > 0
        self.reward_range = (-math.inf, 0.0)
        super().__init__(
            num_envs,
            PointTasks() if tasks is None else as_source(tasks, PointTask),
            horizon,
            {"goal": (2,)},
            *point_spaces(horizon, self.max_step, self.action_scale),
            device=device,
            generator=generator,
            autoreset_mode=autoreset_mode,
        )
        self._validate = validate_actions and self.device.type == "cpu"
        self._origin = torch.zeros(self.num_envs, 2, dtype=torch.float32, device=self.device)
        self._positions = self._origin

    @property
    def goals(self) -> torch.Tensor:
        """float32 [B, 2]. Do not write into it."""
        return self.task_parameters[0]

    def _check_parameters(self, *parameters: torch.Tensor) -> None:
        if not bool(torch.isfinite(parameters[0]).all()):
            raise ValueError("tasks given as numbers must be finite goals (x, y)")

    def _begin(self, started: torch.Tensor | None) -> None:
        self._positions = (
            self._origin
            if started is None
            else torch.where(started[:, None], self._origin, self._positions)
        )

    def _read_actions(self, actions: Any) -> torch.Tensor:
        moves = as_tensor(actions, self.device, torch.float32)
        self._check_shape(moves)
        if self._validate and not bool(torch.isfinite(moves).all()):
            row = int((~torch.isfinite(moves)).any(dim=1).nonzero()[0])
            raise ValueError(f"actions must be finite, got {moves[row].tolist()} for point {row}")
        if self.action_scale != 1.0:
            moves = moves * self.action_scale
        return moves.clamp(-self.max_step, self.max_step)

    def _advance(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        moved = self._positions + actions
        if self.may_terminate:
            moved = torch.where(self._ended[:, None], self._positions, moved)
        self._positions = moved
        x, y = (moved - self.goals).unbind(1)
        # float32's square root is only nearly rounded in torch: the single twin's is, as this is.
        rewards = -torch.sqrt((x * x + y * y).double()).float()
        if not self.may_terminate:
            return rewards, None
        return rewards, (x.abs() < self.goal_radius) & (y.abs() < self.goal_radius)

    def _observe(self) -> torch.Tensor:
        return self._positions.clone()
