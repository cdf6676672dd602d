"""What a maze pays who moves at random, and who knows the goal: exact, by dynamic programming.

With V_k(c) the expected return of k more steps from cell c, for a goal g that pays 1, and W_k the
mean of V_k over the cells other than g (where a find sends the agent, and where random starts lie):

    V_k(c) = mean_a or max_a of  { 1 + W_{k-1}   if the move enters g, and it teleports
                                 { 1             if the move enters g, and it ends the episode
                                 { V_{k-1}(c')   otherwise

From the centre with teleports this is `envs.maze.anchors.reference_returns`, without its explorers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from envs import MazeTask, TaskDistribution
from envs.maze.dynamics import compile_layout

Start = Literal["centre", "random"]
"""Where episodes in a maze start: at its centre, or each at a random free cell but the goal."""
Goal = Literal["teleports", "ends"]
"""What the goal does when it has paid: send the agent elsewhere, or end the episode."""


def maze_returns(
    tasks: Sequence[MazeTask], horizon: int, start: Start, goal: Goal
) -> tuple[float, float]:
    """Expected returns of an episode, means over the tasks: of random actions, of shortest paths.

    Args:
        tasks: Of one layout and one start.
        horizon: Steps of an episode.
        start: Where episodes start.
        goal: What it does when it has paid.
    """
    goals = TaskDistribution.from_tasks(tasks)
    random, oracle = (_returns(goals, horizon, start, goal, best=best) for best in (False, True))
    return random, oracle


def _returns(
    tasks: TaskDistribution, horizon: int, start: Start, goal: Goal, *, best: bool
) -> float:
    """Of the policy that takes the best move, or of that which takes any."""
    layout = tasks.layout
    next_cell = compile_layout(layout).next_cell  # [F, A]
    goals = np.array([task.goal_number for task in tasks])
    rows = np.arange(len(goals))
    value = np.zeros((len(goals), layout.num_free))  # [G, F]; 0 on the goal itself
    elsewhere = np.zeros(len(goals))
    for _ in range(horizon):
        value[rows, goals] = 1.0 + (elsewhere if goal == "teleports" else 0.0)
        moves = value[:, next_cell]  # [G, F, A]
        value = moves.max(-1) if best else moves.mean(-1)
        value[rows, goals] = 0.0
        elsewhere = value.sum(-1) / (layout.num_free - 1)
    of_start = elsewhere if start == "random" else value[:, layout.cell_number(tasks.start)]
    return float(of_start.mean())
