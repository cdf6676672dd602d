"""Levels of the papers on environment design as one tensor program: fresh ones in every trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium.vector import AutoresetMode

from ..base.arrays import Seed
from ..base.tasks import Tensors
from ..minigrid.tensor import MinigridVectorEnv
from .levels import Levels, LevelTasks

__all__ = ["LevelVectorEnv"]


class _Fresh:
    """Draws of fresh levels, as grids."""

    def __init__(self, levels: Levels) -> None:
        self._levels = levels

    def draw(self, n: int, generator: torch.Generator, device: torch.device) -> Tensors:
        return self._levels.arrays(self._levels.draw(n, generator).to(device))


class LevelVectorEnv(MinigridVectorEnv):
    """B levels; dynamics as in `MinigridVectorEnv`; what is seen is walls, goal and direction.

    The reset option ``tasks`` is a sequence of tasks, or their numbers; or levels as numbers,
    int64 [B, D] of `envs.ued.levels.Levels`; None draws fresh levels of the source.

    Args:
        num_envs: Number of environments, B.
        tasks: Where levels are drawn from.
        device, generator, autoreset_mode: As in `envs.base.tensor.TensorEnv`.
        horizon: Steps of an episode, at most; None: as the tasks say.
        validate_actions: Refuse actions out of range.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        tasks: LevelTasks,
        horizon: int | None = None,
        device: torch.device | str = "cpu",
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.DISABLED,
        validate_actions: bool = True,
    ) -> None:
        super().__init__(
            num_envs,
            tasks=tasks.sample(1, torch.Generator().manual_seed(0)),  # for rules and sizes
            horizon=horizon,
            observe="maze",
            direction=True,
            device=device,
            generator=generator,
            autoreset_mode=autoreset_mode,
            validate_actions=validate_actions,
        )
        self._levels = tasks.levels
        self._fresh = _Fresh(self._levels)

    def reset_tensors(
        self, seed: Seed = None, options: dict[str, Any] | None = None
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """`reset`, always with tensors."""
        tasks = (options or {}).get("tasks")
        if isinstance(tasks, torch.Tensor) and tasks.shape[1:] == (self._levels.width,):
            options = {**(options or {}), "tasks": self._levels.numbers(tasks)}
        return super().reset_tensors(seed, options)

    def _drawn_tasks(self, where: torch.Tensor | None) -> Tensors:
        return self._generators.tasks(self._fresh)
