"""Anchors for any mazes, a ladder of what is known: each rung earns what the next one need not.

    random     knows nothing: random actions, the floor
    explorer   sees the walls beside it and knows its way back (`envs.maze.explorers`): it searches
               as depth first as the maze allows, and from the first find on takes shortest paths;
               1 on the normalised score
    ceiling    knows the walls, not the goal: the best tours of the explorer's kind that are planned
               with them, then shortest paths
    oracle     knows walls and goal

Where a maze has loops the explorer too takes the shortest paths that the walls have, which it may
not have seen all; and a find that sends an agent to a random cell tells both explorers where.

Their rewards are exact expectations, given how long the search takes. Let p_t be the probability
that the goal is first entered at step t, and q_s that the way back to it after a find takes s
steps. The expected finds at step t are then

    c_t = p_t + sum over s of  q_s c_{t - s}

since whoever exploits finds the goal at step t only if it did s steps before. For the oracle p is
certain, at the distance of the goal; for the explorer it is exact in perfect mazes and else the
share among `NUM_TOURS` tours; for the ceiling the share among the best of `NUM_PLANS` parts of
them. A tour is judged by what it earns if the goal is uniform over the cells other than the start.

How much the walls are worth: in a perfect maze no tour finds the goal sooner, on average, than one
that goes depth first in any order. What a planner gains is that it looks first where a goal would
pay most often.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from ..base.checks import whole_number
from ..base.tasks import TaskSet
from .explorers import FAR, Mazes, compile_mazes, find_times, first_finds, pair_distances, tours
from .tasks import MazeTask

__all__ = ["LayoutAnchors", "LayoutCurves", "layout_anchors", "layout_curves"]

Array = NDArray[np.float64]
Score = TypeVar("Score", float, Array)

Respawn = Literal["random", "start", "end"]
"""What a find does: sends the agent to another cell than the goal, to the start, or ends."""

NUM_TOURS = 64
NUM_PLANS = 4
AT_ONCE = 2**23
"""Numbers in the largest table: mazes are worked through in parts that are no larger."""


@dataclass(frozen=True, eq=False)
class LayoutAnchors:
    """Expected returns of an episode of each task, and what they come from, float64 [N] each.

    Attributes:
        random: Return of random actions.
        explorer: Return of the explorer.
        ceiling: Return with the walls known.
        oracle: Return with walls and goal known.
        first_find: Expected step of the explorer's first find, however late.
        shortest: Moves from start to goal.
    """

    random: Array
    explorer: Array
    ceiling: Array
    oracle: Array
    first_find: Array
    shortest: Array

    def means(self) -> dict[str, float]:
        """Means over the tasks, by name."""
        return {field.name: float(getattr(self, field.name).mean()) for field in fields(self)}

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


@dataclass(frozen=True, eq=False)
class LayoutCurves:
    """Expected reward of each step, float64 [T] each, mean over the tasks."""

    random: Array
    explorer: Array
    ceiling: Array
    oracle: Array


def layout_anchors(
    tasks: TaskSet[MazeTask] | Sequence[MazeTask],
    *,
    horizon: int = 200,
    reward: float = 10.0,
    respawn: Respawn = "start",
    seed: int = 0,
) -> LayoutAnchors:
    """Expected returns of every task; see the module.

    Args:
        tasks: Maze tasks, of any layouts.
        horizon: Steps in the episode, at least 1.
        reward: Paid on entering the goal, above 0.
        respawn: What a find does.
        seed: Of what breaks the explorers' ties. A task's anchors do not depend on the others.

    Returns:
        The anchors. They are cached: the second call is free.

    Raises:
        ValueError: If there are no tasks, or a value is out of range.
    """
    unit, _ = _checked(tasks, horizon, reward, respawn, seed)
    paid = {name: reward * unit[name] for name in ("random", "explorer", "ceiling", "oracle")}
    return LayoutAnchors(**paid, first_find=unit["first_find"], shortest=unit["shortest"])


def layout_curves(
    tasks: TaskSet[MazeTask] | Sequence[MazeTask],
    *,
    horizon: int = 200,
    reward: float = 10.0,
    respawn: Respawn = "start",
    seed: int = 0,
) -> LayoutCurves:
    """Expected reward of every step; they sum to the means of `layout_anchors`. Same arguments."""
    _, curves = _checked(tasks, horizon, reward, respawn, seed)
    return LayoutCurves(**{name: reward * curve for name, curve in curves.items()})


def _checked(
    tasks: TaskSet[MazeTask] | Sequence[MazeTask],
    horizon: int,
    reward: float,
    respawn: Respawn,
    seed: int,
) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
    """Anchors and curves for a reward of 1."""
    if not len(tasks):
        raise ValueError("there are no tasks to give anchors for: give at least one")
    if not (math.isfinite(reward) and reward > 0):
        raise ValueError(f"reward must be above 0 for goals to be worth finding, got {reward}")
    if respawn not in get_args(Respawn):
        raise ValueError(f"respawn must be one of {get_args(Respawn)}, got {respawn!r}")
    return _unit(tuple(tasks), whole_number(horizon, "horizon"), respawn, seed)


@lru_cache(maxsize=16)
def _unit(
    tasks: tuple[MazeTask, ...], horizon: int, respawn: Respawn, seed: int
) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
    parts = [_part(part, horizon, respawn, seed) for part in _parts(tasks)]
    curves, single = {}, {}
    for name in parts[0]:
        whole = torch.cat([part[name] for part in parts]).numpy()
        if whole.ndim == 2:
            curves[name] = whole.mean(0)
            whole = whole.sum(1)
        single[name] = whole
    for array in (*curves.values(), *single.values()):
        array.setflags(write=False)
    return MappingProxyType(single), MappingProxyType(curves)


def _parts(tasks: tuple[MazeTask, ...]) -> Iterator[tuple[MazeTask, ...]]:
    """The tasks, in parts of mazes that fit into memory together."""
    places = max(task.layout.num_free for task in tasks)
    size = max(1, AT_ONCE // (places * max(places, NUM_TOURS)))
    for first in range(0, len(tasks), size):
        yield tasks[first : first + size]


def _part(
    tasks: tuple[MazeTask, ...], horizon: int, respawn: Respawn, seed: int
) -> dict[str, torch.Tensor]:
    """Expected finds of every step, float64 [N, T]; first find and shortest path, float64 [N]."""
    mazes = compile_mazes(
        _padded([task.layout.walls for task in tasks]), np.array([t.start_number for t in tasks])
    )
    goal = torch.tensor([task.goal_number for task in tasks])
    perfect = mazes.perfect
    pairs = None
    if respawn == "random" or not perfect.all():
        pairs = pair_distances(mazes.next_cell)
    back = _ways_back(mazes, pairs, goal, respawn, horizon)
    times = tours(mazes, pairs, NUM_TOURS, seed)
    distance = mazes.distance.gather(1, goal[:, None])[:, 0]
    found = find_times(times, goal, horizon)
    at = times[torch.arange(len(goal)), :, goal].double()
    first = torch.where(distance < FAR, at.mean(1), torch.inf)
    if perfect.any():
        found[perfect], first[perfect] = first_finds(mazes.rows(perfect), goal[perfect], horizon)
    certain = find_times(mazes.distance[:, None], goal, horizon)
    best = _planned(mazes, pairs, times, respawn, horizon)
    return {
        "random": _random(mazes, goal, respawn, horizon),
        "explorer": _exploited(found, back),
        "ceiling": _exploited(find_times(best, goal, horizon), back),
        "oracle": _exploited(certain, back),
        "first_find": first,
        "shortest": torch.where(distance < FAR, distance.double(), torch.inf),
    }


def _padded(walls: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Walls of layouts of any shapes, bool [N, H, W]."""
    height, width = (max(one.shape[axis] for one in walls) for axis in range(2))
    padded = np.ones((len(walls), height, width), dtype=np.bool_)
    for one, rows in zip(walls, padded, strict=True):
        rows[: one.shape[0], : one.shape[1]] = one
    return padded


def _ways_back(
    mazes: Mazes, pairs: torch.Tensor | None, goal: torch.Tensor, respawn: Respawn, horizon: int
) -> torch.Tensor:
    """Probabilities q_s of the steps from a find to the next one, float64 [N, T + 1]."""
    num_mazes = len(goal)
    ways = torch.zeros(num_mazes, horizon + 2, dtype=torch.float64)
    if respawn == "end":
        return ways[:, :-1]
    if respawn == "start":
        return find_times(mazes.distance[:, None], goal, horizon)
    assert pairs is not None
    steps = pairs[torch.arange(num_mazes), goal].long()  # [N, P]
    elsewhere = mazes.free.double()
    elsewhere[torch.arange(num_mazes), goal] = 0.0
    ways.scatter_add_(1, steps.clamp(max=horizon + 1), elsewhere)
    return ways[:, :-1] / elsewhere.sum(1, keepdim=True)


def _exploited(found: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
    """Expected finds c_t of steps 1 to T, float64 [N, T], from p_t and q_s, [N, T + 1] each."""
    finds = found.clone()
    longest = int(back.any(0).nonzero().amax()) if back.any() else 0
    reversed_back = back[:, 1 : longest + 1].flip(1)
    for step in range(1, found.shape[1]):
        since = max(0, step - longest)
        finds[:, step] += (
            (finds[:, since:step] * reversed_back[:, since - step :]).sum(1) if step else 0
        )
    return finds[:, 1:]


def _planned(
    mazes: Mazes, pairs: torch.Tensor | None, times: torch.Tensor, respawn: Respawn, horizon: int
) -> torch.Tensor:
    """The tours that are worth most, one of each of `NUM_PLANS` parts: int64 [N, NUM_PLANS, P]."""
    left = horizon - times  # [N, K, P]
    if respawn == "end":
        more = torch.zeros_like(left, dtype=torch.float32)
    elif respawn == "start":
        more = left // mazes.distance.clamp(min=1)[:, None]
    else:
        assert pairs is not None
        away = (pairs.long() * mazes.free[:, None]).sum(2) / (mazes.free.sum(1, keepdim=True) - 1)
        more = left / away.clamp(min=1.0)[:, None]
    goals = mazes.free.clone()
    goals[torch.arange(len(goals)), mazes.start] = False
    worth = torch.where((left >= 0) & goals[:, None], 1.0 + more, 0.0).sum(2)  # [N, K]
    parts = worth.reshape(len(worth), NUM_PLANS, -1)
    best = parts.argmax(2) + parts.shape[2] * torch.arange(NUM_PLANS)
    return times.gather(1, best[..., None].expand(-1, -1, times.shape[2]))


def _random(mazes: Mazes, goal: torch.Tensor, respawn: Respawn, horizon: int) -> torch.Tensor:
    """Expected finds of random actions at each step, float64 [N, T], by dynamic programming."""
    num_mazes, places, _ = mazes.next_cell.shape
    rows = torch.arange(num_mazes)
    around = mazes.next_cell.reshape(num_mazes, -1)
    free = mazes.free.double()
    others = free.sum(1) - 1
    value = torch.zeros(num_mazes, places, dtype=torch.float64)
    earned = [torch.zeros(num_mazes, dtype=torch.float64)]
    for _ in range(horizon):
        after = torch.zeros(num_mazes, dtype=torch.float64)
        if respawn == "random":
            after = (value * free).sum(1) / others
        elif respawn == "start":
            after = value[rows, mazes.start]
        value[rows, goal] = 1.0 + after
        value = value.gather(1, around).reshape(num_mazes, places, 4).mean(2)
        value[rows, goal] = 0.0
        earned.append(value[rows, mazes.start])
    return torch.stack(earned, 1).diff(dim=1)
