"""Every family, with what tests need to play it: tasks, actions, random numbers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
import pytest

from envs import (
    BanditEnv,
    BanditTasks,
    BanditVectorEnv,
    DarkRoomEnv,
    DarkRoomVectorEnv,
    GridMazeEnv,
    GridMazeVectorEnv,
    GridNaviEnv,
    GridNaviVectorEnv,
    MDPTasks,
    MinigridEnv,
    MinigridVectorEnv,
    PointNavigationEnv,
    PointNavigationVectorEnv,
    PointTasks,
    TabularMDPEnv,
    TabularMDPVectorEnv,
    dark_room_tasks,
    grid_navi_tasks,
    maze_tasks,
    minigrid_tasks,
    pillar_maze,
)
from envs.families import FAMILIES as REGISTERED

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
    in_step: dict[str, Any] = field(default_factory=dict)
    """Arguments with which no episode ends early."""
    waits: bool = False
    """Whether episodes could end early whatever the arguments, and trials have to wait."""
    early: dict[str, Any] = field(default_factory=dict)
    """Arguments with which some do, if there are such."""

    def __str__(self) -> str:
        return self.name

    def noise(self, rng: Rng, length: int, num_envs: int) -> dict[str, np.ndarray]:
        """Values of the step options, [length, num_envs] each."""
        shape = (length, num_envs)
        draws = {
            "uniforms": lambda: rng.random(shape, dtype=np.float32),
            "normals": lambda: rng.standard_normal(shape, dtype=np.float32),
            "teleports": lambda: rng.integers(MAZE_LAYOUT.num_free - 1, size=shape),
        }
        return {name: draws[name]() for name in self.single.step_options}


MAZE_LAYOUT = pillar_maze(7)

MAZE = Family(
    name="maze",
    single=GridMazeEnv,
    vector=GridMazeVectorEnv,
    source=maze_tasks(MAZE_LAYOUT),
    arguments=lambda rng: {
        "respawn": str(rng.choice(["random", "start", "end"])),
        "view": str(rng.choice(["3x3", "5x5"])),
        "position": bool(rng.integers(2)),
        "wall_penalty": float(rng.choice([0.0, 0.25])),
    },
    actions=lambda rng, t, b: rng.integers(4, size=(t, b)),
    bad_action=np.int64(4),
    bad_task=(1, 1),
    in_step={"respawn": "random"},
    early={"respawn": "end"},
)

POINT = Family(
    name="point",
    single=PointNavigationEnv,
    vector=PointNavigationVectorEnv,
    source=PointTasks(),
    arguments=lambda rng: {
        "max_step": float(rng.choice([0.1, 0.3])),
        "goal_radius": float(rng.choice([0.0, 0.01, 0.2])),
        "action_scale": float(rng.choice([1.0, 0.1, 3.0])),
    },
    actions=lambda rng, t, b: rng.normal(0, 0.1, (t, b, 2)).astype(np.float32),
    bad_action=np.array([np.nan, 0.0]),
    bad_task=(0.1, 0.2),
    in_step={"goal_radius": 0.0},
    early={"goal_radius": 0.2},
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

DARK_ROOM = Family(
    name="dark room",
    single=DarkRoomEnv,
    vector=DarkRoomVectorEnv,
    source=dark_room_tasks(5),
    arguments=lambda rng: {
        "one_hot": bool(rng.integers(2)),
        "start": str(rng.choice(["centre", "corner"])),
    },
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

MINIGRID = Family(
    name="minigrid",
    single=MinigridEnv,
    vector=MinigridVectorEnv,
    source=minigrid_tasks("MiniGrid-SimpleCrossingS9N1-v0", seeds=None),
    arguments=lambda rng: {
        "observe": str(rng.choice(["image", "codes", "onehot"])),
        "direction": True,  # makes them flat
        "mission": bool(rng.integers(2)),
    },
    actions=lambda rng, t, b: rng.integers(7, size=(t, b)),
    bad_action=np.int64(7),
    bad_task="MiniGrid-Empty-5x5-v0",
    waits=True,
)

FAMILIES = [
    {
        "maze": MAZE,
        "minigrid": MINIGRID,
        "point": POINT,
        "grid_navi": GRID_NAVI,
        "dark_room": DARK_ROOM,
        "bandit": BANDIT,
        "mdp": MDP,
    }[folder]
    for folder in REGISTERED
]
"""In the registry's order: who registers a family says here how it is tested."""

IDS = sorted(name for name in gymnasium.registry if name.startswith("metarl/"))
every_id = pytest.mark.parametrize("env_id", IDS)
