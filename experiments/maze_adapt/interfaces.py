"""What stands between a policy without memory and an environment: where it is, how far it steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from envs import GridMazeVectorEnv
from envs.dynamics import PATCH_SIZE
from metarl.rl import TensorVectorEnv

Step = tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]


class LocatedMazes:
    """Mazes whose agents also see their row and column, in [-1, 1].

    Observations are float32 ``[B, 11]``: 9 walls, row, column. Episodes must not be restarted by
    the mazes themselves.

    Attributes:
        num_inputs: Numbers in an observation.
        env: The mazes.
    """

    num_inputs = PATCH_SIZE + 2

    def __init__(self, env: GridMazeVectorEnv) -> None:
        """Look at these mazes."""
        self.env = env
        places = torch.tensor(env.settings.tables.places, dtype=torch.float32, device=env.device)
        sides = torch.tensor([env.layout.height, env.layout.width], device=env.device)
        self._places = 2 * places / (sides - 1) - 1  # [places, 2]

    @property
    def num_envs(self) -> int:
        """B."""
        return self.env.num_envs

    def reset(self, *, options: dict[str, Any] | None = None) -> tuple[Tensor, dict[str, Any]]:
        """Start an episode everywhere."""
        observation, info = self.env.reset(options=options)
        return self._located(observation), info

    def step(self, actions: Tensor) -> Step:
        """Move every agent."""
        observation, *rest, info = self.env.step(actions)
        reward, terminated, truncated = rest
        return self._located(observation), reward, terminated, truncated, info

    def _located(self, observation: Tensor) -> Tensor:
        return torch.cat((observation, self._places.index_select(0, self.env.agent_cells)), 1)


class ScaledActions:
    """Environments whose actions are multiplied before they are taken.

    So a Gaussian policy of deviation 1 begins with steps as long as they may be, whatever their
    unit.

    Attributes:
        env: The environments.
        scale: The factor.
    """

    def __init__(self, env: TensorVectorEnv, scale: float) -> None:
        """Scale the actions of these environments."""
        self.env, self.scale = env, scale

    @property
    def num_envs(self) -> int:
        """B."""
        return self.env.num_envs

    def reset(self, *, options: dict[str, Any] | None = None) -> tuple[Tensor, dict[str, Any]]:
        """Start an episode everywhere."""
        return self.env.reset(options=options)

    def step(self, actions: Tensor) -> Step:
        """Take the scaled actions."""
        return self.env.step(self.scale * actions)
