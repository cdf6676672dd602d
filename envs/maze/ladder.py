"""Anchors for any mazes, a ladder of what is known: each rung earns what the next one need not.

    random     knows nothing: random actions, the floor
    explorer   sees the walls beside it and knows its way back (`envs.maze.explorers`): it searches
               as depth first as the maze allows, and from the first find on takes shortest paths;
               1 on the normalised score
    ceiling    knows the walls, not the goal: the best tours of the explorer's kind that are planned
               with them, then shortest paths
    oracle     knows walls and goal

Agents that turn have a ladder of their own, in which turns cost steps. Nobody sees the goal before
it is entered; for goals that are seen from afar see `envs.maze.followers`.

Where a maze has loops the explorer too takes the shortest paths that the walls have, which it may
not have seen all; and a find that sends an agent to a random cell tells both explorers where.

Their rewards are exact expectations, given how long the search takes. Let p_t be the probability
that the goal is first entered at step t, and q_s that the way back to it after a find takes s
steps. The expected finds at step t are then

    c_t = p_t + sum over s of  q_s c_{t - s}

since whoever exploits finds the goal at step t only if it did s steps before. For the oracle p is
certain, at the distance of the goal; for the explorer it is exact in perfect mazes (of agents that
do not turn) and else the share among `NUM_TOURS` tours; for the ceiling the share among the best of
`NUM_PLANS` parts of as many tours (with `SLACK` where turns would have them all go straight on). A
tour is judged by what it earns if the goal is uniform over the cells other than the start.

Beside the ladder stand two that learn nothing, wall followers: where there are no loops they find
every goal, about as soon as the explorer, and never sooner a second time.

How much the walls are worth: in a perfect maze no tour finds the goal sooner, on average, than one
that goes depth first in any order. What a planner gains is that it looks first where a goal would
pay most often.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from ..base.checks import check_seed, is_finite_number, whole_number
from ..base.tasks import TaskSet, check_task_type
from .batch import FAR, compile_mazes, pair_distances
from .explorers import find_times, tours
from .layout import Layout
from .policies import at_goal, exploited, followed, planned, random_rewards, searched, ways_back
from .settings import Respawn
from .tasks import MazeTask, maze_tasks

__all__ = ["ANCHORS", "LADDER", "LayoutAnchors", "LayoutCurves", "layout_anchors", "layout_curves"]

Array = NDArray[np.float64]
Score = TypeVar("Score", float, Array)

Tasks = TaskSet[MazeTask] | Sequence[MazeTask] | Layout

LADDER = ("random", "explorer", "ceiling", "oracle")
"""Names of the returns, from who knows nothing to who knows all."""

HANDS: tuple[Literal["right", "left"], ...] = ("right", "left")
"""Wall followers, whose returns stand beside the ladder as ``right_hand`` and ``left_hand``."""

ANCHORS = (*LADDER, *(f"{hand}_hand" for hand in HANDS))
"""Names of all returns."""

NUM_TOURS = 64
SLACK = 4
AT_ONCE = 2**23
"""Numbers in the largest table: mazes are worked through in parts that are no larger."""


@dataclass(frozen=True, eq=False)
class LayoutCurves:
    """Expected reward of each step, float64 [T] each, mean over the tasks."""

    random: Array
    explorer: Array
    ceiling: Array
    oracle: Array
    right_hand: Array
    left_hand: Array


@dataclass(frozen=True, eq=False)
class LayoutAnchors:
    """Expected returns of an episode of each task, and what they come from, float64 [N] each.

    Attributes:
        random: Return of random actions.
        explorer: Return of the explorer.
        ceiling: Return with the walls known.
        oracle: Return with walls and goal known.
        right_hand: Return of a wall follower (`envs.maze.policies.followed`), which learns nothing.
        left_hand: Likewise.
        first_find: Expected step of the explorer's first find, however late.
        shortest: Actions of the shortest way from start to goal.
    """

    random: Array
    explorer: Array
    ceiling: Array
    oracle: Array
    right_hand: Array
    left_hand: Array
    first_find: Array
    shortest: Array

    def means(self) -> dict[str, float]:
        """Means over the tasks, by name."""
        names = (*ANCHORS, "first_find", "shortest")
        return {name: float(getattr(self, name).mean()) for name in names}

    def normalised_score(self, returns: Score) -> Score:
        """Scores of mean returns over the tasks: 0 is the random policy, 1 the explorer.

        Args:
            returns: A mean return or an array of such.

        Returns:
            ``(returns - random) / (explorer - random)`` with the means over the tasks; not
            clipped. NaN where the explorer earns no more than the random policy.
        """
        means = self.means()
        scale = means["explorer"] - means["random"]
        if scale <= 1e-9 * means["explorer"]:
            scale = math.nan
        return (returns - means["random"]) / scale


@dataclass(frozen=True)
class _Episode:
    """Rules of an episode, for a reward of 1."""

    horizon: int
    respawn: Respawn
    wall_penalty: float
    turning: bool
    seed: int


def layout_anchors(
    tasks: Tasks,
    *,
    horizon: int = 200,
    reward: float = 10.0,
    respawn: Respawn = "start",
    wall_penalty: float = 0.0,
    turning: bool = False,
    seed: int = 0,
) -> LayoutAnchors:
    """Expected returns of every task; see the module.

    Args:
        tasks: Maze tasks, of any layouts; a layout stands for all its goals from its start.
        horizon: Steps in the episode, at least 1.
        reward: Paid on entering the goal, above 0.
        respawn: What a find does.
        wall_penalty: Taken off when a wall blocks a move, which happens to random actions alone.
        turning: Whether agents turn, as those with an egocentric view do.
        seed: Of what breaks ties. A task's anchors do not depend on the other tasks.

    Returns:
        The anchors. They are cached: the second call is free.

    Raises:
        ValueError: If there are no tasks, or a value is out of range.
        TypeError: If they are no maze tasks.
    """
    single, _ = _answer(tasks, horizon, reward, respawn, wall_penalty, turning, seed)
    return LayoutAnchors(**single)


def layout_curves(
    tasks: Tasks,
    *,
    horizon: int = 200,
    reward: float = 10.0,
    respawn: Respawn = "start",
    wall_penalty: float = 0.0,
    turning: bool = False,
    seed: int = 0,
) -> LayoutCurves:
    """Expected reward of every step; they sum to the means of `layout_anchors`. Same arguments."""
    _, curves = _answer(tasks, horizon, reward, respawn, wall_penalty, turning, seed)
    return LayoutCurves(**curves)


def _answer(
    tasks: Tasks,
    horizon: int,
    reward: float,
    respawn: Respawn,
    wall_penalty: float,
    turning: bool,
    seed: int,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Fields of `LayoutAnchors`, and of `LayoutCurves`."""
    tasks = maze_tasks(tasks) if isinstance(tasks, Layout) else tasks
    if not isinstance(tasks, TaskSet | Sequence):
        raise TypeError(
            f"tasks must be maze tasks or a layout, got {tasks!r}: draw some from a family, "
            f"family.sample(n, rng)"
        )
    if not len(tasks):
        raise ValueError("there are no tasks to give anchors for: give at least one")
    if not (is_finite_number(reward) and reward > 0):
        raise ValueError(f"reward must be above 0 for goals to be worth finding, got {reward}")
    if not (is_finite_number(wall_penalty) and wall_penalty >= 0):
        raise ValueError(f"wall_penalty must be finite and at least 0, got {wall_penalty}")
    if respawn not in get_args(Respawn):
        raise ValueError(f"respawn must be one of {get_args(Respawn)}, got {respawn!r}")
    steps, penalty = whole_number(horizon, "horizon"), float(wall_penalty / reward)
    episode = _Episode(steps, respawn, penalty, bool(turning), check_seed(seed))
    single, curves = _unit(tuple(check_task_type(task, MazeTask) for task in tasks), episode)
    paid = {rung: reward * single[rung] for rung in ANCHORS}
    return {**single, **paid}, {rung: reward * curves[rung] for rung in ANCHORS}


@lru_cache(maxsize=16)
def _unit(
    tasks: tuple[MazeTask, ...], episode: _Episode
) -> tuple[dict[str, Array], dict[str, Array]]:
    """`_answer` for a reward of 1; not to be written into."""
    single: dict[str, list[Array]] = {}
    sums: dict[str, Array] = dict.fromkeys(ANCHORS, np.zeros(episode.horizon))
    for part in _parts(tasks, episode):
        for name, values in _part(part, episode).items():
            if name in ANCHORS:
                sums[name] = sums[name] + values.sum(0).numpy()
                values = values.sum(1)
            single.setdefault(name, []).append(values.numpy())
    return (
        {name: np.concatenate(values) for name, values in single.items()},
        {name: total / len(tasks) for name, total in sums.items()},
    )


def _parts(tasks: tuple[MazeTask, ...], episode: _Episode) -> Iterator[tuple[MazeTask, ...]]:
    """The tasks, in parts of mazes that fit into memory together."""
    cells = max(task.layout.num_free for task in tasks)
    places = 4 * cells if episode.turning else cells
    size = max(1, AT_ONCE // max(cells * max(places, NUM_TOURS), 4 * episode.horizon))
    for first in range(0, len(tasks), size):
        yield tasks[first : first + size]


def _part(tasks: tuple[MazeTask, ...], episode: _Episode) -> dict[str, torch.Tensor]:
    """Finds of every step by rung, float64 [N, T]; first finds and shortest ways, [N]."""
    mazes = compile_mazes(tasks, turning=episode.turning)
    horizon, respawn = episode.horizon, episode.respawn
    pairs = None
    if episode.turning or respawn == "random" or not mazes.perfect.all():
        pairs = pair_distances(mazes)
    times = tours(mazes, pairs, NUM_TOURS, episode.seed)  # [N, K, P]
    varied = tours(mazes, pairs, NUM_TOURS, episode.seed, SLACK) if episode.turning else times
    best = planned(mazes, pairs, varied, respawn, horizon)
    found, first = searched(mazes, times, horizon)
    shortest = mazes.goal_distance
    back = ways_back(mazes, pairs, respawn, horizon)
    return {
        "random": random_rewards(mazes, respawn, horizon, episode.wall_penalty),
        "explorer": exploited(found, back),
        "ceiling": exploited(find_times(at_goal(best, mazes), horizon), back),
        "oracle": exploited(find_times(shortest[:, None], horizon), back),
        **{f"{hand}_hand": followed(mazes, hand, respawn, horizon) for hand in HANDS},
        "first_find": first,
        "shortest": torch.where(shortest < FAR, shortest.double(), torch.inf),
    }
