"""Agents that turn and do not learn, against the published facts of the named mazes."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings

from envs import GridMazeEnv
from envs.maze import followers
from envs.maze.followers import (
    explorer_actions,
    follower_actions,
    shortest_actions,
    turning_actions,
    turning_return,
)
from envs.maze.layout import Layout
from envs.maze.named import NAMED_MAZES, NamedMazes, named_mazes
from envs.maze.perfect import perfect_mazes
from envs.maze.tasks import MazeTask, maze_tasks
from tests.envs.maze.strategies import tasks

# Shortest, right hand, left hand, explorer that sees 5 x 5, and 7 x 7.
TABLE = {
    "SixteenRooms": (26, inf, inf, 62, 64),
    "SixteenRooms2": (28, inf, inf, 90, 74),
    "Labyrinth": (113, 113, 113, 173, 145),
    "LabyrinthFlipped": (113, 113, 113, 173, 145),
    "Labyrinth2": (113, 113, 113, 165, 145),
    "StandardMaze": (54, 94, 182, 144, 86),
    "StandardMaze2": (73, 149, 124, 115, 107),
    "StandardMaze3": (54, 134, 72, 150, 78),
}


def eight() -> NamedMazes:
    return named_mazes(*NAMED_MAZES[:8])


def test_actions_in_the_eight_named_mazes() -> None:
    mazes = eight()
    narrow = turning_actions(mazes, view=5)
    wide = turning_actions(mazes, view=7)
    rows = zip(*(narrow[i] for i in (0, 2, 3, 1)), wide.explorer, strict=True)
    assert dict(zip(mazes.names, rows, strict=True)) == TABLE


def test_returns_in_the_eight_named_mazes() -> None:
    mazes = eight()
    actions = turning_actions(mazes)
    best = turning_return(actions.shortest, 250)
    np.testing.assert_allclose(best[:3], [0.9064, 0.8992, 0.5932])
    assert round(float(best.mean()), 4) == 0.7417
    assert round(float(turning_return(actions.explorer, 250).mean()), 3) == 0.518
    assert round(float(actions.explorer.mean())) == 134
    np.testing.assert_allclose(turning_return(actions.shortest, 450)[:2], [0.948, 0.944])


# Mean actions of the explorer and of the right hand in perfect mazes, to a few percent.
PERFECT = {
    ("dcd", 11): (44, 70),
    ("dcd", 15): (93, 136),
    ("dcd", 21): (220, 277),
    ("minimax", 11): (35, 46),
    ("minimax", 15): (89, 101),
    ("minimax", 21): (197, 206),
}


def check_perfect(definition: str, size: int, n: int) -> None:
    tasks = perfect_mazes(definition, size).sample(n, np.random.default_rng(0))
    actions = turning_actions(tasks)
    assert np.isfinite(actions).all(), "no loop to go round for ever"
    for mine, published in zip(actions[1:3], PERFECT[definition, size], strict=True):
        # The published ones are means over some hundred mazes, start and goal.
        assert abs(mine.mean() - published) < 3.5 * mine.std() * (1 / n + 1 / 100) ** 0.5


@pytest.mark.parametrize("definition", ["dcd", "minimax"])
def test_perfect_mazes(definition: str) -> None:
    check_perfect(definition, 11, n=100)


@pytest.mark.slow
@pytest.mark.parametrize(("definition", "size"), PERFECT)
def test_many_perfect_mazes(definition: str, size: int) -> None:
    check_perfect(definition, size, n=500)


def test_the_goal_pays_nothing_after_the_last_action() -> None:
    actions = np.array([1.0, 10.0, 11.0, inf])
    np.testing.assert_allclose(turning_return(actions, 10), [0.91, 0.1, 0.0, 0.0])


def test_by_hand_in_a_corridor() -> None:
    corridor = Layout(("######", "#....#", "######"))
    task = MazeTask(corridor, goal=(1, 4), start=(1, 1))
    turned = [replace(task, direction=d) for d in range(4)]
    assert [shortest_actions(one) for one in turned] == [3, 4, 5, 4]
    assert [follower_actions(one) for one in turned] == [3, 4, 5, 4]
    assert shortest_actions(task) == 3
    # It sees the last cell at once and has to look behind itself for the first.
    assert explorer_actions(MazeTask(corridor, (1, 1), (1, 3)), view=3) == 4


@settings(max_examples=30)
@given(tasks())
def test_no_policy_is_faster_than_the_shortest_way(task: MazeTask) -> None:
    for direction in range(4):
        turned = replace(task, direction=direction)
        shortest = shortest_actions(turned)
        moves = task.layout.distances_from(task.start)[task.goal_number]
        assert moves <= shortest < inf
        assert shortest <= explorer_actions(turned) < inf
        for hand in ("right", "left"):
            assert shortest <= follower_actions(turned, hand=hand)


@settings(max_examples=20)
@given(tasks())
def test_a_mirror_exchanges_the_hands(task: MazeTask) -> None:
    mirrored = MazeTask.from_ascii("\n".join(row[::-1] for row in str(task).splitlines()))
    for direction, other in ((0, 2), (1, 1), (2, 0), (3, 3)):
        one, two = replace(task, direction=direction), replace(mirrored, direction=other)
        assert follower_actions(one, hand="right") == follower_actions(two, hand="left")
        assert shortest_actions(one) == shortest_actions(two)


def test_a_wider_view_of_everything_leaves_the_shortest_way() -> None:
    """In an open room that is seen whole there is nothing to explore."""
    room = Layout(("#" * 7, *("#" + "." * 5 + "#",) * 5, "#" * 7))
    task = MazeTask(room, goal=(1, 1), start=(5, 3), direction=3)
    assert explorer_actions(task, view=13) == shortest_actions(task)


def test_what_is_seen_through_walls_may_lead_astray() -> None:
    """In the named mazes shadows cost nothing on average."""
    means = [
        turning_actions(eight(), view=7, see_through=see_through).explorer.mean()
        for see_through in (True, False)
    ]
    assert means == [105.5, 100.75]
    # In a room without walls nothing is hidden.
    room = Layout(("#" * 7, *("#" + "." * 5 + "#",) * 5, "#" * 7))
    for task in maze_tasks(room):
        assert explorer_actions(task, see_through=False) == explorer_actions(task)


def test_what_shadows_hide_is_what_the_environment_hides() -> None:
    task = named_mazes()["StandardMaze2"]
    env = GridMazeEnv(tasks=[task], view="egocentric-7", horizon=300)
    observation, _ = env.reset(seed=0)
    lit = followers._lit(task.layout, 7)
    rng = np.random.default_rng(0)
    for _ in range(200):
        cell = task.layout.cell_number(env.agent_position)
        place = 4 * cell + (env.agent_direction or 0)
        np.testing.assert_array_equal(lit[place], (observation != -1).reshape(7, 7))
        observation, *_ = env.step(int(rng.choice([0, 1, 2, 2, 2])))


def test_bad_questions_are_refused() -> None:
    task = eight()[0]
    with pytest.raises(ValueError, match="odd side of at least 3, got 4"):
        explorer_actions(task, view=4)
    assert turning_actions([]).shortest.shape == (0,)
