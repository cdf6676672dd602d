"""Ids of Minigrid, and tasks of theirs from which random actions get somewhere."""

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from envs import MinigridTask, minigrid_tasks
from envs.minigrid.codes import is_kind
from envs.minigrid.reading import make_minigrid
from envs.minigrid.tasks import WALKABLE


def all_ids() -> list[str]:
    """The registered ids of Minigrid's own, newest versions alone."""
    make_minigrid("MiniGrid-Empty-5x5-v0")  # imports them
    specs: list[EnvSpec] = [s for i, s in gymnasium.registry.items() if i.startswith("MiniGrid-")]
    newest = {
        spec.name: max(s.version or 0 for s in specs if s.name == spec.name) for spec in specs
    }
    return [s.id for s in specs if s.version == newest[s.name]]


IDS = [env_id for env_id in all_ids() if "WFC" not in env_id]
WFC = [env_id for env_id in all_ids() if "WFC" in env_id]
PLAYED = [env_id for env_id in IDS if "Dynamic" not in env_id]
"""Ids that the tensor twin plays."""

every_id = pytest.mark.parametrize("env_id", PLAYED)

WALLS, DOORS = (set(np.flatnonzero(is_kind(kind))) for kind in ("wall", "door"))
WEIGHTS = np.array([0.15, 0.15, 0.34, 0.12, 0.08, 0.14, 0.02])


def elsewhere(task: MinigridTask, rng: np.random.Generator) -> MinigridTask:
    """The same task with the agent on another cell of its rooms, near to what it is about."""
    start, closed = task.agent, WALLS | (DOORS if task.rule == "go to" else set())
    inside, waiting = {start}, [start]
    while waiting:
        x, y = waiting.pop()
        for cell in ((x + 1, y), (x, y + 1), (x - 1, y), (x, y - 1)):
            within = 0 < cell[0] < task.width - 1 and 0 < cell[1] < task.height - 1
            if within and cell not in inside and task.codes[cell[::-1]] not in closed:
                inside.add(cell)
                waiting.append(cell)
    free = sorted(cell for cell in inside if WALKABLE[task.codes[cell[::-1]]])
    near = [any(abs(x - u) + abs(y - v) <= 2 for u, v in task.targets) for x, y in free]
    weights = 1 + 20.0 * np.array(near)
    agent = free[int(rng.choice(len(free), p=weights / weights.sum()))]
    return replace(task, agent=agent, direction=int(rng.integers(4)), seed=None)


def actions(rng: np.random.Generator, shape: Any) -> np.ndarray:
    """Random actions, more steps forward than others; few that give up."""
    return rng.choice(7, size=shape, p=WEIGHTS)


def some(env_id: str, n: int) -> tuple[MinigridTask, ...]:
    return minigrid_tasks(env_id, seeds=range(n)).tasks
