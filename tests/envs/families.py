"""The small environments, with what tests need to play them: tasks, actions, random numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import pytest

from envs import (
    BanditEnv,
    BanditTasks,
    BanditVectorEnv,
    GridNaviEnv,
    GridNaviVectorEnv,
    MDPTasks,
    PointNavigationEnv,
    PointNavigationVectorEnv,
    PointTasks,
    TabularMDPEnv,
    TabularMDPVectorEnv,
    grid_navi_tasks,
)

Rng = np.random.Generator


@dataclass(frozen=True)
class Family:
    name: str
    single: type[Any]
    vector: type[Any]
    source: Any
    arguments: Callable[[Rng], dict[str, Any]]
    actions: Callable[[Rng, int, int], np.ndarray]
    """From a generator, T and B to actions [T, B, ...]."""
    bad_action: Any
    bad_task: Any

    def __str__(self) -> str:
        return self.name

    def noise(self, rng: Rng, length: int, num_envs: int) -> dict[str, np.ndarray]:
        draws = {"uniforms": rng.random, "normals": rng.standard_normal}
        return {
            name: draws[name]((length, num_envs), dtype=np.float32)
            for name in self.single.step_options
        }


POINT = Family(
    name="point",
    single=PointNavigationEnv,
    vector=PointNavigationVectorEnv,
    source=PointTasks(),
    arguments=lambda rng: {
        "max_step": float(rng.choice([0.1, 0.3])),
        "goal_radius": float(rng.choice([0.0, 0.01, 0.2])),
    },
    actions=lambda rng, t, b: rng.normal(0, 0.1, (t, b, 2)).astype(np.float32),
    bad_action=np.array([np.nan, 0.0]),
    bad_task=(0.1, 0.2),
)

GRID_NAVI = Family(
    name="grid navi",
    single=GridNaviEnv,
    vector=GridNaviVectorEnv,
    source=grid_navi_tasks(5),
    arguments=lambda rng: {"one_hot": bool(rng.integers(2))},
    actions=lambda rng, t, b: rng.integers(5, size=(t, b)),
    bad_action=np.int64(5),
    bad_task=(3, 3),
)

BANDIT = Family(
    name="bandit",
    single=BanditEnv,
    vector=BanditVectorEnv,
    source=BanditTasks(3),
    arguments=lambda rng: {},
    actions=lambda rng, t, b: rng.integers(3, size=(t, b)),
    bad_action=np.int64(-1),
    bad_task=(0.5, 0.5),
)

MDP = Family(
    name="mdp",
    single=TabularMDPEnv,
    vector=TabularMDPVectorEnv,
    source=MDPTasks(4, 3),
    arguments=lambda rng: {},
    actions=lambda rng, t, b: rng.integers(3, size=(t, b)),
    bad_action=np.int64(3),
    bad_task=[[1.0]],
)

FAMILIES = [POINT, GRID_NAVI, BANDIT, MDP]

IDS = sorted(name for name in gymnasium.registry if name.startswith("metarl/"))
every_id = pytest.mark.parametrize("env_id", IDS)
