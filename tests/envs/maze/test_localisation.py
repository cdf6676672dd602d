"""The worth of a find to an agent that must work out where it was sent."""

from __future__ import annotations

import numpy as np
import pytest

from envs import Layout, maze_tasks, pillar_maze
from envs.maze import anchors as oracle
from envs.maze.dynamics import compile_layout
from envs.maze.localisation import reachable_beliefs, worth_of_a_find


def exhaustive(layout: Layout, goal: int, steps: int) -> float:
    """W_k by trying every action on every history, with probabilities instead of sets."""
    tables = compile_layout(layout)
    others = [c for c in range(layout.num_free) if c != goal]

    def best(cells: dict[int, float], k: int) -> float:
        if k == 0:
            return 0.0
        values = []
        for action in range(4):
            value, seen = 0.0, {}
            for cell, weight in cells.items():
                there = int(tables.next_cell[cell, action])
                if there == goal:
                    value += weight * (1.0 + after_find(k - 1))
                else:
                    cloud = seen.setdefault(tuple(tables.patch[there]), {})
                    cloud[there] = cloud.get(there, 0.0) + weight
            values.append(value + sum(best(cloud, k - 1) for cloud in seen.values()))
        return max(values)

    def after_find(k: int) -> float:
        views: dict[tuple[float, ...], dict[int, float]] = {}
        for cell in others:
            views.setdefault(tuple(tables.patch[cell]), {})[cell] = 1.0 / len(others)
        return sum(best(cloud, k) for cloud in views.values())

    return after_find(steps)


CORRIDOR = Layout(("########", "#......#", "########"))


@pytest.mark.parametrize(("layout", "goal"), [(CORRIDOR, 1), (CORRIDOR, 0), (pillar_maze(7), 5)])
def test_against_all_histories(layout: Layout, goal: int) -> None:
    worth = worth_of_a_find(layout, [goal], 4)[:, 0]
    for steps in range(5):
        assert worth[steps] == pytest.approx(exhaustive(layout, goal, steps), abs=1e-12)


def test_in_the_middle_of_a_corridor_left_and_right_look_alike() -> None:
    """Cells 0-5, goal 1: in cells 2, 3 and 4 the views are the same, so one guess serves all."""
    worth = worth_of_a_find(CORRIDOR, [1], 1)[1, 0]
    # One step: cell 0 enters by going right, cell 2 by going left; both are right at once, for
    # the end of the corridor is seen.
    assert worth == pytest.approx(2 / 5)
    assert len(reachable_beliefs(CORRIDOR, 1).first) == 3


def test_where_every_cell_looks_different_it_is_the_oracle() -> None:
    layout = pillar_maze(5)
    numbers = [task.goal_number for task in maze_tasks(layout)]
    blind = worth_of_a_find(layout, numbers, 30)
    goals = oracle.Goals(layout, layout.centre, tuple(numbers))
    np.testing.assert_allclose(blind, oracle._values(goals, 30, "oracle").after_find, rtol=1e-12)


def test_a_goal_does_not_depend_on_which_others_are_asked_for() -> None:
    layout = pillar_maze(9)
    together = worth_of_a_find(layout, [3, 8, 20], 40)
    for column, goal in enumerate((3, 8, 20)):
        np.testing.assert_array_equal(together[:, [column]], worth_of_a_find(layout, [goal], 40))


def test_a_policy_on_beliefs_earns_it() -> None:
    """Greedy on the converged values, played goal by goal: nearly W_k, and not above it."""
    layout, goal, horizon, mazes = pillar_maze(9), 7, 60, 2000
    expected = 10 * worth_of_a_find(layout, [goal], horizon)[horizon, 0]
    tables = compile_layout(layout)
    view = [patch.tobytes() for patch in tables.patch]
    steps = steps_to_go(layout, goal)
    rng = np.random.default_rng(0)
    cells = rng.choice([c for c in range(layout.num_free) if c != goal], size=mazes)
    returns = np.zeros(mazes)
    beliefs = [look(range(layout.num_free), view, goal, view[c]) for c in cells]
    others = [c for c in range(layout.num_free) if c != goal]
    for _ in range(horizon):
        for i, belief in enumerate(beliefs):
            action = steps[belief][0]
            cells[i] = tables.next_cell[cells[i], action]
            if cells[i] == goal:
                returns[i] += 10
                cells[i] = rng.choice(others)
                beliefs[i] = look(range(layout.num_free), view, goal, view[cells[i]])
            else:
                moved = [int(tables.next_cell[c, action]) for c in belief]
                beliefs[i] = look(moved, view, goal, view[cells[i]])
    error = returns.std() / mazes**0.5
    assert 0.97 * expected < returns.mean() + 3 * error
    assert returns.mean() - 3 * error < expected


def look(cells, view, goal, seen):  # type: ignore[no-untyped-def]
    return frozenset(c for c in cells if c != goal and view[c] == seen)


def steps_to_go(layout: Layout, goal: int) -> dict[frozenset[int], tuple[int, float]]:
    """For every belief the action of the shortest expected way to the goal, by value iteration."""
    tables = compile_layout(layout)
    view = [patch.tobytes() for patch in tables.patch]
    every = [c for c in range(layout.num_free) if c != goal]
    table = {look(every, view, goal, v): (0, 0.0) for v in set(view)}
    queue = list(table)
    leads: dict[frozenset[int], list[list[frozenset[int]]]] = {}
    for belief in queue:
        leads[belief] = []
        for action in range(4):
            moved = [int(tables.next_cell[c, action]) for c in belief]
            after = [look(moved, view, goal, v) for v in {view[c] for c in moved if c != goal}]
            leads[belief].append(after)
            for new in after:
                if new not in table:
                    table[new] = (0, 0.0)
                    queue.append(new)
    for _ in range(60):
        table = {
            b: min(
                ((a, len(b) + sum(table[s][1] for s in after)) for a, after in enumerate(ways)),
                key=lambda pair: pair[1],
            )
            for b, ways in leads.items()
        }
    return table
