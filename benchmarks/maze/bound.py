"""What no agent with the 17 inputs can exceed: ``python -m benchmarks.maze.bound``.

Before the first find an agent follows a walk that nothing it sees can change, and which is worth
the sum over goals of what a first visit at its time is worth: the find and, for the best policy on
beliefs (`envs.maze.localisation`, exact), what comes after it. A walk visits one new cell a step at
most, and none before its distance from the start. The best assignment of visiting times to cells
under these two rules alone bounds every walk; the best walk known is the `localising` reference.
"""

import numpy as np
from numpy.typing import NDArray

from envs import TaskDistribution, pillar_maze
from envs.maze import anchors as oracle
from envs.maze.localisation import worth_of_a_find


def largest_sum(worth: NDArray[np.float64]) -> float:
    """The most a one-to-one assignment of rows to columns can sum to (Hungarian method)."""
    n = len(worth)
    cost = -worth
    of_row, of_column = np.zeros(n + 1), np.zeros(n + 1)
    row_of = np.zeros(n + 1, dtype=np.int64)  # of a column, counted from 1; 0 is none
    for row in range(1, n + 1):
        row_of[0], column = row, 0
        slack, came_from = np.full(n + 1, np.inf), np.zeros(n + 1, dtype=np.int64)
        in_tree = np.zeros(n + 1, dtype=np.bool_)
        while row_of[column] or column == 0:
            in_tree[column] = True
            here = row_of[column]
            reduced = np.full(n + 1, np.inf)
            reduced[1:] = cost[here - 1] - of_row[here] - of_column[1:]
            closer = ~in_tree & (reduced < slack)
            slack[closer], came_from[closer] = reduced[closer], column
            following = int(np.where(in_tree, np.inf, slack).argmin())
            step = slack[following]
            of_row[row_of[in_tree]] += step
            of_column[in_tree] -= step
            slack[~in_tree] -= step
            column = following
        while column:
            row_of[column] = row_of[came_from[column]]
            column = int(came_from[column])
    return -float(sum(cost[row_of[j] - 1, j - 1] for j in range(1, n + 1)))


def bound(size: int, horizon: int = 200, reward: float = 10.0) -> float:
    """No walk in the pillar maze of this size earns a localising agent more."""
    layout = pillar_maze(size)
    tasks = TaskDistribution(layout)
    goals = [task.goal_number for task in tasks]
    after = worth_of_a_find(layout, goals, horizon)
    times = np.arange(1, len(goals) + 1)
    worth = reward * (1.0 + after[horizon - times])  # [time, goal]
    distance = layout.distances[layout.cell_number(tasks.start), goals]
    return largest_sum(np.where(times[:, None] >= distance, worth, -1e6)) / len(goals)


if __name__ == "__main__":
    for side in (9, 11, 13):
        best = oracle.reference_returns(pillar_maze(side)).localising
        print(f"{side} x {side}: best walk known {best:.2f}, no walk above {bound(side):.2f}")
