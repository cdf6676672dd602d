import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import (
    GridNaviEnv,
    GridNaviTask,
    GridNaviVectorEnv,
    Trial,
    VectorTrial,
    grid_navi_reference_returns,
    grid_navi_tasks,
)
from envs.grid_navi.tasks import EXPLORER_TOUR, GridNaviReturns, explorer_bound, explorer_return

TASKS = grid_navi_tasks()
STAY, UP, RIGHT, DOWN, LEFT = range(5)


def test_published_anchors() -> None:
    assert len(TASKS) == 21
    random, oracle = grid_navi_reference_returns(TASKS)
    assert (round(random, 2), round(oracle, 2)) == (-1.17, 11.07)
    # The mean distance of the 21 goals is 96 / 21; each step on the way costs 1.1.
    assert oracle == pytest.approx(15 + 1.1 - 1.1 * 96 / 21)


def test_random_return_by_hand() -> None:
    """Two steps, goal (0, 2): up twice, and only then."""
    returns = grid_navi_reference_returns([GridNaviTask((0, 2), 3)], horizon=2)
    assert returns == GridNaviReturns(pytest.approx(-0.2 + 1.1 / 25), pytest.approx(-0.1 + 1.0))


def test_the_environment_pays_what_the_anchors_say() -> None:
    copies = 400
    env = GridNaviVectorEnv(21 * copies)
    env.reset(options={"tasks": [*TASKS] * copies})
    rng = torch.Generator().manual_seed(0)
    actions = torch.randint(5, (15, 21 * copies), generator=rng)
    total = sum(env.step(action)[1] for action in actions)
    error = total.std().item() / (21 * copies) ** 0.5
    anchors = grid_navi_reference_returns(TASKS)
    assert abs(total.mean().item() - anchors.random) < 5 * error
    observations, _ = env.reset()
    total = torch.zeros(21 * copies)
    for _ in range(15):
        x, y = observations.unbind(1)
        to_x, to_y = env.goals // 5, env.goals % 5
        move = torch.where(x < to_x, RIGHT, torch.where(y < to_y, UP, STAY))
        observations, rewards, *_ = env.step(move)
        total += rewards
    assert total.mean().item() == pytest.approx(anchors.oracle, abs=1e-5)


@settings(max_examples=40)
@given(st.sampled_from(TASKS.tasks), st.lists(st.integers(0, 4), min_size=1, max_size=20))
def test_no_policy_is_above_the_oracle(task: GridNaviTask, actions: list[int]) -> None:
    env = GridNaviEnv(horizon=len(actions))
    env.reset(options={"task": task})
    total = sum(env.step(action)[1] for action in actions)
    assert total <= grid_navi_reference_returns([task], horizon=len(actions)).oracle + 1e-5


def test_explorer_in_the_module_docstring() -> None:
    earned = explorer_return(EXPLORER_TOUR, TASKS)
    bound, oracle = explorer_bound(TASKS), 4 * grid_navi_reference_returns(TASKS).oracle
    assert [round(value, 2) for value in (earned, bound, oracle)] == [37.11, 37.74, 44.29]
    assert len(EXPLORER_TOUR) == 4


def test_the_explorer_earns_that_in_the_environment() -> None:
    """Walks its tour until it is on the goal; stays; goes straight there in later episodes."""
    letters = "-URDL"
    total = 0.0
    for task in TASKS:
        env = Trial(GridNaviEnv(), 4)
        env.reset(options={"task": task})
        found = False
        for walk in EXPLORER_TOUR:
            straight = "R" * task.goal[0] + "U" * task.goal[1]
            plan, arrived = (straight, False) if found else (walk, False)
            for step in range(15):
                letter = "-" if arrived or step >= len(plan) else plan[step]
                _, reward, *_ = env.step(np.int64(letters.index(letter)))
                total += reward
                arrived = arrived or reward > 0
            found = found or arrived
        assert found
    assert total / 21 == pytest.approx(explorer_return(EXPLORER_TOUR, TASKS), abs=1e-4)


@settings(max_examples=40)
@given(st.lists(st.text("-URDL", max_size=15), min_size=4, max_size=4))
def test_no_tour_is_above_the_bound(tour: list[str]) -> None:
    assert explorer_return(tour, TASKS) <= explorer_bound(TASKS) + 1e-9


def test_moves_borders_and_rewards() -> None:
    env = GridNaviEnv(render_mode="ansi", horizon=9)
    first, _ = env.reset(options={"task": GridNaviTask((2, 0))})
    assert first.tolist() == [0, 0]
    seen, rewards = [], []
    for action in (DOWN, LEFT, UP, RIGHT, DOWN, RIGHT, STAY, LEFT):
        observation, reward, *_ = env.step(action)
        seen.append(tuple(observation.tolist()))
        rewards.append(reward)
    assert seen == [(0, 0), (0, 0), (0, 1), (1, 1), (1, 0), (2, 0), (2, 0), (1, 0)]
    assert rewards == pytest.approx([-0.1] * 5 + [1, 1, -0.1])
    assert env.position == (1, 0)
    assert env.render().splitlines()[-2] == ".AG.."


def test_one_hot_observations_name_the_cell() -> None:
    env = GridNaviEnv(one_hot=True)
    env.reset(seed=0)
    observation, *_ = env.step(RIGHT)
    assert observation.shape == env.observation_space.shape == (25,)
    assert observation.argmax() == 5
    assert observation.sum() == 1


def test_make_and_trials() -> None:
    assert isinstance(gymnasium.make("metarl/GridNavi-v0", size=4).unwrapped, GridNaviEnv)
    many = gymnasium.make_vec("metarl/GridNavi-v0", num_envs=30)
    trial = VectorTrial(many, 4)
    trial.reset(seed=0)
    goals = trial.unwrapped.goals.clone()  # type: ignore[attr-defined]
    for _ in range(60):
        _, _, _, truncated, _ = trial.step(torch.full((30,), UP))
    assert truncated.all()
    assert torch.equal(trial.unwrapped.goals, goals)  # type: ignore[attr-defined]
    assert len(goals.unique()) > 10


def test_bad_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="no goals"):
        grid_navi_reference_returns([])
    with pytest.raises(ValueError, match="at least 1 step, got 0"):
        grid_navi_reference_returns(TASKS, horizon=0)
    with pytest.raises(ValueError, match="at most 15 steps"):
        explorer_return(["U" * 16], TASKS)
