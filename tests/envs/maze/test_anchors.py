from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import GridMazeVectorEnv, Layout, MazeTask, TaskSet, maze_tasks, pillar_maze
from envs.maze import anchors as oracle
from envs.maze.batch import compile_mazes
from envs.maze.dynamics import compile_layout
from envs.maze.policies import random_rewards
from envs.problems import HiddenGoals
from tests.envs.maze.strategies import layouts

# Side: random, explore then exploit by a greedy sweep, oracle. Reward 10, 200 steps.
TABLE = {9: (14.37, 377.8, 416.2), 11: (7.72, 270.7, 324.2), 13: (5.38, 203.5, 269.6)}


@pytest.mark.parametrize("size", TABLE)
def test_published_anchors(size: int) -> None:
    random, sweep, best = TABLE[size]
    returns = oracle.reference_returns(pillar_maze(size))
    assert round(returns.random, 2) == random
    assert round(returns.oracle, 1) == best
    assert sweep < returns.ceiling < 1.03 * sweep, "a better tour than the greedy sweep"


def test_numbers_in_the_docstring() -> None:
    returns = [oracle.reference_returns(pillar_maze(size)) for size in (9, 11, 13)]
    text = " ".join((oracle.__doc__ or "").split())
    for r in returns:
        line = (
            f"random {r.random:.2f} localising {r.localising:.2f} "
            f"ceiling {r.ceiling:.2f} oracle {r.oracle:.2f}"
        )
        assert line in text


def test_a_corridor_of_two_cells_by_hand() -> None:
    """Start and goal side by side: every other action that is not blocked finds it."""
    layout = Layout(("####", "#..#", "####"))
    returns = oracle.reference_returns(layout, horizon=6, reward=1.0)
    # The one way to the goal: a find teleports back to the only other cell.
    assert returns.oracle == returns.ceiling == 6.0
    assert returns.random == pytest.approx(6 / 4)


def test_a_corridor_of_three_cells_by_hand() -> None:
    """Goals left and right of the start: tour left, right, right."""
    layout = Layout(("#####", "#...#", "#####"))
    returns = oracle.reference_returns(layout, horizon=3, reward=1.0)
    # Goal known: find at step 1; teleported to the middle or the far end, 1 or 2 steps away; from
    # the middle find at step 2, and again at step 3 if the middle comes up once more.
    after_two_left = 0.5 * (1 + 0.5) + 0.5 * 1
    assert returns.oracle == pytest.approx(1 + after_two_left)
    # Goal unknown: the first guess is right half of the time, the other goal is found at step 3.
    assert returns.ceiling == pytest.approx(0.5 * (1 + after_two_left) + 0.5 * 1)


def test_curves_sum_to_the_returns() -> None:
    tasks = maze_tasks(pillar_maze(9)).split().test
    curves = oracle.reference_curves(tasks, horizon=60, reward=3.0)
    returns = oracle.reference_returns(tasks, horizon=60, reward=3.0)
    for name in ("random", "localising", "ceiling", "oracle"):
        curve = getattr(curves, name)
        assert curve.shape == (60,)
        assert (curve >= 0).all()
        assert curve.sum() == pytest.approx(getattr(returns, name))


def test_curve_of_a_shorter_episode_is_a_prefix_for_policies_without_a_plan() -> None:
    long = oracle.reference_curves(pillar_maze(7), horizon=50)
    short = oracle.reference_curves(pillar_maze(7), horizon=20)
    np.testing.assert_allclose(long.random[:20], short.random)
    np.testing.assert_allclose(long.oracle[:20], short.oracle)


def test_random_curve_agrees_with_the_environment() -> None:
    num_envs, horizon = 20000, 40
    env = GridMazeVectorEnv(num_envs, size=5, horizon=horizon)
    env.reset(seed=0)
    rng = torch.Generator().manual_seed(1)
    rewards = torch.stack(
        [env.step(torch.randint(4, (num_envs,), generator=rng))[1] for _ in range(horizon)]
    )
    expected = oracle.reference_curves(pillar_maze(5), horizon=horizon).random
    # One standard error of a step's mean reward is about 10 * sqrt(0.06 / 20000) = 0.017.
    np.testing.assert_allclose(rewards.mean(1).numpy(), expected, atol=5 * 0.017)


def test_shortest_paths_in_the_environment_earn_the_oracles_return() -> None:
    layout, num_envs = pillar_maze(9), 4000
    env = GridMazeVectorEnv(num_envs, layout=layout, horizon=100)
    env.reset(seed=0)
    towards = torch.from_numpy(_towards(layout))
    returns = torch.zeros(num_envs)
    for _ in range(100):
        returns += env.step(towards[env.goals, env.agent_cells])[1]
    error = float(returns.std()) / num_envs**0.5
    expected = oracle.oracle_return(layout, horizon=100)
    assert abs(float(returns.mean()) - expected) < 4 * error


def _towards(layout: Layout) -> np.ndarray:  # type: ignore[type-arg]
    """int64 [F, F]: the first action of a shortest path, by goal and cell."""
    next_cell = compile_layout(layout).next_cell
    return np.asarray(layout.distances[:, next_cell].argmin(-1))


@settings(max_examples=20)
@given(layouts(max_side=7), st.integers(1, 60))
def test_random_below_localising_below_ceiling_below_oracle(layout: Layout, horizon: int) -> None:
    returns = oracle.reference_returns(layout, horizon=horizon)
    assert returns.random <= returns.localising * (1 + 1e-9) + 1e-9
    assert returns.localising <= returns.ceiling * (1 + 1e-9) + 1e-9
    assert returns.ceiling <= returns.oracle * (1 + 1e-9) + 1e-9


@settings(max_examples=15)
@given(layouts(max_side=6), st.integers(0, 2**32))
def test_no_policy_is_above_the_oracle(layout: Layout, seed: int) -> None:
    """Any fixed way to act upon cell, goal and time is worth at most what the oracle earns."""
    rng = np.random.default_rng(seed)
    next_cell = compile_layout(layout).next_cell
    tasks, horizon = maze_tasks(layout), 20
    total = 0.0
    for task in tasks:
        value = np.zeros(layout.num_free)
        for _ in range(horizon):
            others = np.delete(value, task.goal_number).mean()
            moves = np.where(next_cell == task.goal_number, 10 + others, value[next_cell])
            policy = rng.dirichlet(np.full(4, 0.3), size=layout.num_free)
            value = (policy * moves).sum(-1)
        total += value[task.start_number]
    assert total / len(tasks) <= oracle.oracle_return(tasks, horizon=horizon) + 1e-9


def test_an_agent_that_follows_the_tour_earns_the_ceiling() -> None:
    """Explore then exploit, played in the environment goal by goal."""
    layout, horizon, copies = pillar_maze(7), 60, 200
    tasks = maze_tasks(layout)
    visits = oracle._tour(layout, layout.centre, horizon, "oracle")
    order = np.argsort(np.where(visits == 0, -1, visits))  # the start first
    walk = [int(order[0])]
    for stop in order[1:]:
        path = layout.shortest_path(layout.free_cells[walk[-1]], layout.free_cells[stop])
        walk += [layout.cell_number(cell) for cell in path[1:]]
    next_cell = compile_layout(layout).next_cell
    moves = [int(np.flatnonzero(next_cell[a] == b)[0]) for a, b in pairwise(walk)]
    goals = torch.tensor([task.goal_number for task in tasks]).repeat(copies)
    env = GridMazeVectorEnv(len(goals), layout=layout, horizon=horizon)
    env.reset(seed=0, options={"goals": goals})
    towards = torch.from_numpy(_towards(layout))
    returns, found = torch.zeros(len(goals)), torch.zeros(len(goals), dtype=torch.bool)
    for t in range(horizon):
        tour = torch.tensor(moves[t] if t < len(moves) else 0)
        actions = torch.where(found, towards[goals, env.agent_cells], tour)
        _, rewards, *_ = env.step(actions)
        returns += rewards
        found |= rewards > 0
    error = float(returns.std()) / len(goals) ** 0.5
    expected = oracle.explore_then_exploit_return(tasks, horizon=horizon)
    assert abs(float(returns.mean()) - expected) < 4 * error


def test_normalised_score() -> None:
    tasks = maze_tasks(pillar_maze(9))
    returns = oracle.reference_returns(tasks)
    assert oracle.normalised_score(returns.random, tasks) == 0.0
    assert oracle.normalised_score(returns.ceiling, tasks) == 1.0
    assert oracle.normalised_score(returns.oracle, tasks) > 1.0
    both = np.array([returns.random, returns.ceiling])
    np.testing.assert_allclose(oracle.normalised_score(both, tasks), [0.0, 1.0], atol=1e-12)


def test_there_is_no_score_where_the_explorer_earns_what_the_random_policy_does() -> None:
    layout = pillar_maze(5)
    returns = oracle.reference_returns(layout, horizon=1)
    assert returns.ceiling == pytest.approx(returns.random)
    assert np.isnan(oracle.normalised_score(3.0, layout, horizon=1))
    assert np.isnan(oracle.normalised_score(np.array([0.0, 3.0]), layout, horizon=1)).all()
    assert np.isfinite(oracle.normalised_score(3.0, layout, horizon=2))


def test_returns_scale_with_the_reward() -> None:
    one = oracle.reference_returns(pillar_maze(7), reward=1.0)
    ten = oracle.reference_returns(pillar_maze(7), reward=10.0)
    assert ten.ceiling == pytest.approx(10 * one.ceiling)


def test_subsets_average_to_the_whole() -> None:
    every = maze_tasks(pillar_maze(9))
    parts = [part for part in every.split() if len(part)]
    for name in ("random", "localising", "ceiling", "oracle"):
        mean = sum(len(p) * getattr(oracle.reference_returns(p), name) for p in parts) / len(every)
        assert mean == pytest.approx(getattr(oracle.reference_returns(every), name))


def test_mirrored_goals_have_the_same_ceiling() -> None:
    layout = pillar_maze(9)
    ceilings = [
        oracle.reference_returns(TaskSet((MazeTask(layout, goal),))).ceiling
        for goal in ((1, 2), (2, 1), (7, 6), (1, 6))
    ]
    assert ceilings == pytest.approx([ceilings[0]] * 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"horizon": 0}, "at least 1 step, got 0"),
        ({"reward": 0.0}, "above 0"),
        ({"tasks": TaskSet(())}, "empty task set"),
    ],
)
def test_bad_questions_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        oracle.reference_returns(**{"tasks": pillar_maze(5), **arguments})  # type: ignore[arg-type]


def test_start_elsewhere() -> None:
    corridor = Layout(("######", "#....#", "######"))
    task = MazeTask(corridor, (1, 4), start=(1, 1))
    tasks = [task]
    assert oracle.oracle_return(tasks, horizon=3) == 10.0
    assert oracle.oracle_return(tasks, horizon=2) == 0.0


@pytest.mark.parametrize("penalty", [0.0, 0.3])
def test_random_actions_pay_for_walls(penalty: float) -> None:
    """Against the twin that knows mazes of any walls, on a part of the goals."""
    problem = HiddenGoals(size=9, horizon=40, reward=2.0, wall_penalty=penalty, goals="split")
    tasks = tuple(problem.test)
    known = problem.known(tasks)
    each = random_rewards(compile_mazes(tasks), "random", 40, penalty / 2.0)
    curve = 2.0 * each.mean(0).numpy()
    np.testing.assert_allclose(known.curves["random"], curve, atol=1e-12)
    assert known.returns["random"] == pytest.approx(curve.sum())
    assert problem.anchors(tasks).floor == pytest.approx(curve.sum())
    free = replace(problem, wall_penalty=0.0).known(tasks).returns
    assert all(known.returns[name] == free[name] for name in ("localising", "ceiling", "oracle"))
    trial = {"horizon": 40, "reward": 2.0, "wall_penalty": penalty}
    assert oracle.normalised_score(curve.sum(), tasks, **trial) == pytest.approx(0.0)


def test_a_wall_penalty_below_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"wall_penalty must be .* got -0\.1"):
        oracle.random_return(pillar_maze(5), wall_penalty=-0.1)
