"""What no agent with the 17 inputs can exceed: ``python -m benchmarks.maze.bound``.

Before the first find an agent follows a walk that nothing it sees can change, and which is worth
the sum over goals of what a first visit at its time is worth: the find and, for the best policy on
beliefs (`envs.maze.localisation`, exact), what comes after it. A walk visits one new cell a step at
most, and none before its distance from the start. The best assignment of visiting times to cells
under these two rules alone bounds every walk; the best walk known is the `localising` reference.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment

from envs import maze_tasks, pillar_maze
from envs.maze import anchors as oracle
from envs.maze.localisation import worth_of_a_find


def bound(size: int, horizon: int = 200, reward: float = 10.0) -> float:
    """No walk in the pillar maze of this size earns a localising agent more."""
    layout = pillar_maze(size)
    tasks = maze_tasks(layout)
    goals = [task.goal_number for task in tasks]
    after = worth_of_a_find(layout, goals, horizon)
    times = np.arange(1, len(goals) + 1)
    worth = reward * (1.0 + after[horizon - times])  # [time, goal]
    distance = layout.distances[layout.cell_number(layout.centre)][goals]
    possible = np.where(times[:, None] >= distance, worth, -1e6)
    best = possible[linear_sum_assignment(possible, maximize=True)]  # one goal per time
    return float(best.sum()) / len(goals)


if __name__ == "__main__":
    for side in (9, 11, 13):
        best = oracle.reference_returns(pillar_maze(side)).localising
        print(f"{side} x {side}: best walk known {best:.2f}, no walk above {bound(side):.2f}")
