"""What stands between a policy without memory and an environment: where it is, how far it steps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from torch import Tensor

from envs import GridMazeVectorEnv, Layout
from envs.maze.dynamics import PATCH_SIZE

TensorEnv = VectorEnv[Tensor, Tensor, Tensor]
Step = tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]


NUM_WAVES = 3
"""Frequencies in which a place is written: whole waves that span the maze 1, 2 and 3 times."""

PLACE_SIZE = 2 + 2 * 2 * NUM_WAVES
"""Numbers that say where an agent is."""


class LocatedMazes(VectorWrapper[Tensor, Tensor, Tensor, Tensor, Tensor]):
    """Mazes whose agents also see where they are.

    Observations are float32 ``[B, 23]``: 9 walls, then `written_places`. Episodes must not be
    restarted by the mazes themselves.

    Attributes:
        num_inputs: Numbers in an observation.
    """

    num_inputs = PATCH_SIZE + PLACE_SIZE

    def __init__(self, env: GridMazeVectorEnv) -> None:
        """Look at these mazes."""
        super().__init__(env)
        self.mazes = env
        places = torch.tensor(env.settings.tables.places, dtype=torch.float32, device=env.device)
        sides = torch.tensor([env.layout.height, env.layout.width], device=env.device)
        self._places = written_places(2 * places / (sides - 1) - 1)
        self.single_observation_space = Box(-1.0, 1.0, (self.num_inputs,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Start an episode everywhere."""
        observation, info = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        return self._located(observation), info

    def step(self, actions: Tensor) -> Step:
        """Move every agent."""
        observation, *rest, info = self.env.step(actions)
        reward, terminated, truncated = rest
        return self._located(observation), reward, terminated, truncated, info

    def _located(self, observation: Tensor) -> Tensor:
        return torch.cat((observation, self._places.index_select(0, self.mazes.agent_cells)), 1)


def written_places(places: Tensor) -> Tensor:
    """Places as a network can tell them apart: with waves that differ from cell to cell.

    A small network is slow to learn functions that change quickly with its inputs; sines and
    cosines of several frequencies let it (Tancik et al. 2020, Fourier features). With the two
    coordinates alone a few gradient steps can hardly change what is done in one corridor and not
    in the next.

    Args:
        places: Row and column, ``[..., 2]`` in [-1, 1].

    Returns:
        ``[..., 14]``: both, and ``sin`` and ``cos`` of k pi times them for k = 1, 2, 3.
    """
    angles = [math.pi * k * places for k in range(1, NUM_WAVES + 1)]
    return torch.cat((places, *(wave for a in angles for wave in (a.sin(), a.cos()))), -1)


def seen_cells(observation: Tensor, layout: Layout) -> Tensor:
    """Row and column, int64 ``[B, 2]``, of agents that see at least what `LocatedMazes` shows."""
    sides = torch.tensor([layout.height, layout.width], device=observation.device)
    places = (observation[:, PATCH_SIZE : PATCH_SIZE + 2] + 1) / 2 * (sides - 1)
    return places.round().to(torch.int64)


class ScaledActions(VectorWrapper[Tensor, Tensor, Tensor, Tensor, Tensor]):
    """Environments whose actions are multiplied before they are taken.

    So a Gaussian policy of deviation 1 begins with steps as long as they may be, whatever their
    unit.

    Attributes:
        scale: The factor.
    """

    def __init__(self, env: TensorEnv, scale: float) -> None:
        """Scale the actions of these environments."""
        super().__init__(env)
        self.scale = scale

    def step(self, actions: Tensor) -> Step:
        """Take the scaled actions."""
        return self.env.step(self.scale * actions)
