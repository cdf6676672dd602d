"""Two variants of the maze's episode: a start drawn anew each time, and a goal that ends it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from gymnasium.vector import VectorWrapper
from torch import Tensor

from envs import GridMazeVectorEnv, Layout, MazeTask
from envs.base.generator_blocks import GeneratorBlocks
from envs.maze.dynamics import teleport_targets
from experiments.maze_adapt.interfaces import Step, TensorEnv


class RandomStarts(VectorWrapper[Tensor, Tensor, Tensor, Tensor, Tensor]):
    """Mazes whose episodes start each at a free cell other than the goal, all equally likely."""

    def __init__(
        self, env: TensorEnv, generator: torch.Generator | Sequence[torch.Generator] | None
    ) -> None:
        """Draw starts by these generators, as the mazes draw teleports (`GeneratorBlocks`)."""
        super().__init__(env)
        mazes = env.unwrapped
        assert isinstance(mazes, GridMazeVectorEnv)
        self.mazes = mazes
        self._random = GeneratorBlocks(generator, env.num_envs, mazes.device)

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Start an episode everywhere: the goals are those of the options, the starts are not."""
        self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        layout, goals = self.mazes.layout, self.mazes.goals
        draws = self._random.integers(layout.num_free - 1, 1)[0]
        cells = zip(goals.tolist(), teleport_targets(draws, goals).tolist(), strict=True)
        # The rest of the options, such as given teleports, holds for the same episode.
        others = {n: o for n, o in (options or {}).items() if n not in ("goals", "same_task")}
        tasks = [_task(layout, goal, start) for goal, start in cells]
        return self.env.reset(options={**others, "tasks": tasks})


class EndsAtGoal(VectorWrapper[Tensor, Tensor, Tensor, Tensor, Tensor]):
    """Mazes whose goal ends the episode.

    ``terminated`` is true at the step that reaches it. The mazes stay in lock step: until the next
    reset nothing more is paid.
    """

    def __init__(self, env: TensorEnv) -> None:
        """End these episodes."""
        super().__init__(env)
        mazes = env.unwrapped
        assert isinstance(mazes, GridMazeVectorEnv)
        self._going = torch.ones(env.num_envs, dtype=torch.bool, device=mazes.device)

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Start an episode everywhere."""
        self._going = torch.ones_like(self._going)
        return self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]

    def step(self, actions: Tensor) -> Step:
        """Move every agent; pay those who have not been paid yet."""
        observation, reward, _, truncated, info = self.env.step(actions)
        reward = reward * self._going
        found = reward > 0
        self._going = self._going & ~found
        return observation, reward, found, truncated & ~found, info


@lru_cache(maxsize=2**16)
def _task(layout: Layout, goal: int, start: int) -> MazeTask:
    """The task of two cell numbers."""
    return MazeTask(layout, layout.free_cells[goal], layout.free_cells[start])
