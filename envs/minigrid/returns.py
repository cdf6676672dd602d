"""Anchors of Minigrid tasks: random actions, the explorer, and who knows the grid.

Random actions, all seven alike, are simulated; so is the explorer (`envs.minigrid.explorer`), which
searches with the agent's own view. The oracle takes the fewest actions that end in success, found
by a search over all that can be made of the grid (`envs.minigrid.search`);
``1 - 0.9 * actions / max_steps`` if that is within the episode, else 0. In grids with many things
that have to be dropped again the search is given up, and the oracle is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..base.checks import check_horizon, whole_number
from ..base.tasks import TaskSet
from .codes import NOTHING, is_kind
from .dynamics import NUM_ACTIONS
from .explorer import explorer_returns, some_tasks
from .rules import LOOSE
from .search import NOWHERE, Search, State, TooManyStatesError
from .tasks import MinigridTask
from .tensor import MinigridVectorEnv

__all__ = [
    "MinigridAnchors",
    "minigrid_anchors",
    "oracle_returns",
    "random_returns",
    "shortest_success",
    "shortest_way",
]

SEED = 0
"""Of the random actions."""

MOST_STEPS = 2**22
"""Environments times steps that are simulated at once, at most."""

NEVER_DROPPED = ("memory", "fetch", "put near")
"""Rules under which nothing else than the target can be taken without losing, or at all."""


class MinigridAnchors(NamedTuple):
    """Expected returns of an episode, task by task.

    Attributes:
        random: Of random actions, float64 [N], estimated.
        explorer: Of who searches with the agent's view and a map, float64 [N]; NaN where it would
            have to guess (`envs.minigrid.explorer.is_explored`).
        oracle: Of the fewest actions to success, float64 [N]; NaN where they are not known.
        shortest: These actions, float64 [N]; infinity where there is no way, NaN likewise.
    """

    random: NDArray[np.float64]
    explorer: NDArray[np.float64]
    oracle: NDArray[np.float64]
    shortest: NDArray[np.float64]


def minigrid_anchors(
    tasks: TaskSet[MinigridTask] | Sequence[MinigridTask],
    *,
    horizon: int | None = None,
    num_episodes: int = 32,
) -> MinigridAnchors:
    """Returns of random actions, of the explorer and of the oracle.

    Args:
        tasks: N tasks that the tensor environment plays.
        horizon: Steps in an episode, at most; by default each task's own.
        num_episodes: Episodes of random actions for each task. The same numbers give the same
            estimates.

    Raises:
        ValueError: If there are no tasks, a number is out of range, or the tensor environment
            cannot play a task.
    """
    random = random_returns(tasks, horizon=horizon, num_episodes=num_episodes)
    explorer = explorer_returns(tasks, horizon=horizon)[:, 0]
    return MinigridAnchors(random, explorer, *oracle_returns(tasks, horizon=horizon))


def random_returns(
    tasks: TaskSet[MinigridTask] | Sequence[MinigridTask],
    *,
    horizon: int | None = None,
    num_episodes: int = 32,
) -> NDArray[np.float64]:
    """Returns of random actions, float64 [N], estimated; see `minigrid_anchors`."""
    several = some_tasks(tasks)
    most = None if horizon is None else check_horizon(horizon)
    count = whole_number(num_episodes, "num_episodes")
    longest = max(task.max_steps for task in several) if most is None else most
    size = max(1, MOST_STEPS // (longest * count))
    generator = torch.Generator().manual_seed(SEED)
    parts = [several[first : first + size] for first in range(0, len(several), size)]
    return np.concatenate([_played(part, most, count, generator) for part in parts])


def _played(
    tasks: tuple[MinigridTask, ...],
    horizon: int | None,
    num_episodes: int,
    generator: torch.Generator,
) -> NDArray[np.float64]:
    """Means over some episodes on each task, all side by side."""
    many = [task for task in tasks for _ in range(num_episodes)]
    env = MinigridVectorEnv(len(many), tasks=tuple(dict.fromkeys(tasks)), horizon=horizon)
    env.reset(options={"tasks": many})
    earned = torch.zeros(len(many), dtype=torch.float64)
    for _ in range(env.horizon):
        actions = torch.randint(NUM_ACTIONS, (len(many),), generator=generator)
        _, rewards, terminated, truncated, _ = env.step(actions)
        earned += rewards
        if bool((terminated | truncated).all()):
            break
    means: NDArray[np.float64] = earned.view(-1, num_episodes).mean(1).numpy()
    return means


# The oracle -----------------------------------------------------------------------------------


def oracle_returns(
    tasks: TaskSet[MinigridTask] | Sequence[MinigridTask], *, horizon: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns of the oracle and its numbers of actions, float64 [N] each; see `MinigridAnchors`."""
    several = some_tasks(tasks)
    most = None if horizon is None else check_horizon(horizon)
    limits = np.array([min(task.max_steps, most or task.max_steps) for task in several])
    shortest = np.array([shortest_success(task) for task in several])
    paid = 1 - 0.9 * shortest / [task.max_steps for task in several]
    oracle = np.where(np.isnan(shortest), np.nan, np.where(shortest <= limits, paid, 0.0))
    return oracle, shortest


@lru_cache(maxsize=2**16)
def shortest_success(task: MinigridTask) -> float:
    """The fewest actions that end in success.

    Returns:
        Infinity if there is no way; NaN if too much would have to be searched.
    """
    try:
        way = shortest_way(task)
    except TooManyStatesError:
        return np.nan
    return np.inf if way is None else len(way)


def shortest_way(task: MinigridTask) -> list[int] | None:
    """The fewest actions that end in success themselves; None if there is no way.

    Raises:
        TooManyStatesError: Too much would have to be searched.
    """
    codes, width = task.codes, task.width
    places = [y * width + x for x, y in (*task.targets, *[(NOWHERE, 0)] * 2)]
    wanted = int(codes.flat[places[0]]) if task.targets else NOTHING
    search = Search(task.rule, wanted, width, drops=_needs_drops(task))
    search.first, search.second = places[:2]
    x, y = task.agent
    start = State(y * width + x, task.direction, NOTHING, codes.tobytes())
    way = search.way(start, lambda move: move.won)
    return None if way is None else [move.action for move in way]


def _needs_drops(task: MinigridTask) -> bool:
    """Whether the fewest actions may drop something: not where at most one thing can be taken."""
    several = int(is_kind(*LOOSE)[task.codes].sum()) > 1
    return several and task.rule not in NEVER_DROPPED
