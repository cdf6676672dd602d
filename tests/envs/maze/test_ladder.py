"""Anchors for any layouts, against other ways to the same numbers."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import (
    GridMazeEnv,
    GridMazeVectorEnv,
    Layout,
    MazeFamily,
    MazeTask,
    layout_anchors,
    maze_tasks,
    named_mazes,
    pillar_maze,
)
from envs.maze import anchors as published
from envs.maze import ladder
from envs.maze.followers import follower_actions, shortest_actions
from envs.maze.generators import GENERATORS
from envs.maze.ladder import layout_curves
from tests.envs.maze.strategies import tasks

NAMES = ladder.ANCHORS


def mazes(kind: str, side: int, n: int, seed: int = 0) -> list[MazeTask]:
    """Every goal of n mazes, from the room nearest to the centre."""
    generator = torch.Generator().manual_seed(seed)
    walls = GENERATORS[kind](n, side, generator, torch.device("cpu")).numpy()
    middle = side // 2 - (side // 2 + 1) % 2
    return [task for one in walls for task in maze_tasks(Layout.from_walls(one), (middle, middle))]


# Side and steps: first find, explorer, oracle and random actions, in finds; and the standard
# deviation of one maze and goal, with which these were measured on 3,000 mazes.
FINDS = {
    ("dfs", 9, 100): (21.8, 18.0, 20.8, 0.97, 20),
    ("mst", 9, 100): (24.6, 20.8, 25.6, 0.84, 20),
    ("dfs", 13, 200): (51.6, 18.6, 23.1, 0.66, 28),
    ("mst", 13, 200): (61.8, 22.7, 30.3, 0.61, 30),
}


def check_finds(kind: str, side: int, horizon: int, n: int) -> None:
    first, explorer, oracle, random, spread = FINDS[kind, side, horizon]
    means = layout_anchors(mazes(kind, side, n), horizon=horizon, reward=1.0).means()
    error = spread / 3000**0.5 + spread / (20 * n) ** 0.5
    assert abs(means["explorer"] - explorer) < 3 * error
    assert abs(means["oracle"] - oracle) < 3 * error
    assert abs(means["first_find"] - first) < 3 * error
    assert abs(means["random"] - random) < 0.2 * random
    assert means["explorer"] < means["ceiling"] < means["oracle"]


@pytest.mark.parametrize(("kind", "side", "horizon"), [("dfs", 9, 100), ("mst", 9, 100)])
def test_finds_in_fresh_mazes(kind: str, side: int, horizon: int) -> None:
    check_finds(kind, side, horizon, n=40)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "side", "horizon"), FINDS)
def test_finds_in_many_fresh_mazes(kind: str, side: int, horizon: int) -> None:
    check_finds(kind, side, horizon, n=200)


@settings(max_examples=20)
@given(tasks(), st.integers(1, 50))
def test_the_lowest_and_the_highest_rung_against_dynamic_programming(
    task: MazeTask, horizon: int
) -> None:
    for respawn, goal in (("random", "teleports"), ("end", "ends")):
        anchors = layout_anchors([task], horizon=horizon, respawn=respawn)
        for name in ("random", "oracle"):
            expected = getattr(published, f"{name}_return")([task], horizon=horizon, goal=goal)
            np.testing.assert_allclose(getattr(anchors, name), expected, rtol=1e-9, atol=1e-9)
    moves = task.layout.distances_from(task.start)[task.goal_number]
    again = layout_anchors([task], horizon=horizon, reward=2.0)
    np.testing.assert_allclose(again.oracle, 2.0 * (horizon // moves))
    assert again.shortest == moves


@settings(max_examples=20)
@given(tasks(), st.integers(1, 80), st.sampled_from(["random", "start", "end"]))
def test_no_rung_is_above_the_oracle_and_curves_sum_to_the_returns(
    task: MazeTask, horizon: int, respawn: ladder.Respawn
) -> None:
    anchors = layout_anchors([task], horizon=horizon, respawn=respawn)
    curves = layout_curves([task], horizon=horizon, respawn=respawn)
    for name in NAMES:
        assert 0 <= getattr(anchors, name) <= anchors.oracle + 1e-9
        assert getattr(curves, name).shape == (horizon,)
        np.testing.assert_allclose(getattr(curves, name).sum(), getattr(anchors, name))
    assert anchors.shortest <= anchors.first_find


def test_random_actions_that_find_and_start_again() -> None:
    """A walk in a corridor, as a chain of steps written out."""
    corridor = Layout(("######", "#....#", "######"))
    task = MazeTask(corridor, goal=(1, 4), start=(1, 2))
    chain = np.array([[0.75, 0.25, 0, 0], [0.25, 0.5, 0.25, 0], [0, 0.25, 0.5, 0.25]])
    place, finds = np.array([0.0, 1.0, 0.0]), 0.0
    for _ in range(30):
        after = place @ chain
        finds += after[3]
        place = after[:3] + after[3] * np.array([0.0, 1.0, 0.0])
    anchors = layout_anchors([task], horizon=30, reward=1.0)
    np.testing.assert_allclose(anchors.random, finds)


def test_wall_followers_find_as_often_as_they_come_by() -> None:
    every = [replace(task, direction=0) for task in named_mazes()[:8]]
    anchors = layout_anchors(every, horizon=250, reward=1.0, turning=True)
    for hand in ("right", "left"):
        actions = np.array([follower_actions(task, hand=hand) for task in every])
        expected = np.floor(250 / actions)
        np.testing.assert_allclose(getattr(anchors, f"{hand}_hand"), expected)
        ends = layout_anchors(every, horizon=120, reward=1.0, turning=True, respawn="end")
        np.testing.assert_allclose(getattr(ends, f"{hand}_hand"), actions <= 120)


@settings(max_examples=15)
@given(tasks())
def test_wall_followers_that_are_sent_anywhere(task: MazeTask) -> None:
    horizon = 40
    for turning in (True, False):
        others = [
            MazeTask(task.layout, task.goal, cell, direction)
            for cell in task.layout.free_cells
            for direction in (range(4) if turning else [0])
            if cell != task.goal
        ]
        ways = np.zeros(horizon + 1)
        for other in others:
            taken = follower_moves(other) if not turning else follower_actions(other)
            if taken <= horizon:
                ways[int(taken)] += 1 / len(others)
        first = follower_actions(task) if turning else follower_moves(task)
        curve = np.zeros(horizon + 1)
        for step in range(1, horizon + 1):
            curve[step] = (step == first) + ways[1 : step + 1] @ curve[step - 1 :: -1][:step]
        options: dict[str, Any] = {"horizon": horizon, "reward": 1.0, "turning": turning}
        anchors = layout_anchors([task], respawn="random", **options)
        np.testing.assert_allclose(anchors.right_hand, curve.sum(), atol=1e-12)


def follower_moves(task: MazeTask) -> float:
    """Moves of an agent that follows the wall on its right without turns, having come from left."""
    ways = ((0, 1), (1, 0), (0, -1), (-1, 0))
    (row, column), looks = task.start, 0
    for moves in range(1, 4 * task.layout.num_free + 1):
        looks = next(
            (looks + turns) % 4
            for turns in (1, 0, 3, 2)
            if task.layout.is_free(
                (row + ways[(looks + turns) % 4][0], column + ways[(looks + turns) % 4][1])
            )
        )
        row, column = row + ways[looks][0], column + ways[looks][1]
        if (row, column) == task.goal:
            return moves
    return np.inf


@pytest.mark.parametrize("turning", [False, True])
def test_walls_cost_random_actions_what_they_do_in_the_environment(turning: bool) -> None:
    task, horizon = named_mazes()["StandardMaze"], 15
    task = MazeTask(task.layout, goal=(1, 4), start=task.start, direction=2)
    options: dict[str, Any] = {"respawn": "start", "horizon": horizon, "wall_penalty": 0.5}
    view = "egocentric-5" if turning else "3x3"
    env = GridMazeVectorEnv(4000, tasks=[task], view=view, reward=2.0, **options)
    env.reset(seed=0)
    rng, returns = torch.Generator().manual_seed(1), torch.zeros(4000)
    for _ in range(horizon):
        actions = torch.randint(3 if turning else 4, (4000,), generator=rng)
        returns += env.step(actions)[1]
    anchors = layout_anchors([task], reward=2.0, turning=turning, **options)
    assert abs(returns.mean() - anchors.random[0]) < 4 * returns.std() / 4000**0.5
    free = layout_anchors([task], reward=2.0, turning=turning, **options | {"wall_penalty": 0.0})
    assert anchors.random < free.random
    assert (anchors.explorer, anchors.oracle) == (free.explorer, free.oracle)


def test_an_explorer_by_hand() -> None:
    """A start between two dead ends: half of the time it looks in the wrong one first."""
    corridor = Layout(("######", "#....#", "######"))
    task = MazeTask(corridor, goal=(1, 4), start=(1, 2))
    anchors = layout_anchors([task], horizon=10, reward=1.0)
    assert anchors.first_find == 0.5 * 2 + 0.5 * 4
    assert anchors.explorer == pytest.approx(0.5 * 5 + 0.5 * (1 + 3))
    assert anchors.oracle == 5
    ends = layout_anchors([task], horizon=3, reward=1.0, respawn="end")
    assert (ends.explorer, ends.oracle) == (0.5, 1.0)


def explored(env: GridMazeEnv, seed: int) -> float:
    """The return of an episode, played with the 3 x 3 walls alone: depth first, then the way found.

    Cells are counted from the start, and taken apart by where the agent thinks it is.
    """
    observation, _ = env.reset(seed=seed)
    rng, steps = np.random.default_rng(seed), ((-1, 0), (1, 0), (0, -1), (0, 1))
    way: list[int] = []  # actions from the start
    here, been = (0, 0), {(0, 0)}
    known, total, done, exploiting = [], 0.0, False, 0
    while not done:
        if known:
            action = known[exploiting % len(known)]
            exploiting += 1
        else:
            beside = [(here[0] + down, here[1] + right) for down, right in steps]
            open_ = [a for a, wall in enumerate((1, 7, 3, 5)) if observation[wall] == 0]
            new = [a for a in open_ if beside[a] not in been]
            action = int(rng.choice(new)) if new else way[-1] ^ 1  # back the way it came
            way = [*way, action] if new else way[:-1]
            here = beside[action]
            been.add(here)
        observation, reward, _, done, _ = env.step(action)
        total += float(reward)
        known = way if reward else known
    return total


def test_an_agent_that_sees_3_by_3_walls_earns_what_the_explorer_does() -> None:
    for task in mazes("mst", 7, 3)[4::17]:
        env = GridMazeEnv(tasks=[task], respawn="start", horizon=50, reward=1.0)
        returns = np.array([explored(env, seed) for seed in range(150)])
        anchors = layout_anchors([task], horizon=50, reward=1.0)
        error = returns.std() / len(returns) ** 0.5
        assert abs(returns.mean() - anchors.explorer[0]) <= 4 * error + 1e-9


def test_knowing_the_walls_is_worth_something_in_every_kind_of_maze() -> None:
    for every in (mazes("dfs", 9, 3), mazes("mst", 9, 3), list(maze_tasks(pillar_maze(7)))):
        means = layout_anchors(every, horizon=100).means()
        assert means["random"] < means["explorer"] < means["ceiling"] < means["oracle"]


def test_agents_that_turn_have_a_ladder_of_their_own() -> None:
    every = [replace(task, direction=n % 4) for n, task in enumerate(mazes("dfs", 9, 3))]
    anchors = layout_anchors(every, horizon=100, turning=True)
    np.testing.assert_array_equal(anchors.shortest, [shortest_actions(task) for task in every])
    np.testing.assert_allclose(anchors.oracle, 10.0 * (100 // anchors.shortest))
    means, quick = anchors.means(), layout_anchors(every, horizon=100).means()
    assert means["random"] < means["explorer"] < means["ceiling"] < means["oracle"]
    assert all(means[name] < quick[name] for name in ladder.LADDER)
    assert (anchors.shortest <= anchors.first_find).all()
    curves = layout_curves(every, horizon=100, turning=True)
    for name in NAMES:
        np.testing.assert_allclose(getattr(curves, name).sum(), means[name])


def test_turning_by_hand() -> None:
    """In a dead end: two turns, then on; back from a find to the start and its direction."""
    corridor = Layout(("#####", "#...#", "#####"))
    task = MazeTask(corridor, goal=(1, 1), start=(1, 2), direction=0)
    anchors = layout_anchors([task], horizon=12, reward=1.0, turning=True)
    assert anchors.shortest == 3  # turn, turn, ahead
    assert anchors.oracle == 4
    assert anchors.first_find == 1 + 2 + 2  # it looks at the nearest cell first, which is ahead
    assert anchors.explorer == 1 + (12 - 5) // 3
    anywhere = layout_anchors([task], horizon=12, reward=1.0, turning=True, respawn="random")
    # From 8 places: 3, 2, 1, 2 actions from the middle, and one more from the right end.
    ways, curve = np.bincount([3, 2, 1, 2, 4, 3, 2, 3], minlength=13) / 8, np.zeros(13)
    curve[3] = 1.0
    for step in range(1, 13):
        curve[step] += sum(ways[s] * curve[step - s] for s in range(1, step + 1))
    np.testing.assert_allclose(anywhere.oracle, curve.sum())


def test_random_turns_against_a_chain() -> None:
    """Left, right or ahead in a corridor of two cells: found when it looks there and goes."""
    two = Layout(("####", "#..#", "####"))
    task = MazeTask(two, goal=(1, 2), start=(1, 1), direction=1)
    place, finds = np.eye(4)[1], 0.0
    for _ in range(20):
        after = (np.roll(place, 1) + np.roll(place, -1) + place * [0, 1, 1, 1]) / 3
        finds += place[0] / 3
        place = after + place[0] / 3 * np.eye(4)[1]
    anchors = layout_anchors([task], horizon=20, reward=1.0, turning=True)
    np.testing.assert_allclose(anchors.random, finds)


def test_the_best_tour_known_of_the_pillar_room_is_little_better_than_the_ceiling() -> None:
    every = maze_tasks(pillar_maze(9))
    ceiling = layout_anchors(every, respawn="random").means()["ceiling"]
    best = published.explore_then_exploit_return(every)
    assert 0.98 * best < ceiling < 1.001 * best


def test_anchors_of_a_task_do_not_depend_on_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = [*mazes("dfs", 7, 2)[::9], *named_mazes()[:3], *list(maze_tasks(pillar_maze(5)))[:2]]
    together = layout_anchors(mixed, horizon=60)
    for row, task in enumerate(mixed):
        alone = layout_anchors([task], horizon=60)
        for name in (*NAMES, "first_find", "shortest"):
            np.testing.assert_allclose(getattr(alone, name)[0], getattr(together, name)[row])
    monkeypatch.setattr(ladder, "AT_ONCE", 10_000)
    ladder._unit.cache_clear()
    parts = layout_anchors(mixed, horizon=60)
    np.testing.assert_allclose(parts.ceiling, together.ceiling)
    assert ladder._unit.cache_info().misses == 1
    layout_curves(mixed, horizon=60, reward=3.0)
    assert ladder._unit.cache_info().misses == 1, "the second call is free"


def test_normalised_score() -> None:
    anchors = layout_anchors(mazes("dfs", 7, 2), horizon=50)
    means = anchors.means()
    assert anchors.normalised_score(means["random"]) == 0.0
    assert anchors.normalised_score(means["explorer"]) == 1.0
    both = np.array([means["random"], means["explorer"]])
    np.testing.assert_allclose(anchors.normalised_score(both), [0.0, 1.0], atol=1e-12)
    two = Layout(("####", "#..#", "####"))
    none = layout_anchors([MazeTask(two, (1, 1), (1, 2))], horizon=1)
    assert none.normalised_score(5.0) == pytest.approx(5.0 / 7.5 - 1 / 3)


def test_tasks_of_every_form() -> None:
    layout = pillar_maze(5)
    once = layout_anchors(layout, horizon=20)
    for tasks_ in (maze_tasks(layout), list(maze_tasks(layout)), tuple(maze_tasks(layout))):
        np.testing.assert_array_equal(layout_anchors(tasks_, horizon=20).ceiling, once.ceiling)
    with pytest.raises(TypeError, match=r"draw some from a family, family\.sample\(n, rng\)"):
        layout_anchors(MazeFamily("dfs", 9))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a task must be a MazeTask"):
        layout_anchors(["#####"])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": []}, "there are no tasks"),
        ({"horizon": 0}, "horizon must be at least 1, got 0"),
        ({"reward": 0.0}, "reward must be above 0"),
        ({"wall_penalty": -1.0}, "wall_penalty must be finite and at least 0, got -1.0"),
        ({"seed": -1}, "a seed must be at least 0, got -1"),
        ({"respawn": "centre"}, "respawn must be one of .*, got 'centre'"),
    ],
)
def test_bad_questions_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layout_anchors(**{"tasks": list(maze_tasks(pillar_maze(5))), **arguments})  # type: ignore[arg-type]
