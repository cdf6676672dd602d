"""Settings of environments that are no numbers are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import pytest
import torch

import envs
from envs.base.checks import is_finite_number


@pytest.mark.parametrize("value", [1, 0.5, True, "1", "a", None, [1], float("nan"), 10**400])
def test_what_is_a_finite_number(value: object) -> None:
    assert is_finite_number(value) == (value in (1, 0.5))


@pytest.mark.parametrize("value", ["a", "1", None, [1]])
@pytest.mark.parametrize(
    ("env_id", "name"),
    [
        ("metarl/GridMaze-v0", "reward"),
        ("metarl/GridMaze-v0", "wall_penalty"),
        ("metarl/GridMaze-v0", "exploration_bonus"),
        ("metarl/PointNavigation-v0", "max_step"),
        ("metarl/PointNavigation-v0", "goal_radius"),
        ("metarl/PointNavigation-v0", "action_scale"),
    ],
)
def test_what_is_no_number_is_refused_by_name(env_id: str, name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^{name} .* finite.*got "):
        gymnasium.make(env_id, **{name: value})


@pytest.mark.parametrize("anchors", [envs.layout_anchors, envs.maze.anchors.reference_returns])
def test_so_are_those_of_anchors(anchors: Callable[..., Any]) -> None:
    tasks = envs.MazeFamily("dfs", 9).sample(1, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"^reward must be above 0 .*got ten"):
        anchors(tasks, reward="ten")
