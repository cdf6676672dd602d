"""Anchors of a maze: exact returns to judge an agent by.

Four policies, all exact expectations over the goals of a task set:

- *random*: uniform random actions; the floor.
- *localising*: knows the map and where it starts, sees the 3 x 3 walls around it. Searches along a
  tour (`envs.maze.tours`); after every find it has to work out where it was sent
  (`envs.maze.localisation`).
  What an agent can earn that sees no more than the published inputs: given the tour, no policy of
  those inputs earns more.
- *explore then exploit*: is told where it is at all times, not the goal. Searches along a tour, and
  from the first find on takes shortest paths. 1 on the normalised score, which is therefore out of
  reach for an agent that sees 3 x 3 walls.
- *oracle*: knows the goal too.

Here the walls are the same for ever and known to whoever was trained in them: explore then exploit
is explorer and ceiling at once. Where every task has a layout of its own, `envs.maze.ladder` tells
those two apart.

With V_k(c) the expected return of k more steps from cell c, for a goal g, and W_k the mean of V_k
over the cells other than g (where a find sends the agent):

    V_k(c) = mean_a or max_a of  { reward + W_{k-1}   if the move enters g, and it teleports
                                 { reward             if the move enters g, and it ends the episode
                                 { V_{k-1}(c) - cost  if a wall blocks the move
                                 { V_{k-1}(c')        otherwise

W_k is also the value of a random start. The two explorers are for episodes that start where the
task does, and for goals that teleport.

A tour that first enters g at step t earns ``reward + W_{T-t}`` there, W being the oracle's or, for
the localising policy, that of its beliefs.

Reward 10, 200 steps, all goals:

    9 x 9     random 14.37   localising 360.97   ceiling 379.87   oracle 416.23
    11 x 11   random 7.72    localising 227.30   ceiling 275.06   oracle 324.23
    13 x 13   random 5.38    localising 178.05   ceiling 207.76   oracle 269.57

The beam search's tours are better than those of a greedy sweep to the nearest unvisited cell (best
of 20 tie-breaks: 377.8, 270.7, 203.5), but not proven best. At 13 x 13 no walk whatever brings a
localising agent above 183.91 (`benchmarks/maze/bound.py`). Random actions alone run into walls,
which cost nothing here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from ..base.checks import is_finite_number
from ..base.tasks import TaskSet
from .dynamics import compile_layout
from .layout import Cell, Layout
from .localisation import worth_of_a_find
from .settings import GoalRule, Start, check_pay
from .tasks import MazeTask, maze_tasks
from .tours import NEVER, first_visits, symmetries

__all__ = [
    "ReferenceCurves",
    "ReferenceReturns",
    "explore_then_exploit_return",
    "normalised_score",
    "oracle_return",
    "random_return",
    "reference_curves",
    "reference_returns",
]

Array = NDArray[np.float64]
Score = TypeVar("Score", float, Array)
Exploiter = Literal["localising", "oracle"]
EXPLOITERS: tuple[Exploiter, ...] = get_args(Exploiter)


@dataclass(frozen=True)
class ReferenceReturns:
    """Expected returns of an episode: `ceiling` is explore then exploit."""

    random: float
    localising: float
    ceiling: float
    oracle: float


@dataclass(frozen=True, eq=False)
class ReferenceCurves:
    """Expected reward of each step, float64 [T] each; entry t is the consequence of action t."""

    random: Array
    localising: Array
    ceiling: Array
    oracle: Array

    def __iter__(self) -> Iterator[Array]:
        """The four curves, in order."""
        return iter((self.random, self.localising, self.ceiling, self.oracle))


Tasks = TaskSet[MazeTask] | Sequence[MazeTask] | Layout
"""Tasks to average over; a layout stands for all its goals from its centre."""


def random_return(
    tasks: Tasks,
    *,
    horizon: int = 200,
    reward: float = 10.0,
    start: Start = "centre",
    goal: GoalRule = "teleports",
    wall_penalty: float = 0.0,
) -> float:
    """Expected return of uniform random actions.

    Args:
        tasks: See `reference_returns`.
        horizon: Steps in the episode, at least 1.
        reward: Paid on entering the goal, above 0.
        start: The start of episodes.
        goal: The goal's rule when it has paid.
        wall_penalty: Taken off when a wall blocks a move, at least 0.

    Raises:
        ValueError: As in `reference_returns`.
    """
    return _return(tasks, horizon, reward, start, goal, "random", wall_penalty)


def oracle_return(
    tasks: Tasks,
    *,
    horizon: int = 200,
    reward: float = 10.0,
    start: Start = "centre",
    goal: GoalRule = "teleports",
) -> float:
    """Expected return of shortest paths to a known goal. Arguments as in `random_return`."""
    return _return(tasks, horizon, reward, start, goal, "oracle")


def explore_then_exploit_return(tasks: Tasks, *, horizon: int = 200, reward: float = 10.0) -> float:
    """Expected return of the explorer. Arguments as in `reference_returns`."""
    return reference_returns(tasks, horizon=horizon, reward=reward).ceiling


def reference_returns(
    tasks: Tasks, *, horizon: int = 200, reward: float = 10.0, wall_penalty: float = 0.0
) -> ReferenceReturns:
    """Expected returns of one episode, averaged over the goals of `tasks`.

    Args:
        tasks: Maze tasks, or a layout for all its goals from its centre.
        horizon: Steps in the episode, at least 1.
        reward: Paid on entering the goal, above 0.
        wall_penalty: Taken off when a wall blocks a move, at least 0.

    Returns:
        The four returns. They are cached: the second call is free.

    Raises:
        ValueError: If `tasks` is empty, `horizon` below 1, `reward` not above 0 or `wall_penalty`
            below 0.
    """
    curves = reference_curves(tasks, horizon=horizon, reward=reward, wall_penalty=wall_penalty)
    return ReferenceReturns(*(float(curve.sum()) for curve in curves))


def reference_curves(
    tasks: Tasks, *, horizon: int = 200, reward: float = 10.0, wall_penalty: float = 0.0
) -> ReferenceCurves:
    """Expected reward of every step of an episode; they sum to `reference_returns`.

    The explorer's tour is planned for every free cell as a possible goal: an agent that is tested
    on held-out goals does not know which these are. Where the maze is symmetric the tour's turned
    and mirrored copies are as good, and the mean over all of them is taken, so that a subset of
    the goals is not judged by the accident of one orientation.

    Args:
        tasks: Maze tasks, or a layout for all its goals from its centre.
        horizon: Steps in the episode, at least 1.
        reward: Paid on entering the goal, above 0.
        wall_penalty: Taken off when a wall blocks a move, at least 0.

    Raises:
        ValueError: As in `reference_returns`.
    """

    def unit(goals: Goals, bump: float) -> tuple[Array, ...]:
        return tuple(_unit_curves(goals, horizon, bump))

    curves = _over_mazes(tasks, horizon, (reward, wall_penalty), unit)
    return ReferenceCurves(*(reward * curve for curve in curves))


def normalised_score(
    returns: Score,
    tasks: Tasks,
    *,
    horizon: int = 200,
    reward: float = 10.0,
    wall_penalty: float = 0.0,
) -> Score:
    """Scores of returns: 0 is the random policy, 1 is explore-then-exploit.

    Args:
        returns: A return or an array of returns.
        tasks: Maze tasks, or a layout for all its goals from its centre.
        horizon: Steps in the episode.
        reward: Paid on entering the goal.
        wall_penalty: Taken off when a wall blocks a move.

    Returns:
        ``(returns - random) / (ceiling - random)``; not clipped. NaN where the explorer earns no
        more than the random policy, as within one step.
    """
    reference = reference_returns(tasks, horizon=horizon, reward=reward, wall_penalty=wall_penalty)
    scale = reference.ceiling - reference.random
    if scale <= 1e-9 * reference.ceiling:
        scale = math.nan
    return (returns - reference.random) / scale


class Goals(NamedTuple):
    """Goals of one layout with one start: what is computed at once."""

    layout: Layout
    start: Cell
    numbers: tuple[int, ...]


def _over_mazes(
    tasks: Tasks,
    horizon: int,
    pay: tuple[float, float],
    compute: Callable[[Goals, float], tuple[Array, ...]],
) -> tuple[Array, ...]:
    """Means over the tasks of what `compute` gives as means over goals of one layout and start.

    It is told the goals, and what a blocked move costs over what they pay; `pay` is the latter, and
    the cost. Errors are those of `reference_returns`.
    """
    tasks = maze_tasks(tasks) if isinstance(tasks, Layout) else tasks
    if not len(tasks):
        raise ValueError("cannot average over an empty task set: it has no goals")
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1 step, got {horizon}")
    reward, wall_penalty = pay
    if not (is_finite_number(reward) and reward > 0):
        raise ValueError(f"reward must be above 0 for goals to be worth finding, got {reward}")
    check_pay(reward, wall_penalty=wall_penalty)
    bump = wall_penalty / reward
    mazes: dict[tuple[Layout, Cell], list[int]] = {}
    for task in tasks:
        mazes.setdefault((task.layout, task.start), []).append(task.goal_number)
    groups = [Goals(*maze, tuple(numbers)) for maze, numbers in mazes.items()]
    if len(groups) == 1:
        return compute(groups[0], bump)
    weights = [len(group.numbers) for group in groups]
    columns = zip(*(compute(group, bump) for group in groups), strict=True)
    return tuple(np.average(column, axis=0, weights=weights) for column in columns)


def _return(
    tasks: Tasks,
    horizon: int,
    reward: float,
    start: Start,
    goal: GoalRule,
    policy: Literal["random", "oracle"],
    wall_penalty: float = 0.0,
) -> float:
    """Expected return of a policy that plans nothing."""

    def unit(goals: Goals, bump: float) -> tuple[Array]:
        values = _values(goals, horizon, policy, goal, bump)
        # A random start is as good as a find: anywhere but on the goal.
        last = (values.after_find if start == "random" else values.from_start)[-1]  # [G]
        return (last.mean(keepdims=True),)

    (mean,) = _over_mazes(tasks, horizon, (reward, wall_penalty), unit)
    return reward * float(mean[0])


class Values(NamedTuple):
    """Values of a policy by steps to go k, unit reward, one column a goal.

    Attributes:
        from_start: V_k(start), float64 [T + 1, G].
        after_find: W_k, float64 [T + 1, G].
    """

    from_start: Array
    after_find: Array


def _values(
    goals: Goals,
    horizon: int,
    policy: Literal["random", "oracle"],
    goal: GoalRule = "teleports",
    bump: float = 0.0,
) -> Values:
    """Dynamic programming over all goals at once; a blocked move costs `bump`."""
    next_cell = compile_layout(goals.layout).next_cell  # [F, A]
    bumps = bump * (next_cell == np.arange(len(next_cell))[:, None])  # [F, A]
    numbers, rows = np.array(goals.numbers), np.arange(len(goals.numbers))
    start = goals.layout.cell_number(goals.start)
    num_free = goals.layout.num_free
    value = np.zeros((len(rows), num_free))  # [G, F]; 0 on the goal, never a start
    from_start, after_find = np.zeros((2, horizon + 1, len(rows)))
    for steps in range(1, horizon + 1):
        value[rows, numbers] = 1.0 + (after_find[steps - 1] if goal == "teleports" else 0.0)
        moves = value[:, next_cell] - bumps  # [G, F, A]
        value = moves.mean(-1) if policy == "random" else moves.max(-1)
        value[rows, numbers] = 0.0
        from_start[steps] = value[:, start]
        after_find[steps] = value.sum(-1) / (num_free - 1)
    return Values(from_start, after_find)


@lru_cache(maxsize=64)
def _unit_curves(goals: Goals, horizon: int, bump: float = 0.0) -> ReferenceCurves:
    """The curves for a reward of 1, where a blocked move costs `bump`; read-only.

    Neither the random policy nor the shortest path depends on how many steps are left, so the
    reward of step k is what the k-th step adds to the value.
    """
    random = _values(goals, horizon, "random", bump=bump).from_start
    oracle = _values(goals, horizon, "oracle")
    curves = ReferenceCurves(
        np.diff(random, axis=0).mean(-1),
        _explorer_curve(goals, horizon, "localising"),
        _explorer_curve(goals, horizon, "oracle"),
        np.diff(oracle.from_start, axis=0).mean(-1),
    )
    for curve in curves:
        curve.setflags(write=False)
    return curves


def _explorer_curve(goals: Goals, horizon: int, exploiter: Exploiter) -> Array:
    """Expected reward of each step of a policy that searches, then exploits; float64 [T]."""
    start = goals.layout.cell_number(goals.start)
    visits = _tour(goals.layout, goals.start, horizon, exploiter)
    exploit = np.diff(_after_find(goals, horizon, exploiter), axis=0)  # [T, G], after the find
    curve = np.zeros(horizon)
    copies = symmetries(goals.layout, start)
    for copy in copies:
        for column, number in enumerate(goals.numbers):
            found = visits[copy[number]]
            if found != NEVER:
                curve[found - 1] += 1.0
                curve[found:] += exploit[: horizon - found, column]
    return curve / (len(copies) * len(goals.numbers))


def _tour(layout: Layout, start: Cell, horizon: int, exploiter: Exploiter) -> NDArray[np.int64]:
    """First-visit times, int64 [F], of the better of the tours planned for either exploiter."""
    worth = _worth_of_visits(layout, start, horizon, exploiter)
    tours = [_planned_tour(layout, start, horizon, plan) for plan in EXPLOITERS]
    cells = np.arange(layout.num_free)
    return max(tours, key=lambda visits: float(worth[visits, cells].sum()))


@lru_cache(maxsize=64)
def _planned_tour(
    layout: Layout, start: Cell, horizon: int, exploiter: Exploiter
) -> NDArray[np.int64]:
    """First-visit times, int64 [F], of a tour for a goal uniform over all cells but `start`."""
    worth = _worth_of_visits(layout, start, horizon, exploiter)
    return first_visits(layout, layout.cell_number(start), worth)


@lru_cache(maxsize=64)
def _worth_of_visits(layout: Layout, start: Cell, horizon: int, exploiter: Exploiter) -> Array:
    """The worth of entering a cell first at step t, float64 [T + 1, F]; 0 at `NEVER`."""
    cells = range(layout.num_free)
    goals = Goals(layout, start, tuple(c for c in cells if c != layout.cell_number(start)))
    after_find = _after_find(goals, horizon, exploiter)
    worth = np.zeros((horizon + 1, layout.num_free))
    worth[1:, list(goals.numbers)] = 1.0 + after_find[horizon - 1 :: -1]
    return worth


@lru_cache(maxsize=64)
def _after_find(goals: Goals, horizon: int, exploiter: Exploiter) -> Array:
    """W_k of an exploiting agent, float64 [T + 1, G]; read-only."""
    if exploiter == "oracle":
        worth = _values(goals, horizon, "oracle").after_find
    else:
        worth = worth_of_a_find(goals.layout, list(goals.numbers), horizon)
    worth.setflags(write=False)
    return worth
