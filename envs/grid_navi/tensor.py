"""GridNavi as one tensor program: the twin of `envs.grid_navi`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode

from ..base.tensor import TaskVectorEnv
from .env import Goals, check_size, grid_navi_observations, grid_navi_settings, observation_space
from .tasks import ELSEWHERE, MOVES, ON_GOAL, GridNaviTask, next_cells

__all__ = ["GridNaviVectorEnv"]


class GridNaviVectorEnv(TaskVectorEnv[GridNaviTask]):
    """B grids on a torch device; dynamics as in `envs.grid_navi.GridNaviEnv`.

    Observations are float32 [B, 2], or [B, size^2] if `one_hot`; actions int64 [B]; the tasks'
    parameters the goals' cell numbers and the size, int64 [B] each.

    Args:
        num_envs: Number of grids, B.
        size: Cells along a side, if `tasks` is not given.
        tasks: Where goals come from when none are set; every goal by default.
        horizon: Steps in an episode.
        one_hot: See the cell as a one-hot vector instead of two coordinates.
        device: Where all tensors live.
        generator: The source of goals; see `envs.base.tensor`.
        autoreset_mode: DISABLED, SAME_STEP or NEXT_STEP.
        validate_actions: Refuse actions out of range. Done on the CPU only: elsewhere the check
            would have to wait for the device.

    Raises:
        ValueError: If a setting is out of range.
    """

    task_type = GridNaviTask
    parameter_dtype = torch.int64
    reward_range = (ELSEWHERE, ON_GOAL)

    def __init__(
        self,
        num_envs: int = 1,
        *,
        size: int = 5,
        tasks: Goals | None = None,
        horizon: int = 15,
        one_hot: bool = False,
        device: torch.device | str = "cpu",
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.DISABLED,
        validate_actions: bool = True,
    ) -> None:
        source, self.size = grid_navi_settings(size, tasks)
        observations = grid_navi_observations(self.size, one_hot)
        super().__init__(
            num_envs,
            source,
            horizon,
            {"goal": (), "size": ()},
            observation_space(observations),
            Discrete(len(MOVES)),
            device=device,
            generator=generator,
            autoreset_mode=autoreset_mode,
        )
        self._validate = validate_actions and self.device.type == "cpu"
        self._seen = torch.tensor(observations, device=self.device)
        self._table = torch.tensor(next_cells(self.size).reshape(-1), device=self.device)
        self._start = torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)
        self._on_goal, self._elsewhere = self._zero + ON_GOAL, self._zero + ELSEWHERE

    @property
    def cells(self) -> torch.Tensor:
        """int64 [B], the cells of the agents, ``x * size + y``. Do not write into it."""
        assert self.task_parameters
        return self._cells

    @property
    def goals(self) -> torch.Tensor:
        """int64 [B], the cells of the goals. Do not write into it."""
        return self.task_parameters[0]

    def _begin(self, started: torch.Tensor | None) -> None:
        self._cells = self._start

    def _read_actions(self, actions: Any) -> torch.Tensor:
        return self._read_discrete(actions, len(MOVES), validate=self._validate)

    def _advance(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        self._cells = self._table.index_select(0, self._cells * len(MOVES) + actions)
        return torch.where(self._cells == self._params[0], self._on_goal, self._elsewhere), None

    def _observe(self) -> torch.Tensor:
        return self._seen.index_select(0, self._cells)

    def _check_parameters(self, *parameters: torch.Tensor) -> None:
        goals, sizes = parameters
        x, y = goals // self.size, goals % self.size
        right = (goals >= 0) & (goals < self.size**2) & ((x > 1) | (y > 1)) & (sizes == self.size)
        if not bool(right.all()):
            row = int((~right).nonzero()[0])
            raise ValueError(
                f"task {row}, goal cell {int(goals[row])} of a grid of size {int(sizes[row])}, is "
                f"none of this environment of size {self.size}"
            )

    def _check_task(self, task: Any) -> GridNaviTask:
        return check_size(super()._check_task(task), self.size)
