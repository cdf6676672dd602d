"""What an agent sees of a maze: walls, and a place that can be told from all others."""

from __future__ import annotations

import math

import pytest
import torch

from envs import GridMazeVectorEnv, pillar_maze
from envs.maze.views import seen_cells, written_places


@pytest.mark.parametrize("size", [5, 9, 13])
def test_the_place_is_seen_and_can_be_read(size: int) -> None:
    layout = pillar_maze(size)
    env = GridMazeVectorEnv(50, layout=layout, horizon=30, position=True)
    observation, _ = env.reset(seed=0)
    for step in range(20):
        assert observation.shape == (50, 23)
        assert env.single_observation_space.contains(observation[0].numpy())
        assert torch.equal(seen_cells(observation, layout), env.agent_positions), step
        actions = torch.randint(4, (50,), generator=torch.Generator().manual_seed(step))
        observation, *_ = env.step(actions)


def test_a_place_is_written_as_waves() -> None:
    place = torch.tensor([[0.5, -1.0]], dtype=torch.float64)
    expected = [0.5, -1.0]
    for k in (1, 2, 3):
        expected += [math.sin(k * math.pi * x) for x in (0.5, -1.0)]
        expected += [math.cos(k * math.pi * x) for x in (0.5, -1.0)]
    assert torch.allclose(written_places(place)[0], torch.tensor(expected, dtype=torch.float64))


def test_neighbours_differ_clearly() -> None:
    """In a 13 x 13 maze two coordinates move by 1/6 a cell; the waves by more than 1."""
    cells = torch.cartesian_prod(torch.arange(1.0, 12.0), torch.arange(1.0, 12.0)) / 6 - 1
    written = written_places(cells)
    distances = torch.cdist(written, written).fill_diagonal_(math.inf)
    assert distances.min() > 1.0
