import math

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import (
    MetaObservation,
    PointNavigationEnv,
    PointNavigationVectorEnv,
    PointTask,
    PointTasks,
    TaskSet,
    Trial,
    VectorMetaObservation,
    VectorTrial,
    point_reference_returns,
)
from envs.point.tasks import CELLS

MEAN_DISTANCE = (math.sqrt(2) + math.asinh(1)) / 3  # from the corner of a unit square


# Anchors --------------------------------------------------------------------------------------


def test_published_anchors_are_of_distances_after_the_move() -> None:
    returns = point_reference_returns(PointTasks())
    assert (round(returns.standing_still, 2), round(returns.oracle, 3)) == (-38.26, -0.506)


def test_anchors_in_closed_form() -> None:
    """|x| and |y| are uniform in [0, 1/2], and lessen by 1/10 a step until they are 0.

    After t steps both are left with probability (2L)^2, L = 1/2 - t/10, uniform in [0, L]; only
    one is with probability 2 (2L)(1 - 2L).
    """
    left = 0.5 - 0.1 * np.arange(1, 5)
    both, one = (2 * left) ** 2, 4 * left * (1 - 2 * left)
    oracle = -(both * left * MEAN_DISTANCE + one * left / 2).sum()
    returns = point_reference_returns(PointTasks(), goal_radius=0.0)
    assert returns.standing_still == pytest.approx(-100 * 0.5 * MEAN_DISTANCE, abs=1e-3)
    assert returns.oracle == pytest.approx(oracle, abs=5e-5)
    assert round(oracle, 4) == -0.5061


@pytest.mark.parametrize("goal_radius", [0.0, 0.01, 0.1])
def test_the_environment_pays_what_the_anchors_say(goal_radius: float) -> None:
    tasks = TaskSet(PointTasks().sample(50, np.random.default_rng(0)))
    env = PointNavigationVectorEnv(50, goal_radius=goal_radius)
    returns = []
    for play in (lambda goals, at: goals * 0, lambda goals, at: goals - at):
        at, _ = env.reset(options={"tasks": list(tasks)})
        total = torch.zeros(50)
        for _ in range(100):
            at, rewards, *_ = env.step(play(env.goals, at))
            total += rewards
        returns.append(total.mean().item())
    assert returns == pytest.approx(
        point_reference_returns(tasks, goal_radius=goal_radius), abs=2e-4
    )


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.floats(0.0, 0.5))
def test_no_policy_is_above_the_oracle(seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    (task,) = PointTasks().sample(1, rng)
    env = PointNavigationEnv(horizon=15, goal_radius=0.0)
    at, _ = env.reset(options={"task": task})
    total = 0.0
    for _ in range(15):
        at, reward, *_ = env.step(np.array(task.goal) - at + rng.normal(0, noise, 2))
        total += reward
    best = point_reference_returns([task], horizon=15, goal_radius=0.0).oracle
    assert total <= best + 1e-5


# The environment ------------------------------------------------------------------------------


def test_a_move_is_clipped_and_pays_the_distance_that_is_left() -> None:
    env = PointNavigationEnv()
    env.reset(options={"task": PointTask((0.4, -0.3))})
    at, reward, terminated, truncated, _ = env.step(np.array([0.7, -0.05]))
    assert at.tolist() == pytest.approx([0.1, -0.05])
    assert reward == pytest.approx(-math.hypot(0.3, -0.25))
    assert (terminated, truncated) == (False, False)


def test_an_episode_terminates_near_the_goal_in_a_square() -> None:
    for goal, near in (((0.109, 0.109), True), ((0.109, 0.111), False), ((0.089, 0.1), False)):
        env = PointNavigationEnv()
        env.reset(options={"task": PointTask(goal)})
        _, reward, terminated, truncated, _ = env.step(np.array([0.1, 0.1]))
        assert terminated == near, goal
        assert not truncated
        assert reward < -0.008


def test_reaching_the_goal_with_the_last_step_is_no_truncation() -> None:
    task = PointTask((0.1, 0.1))
    single, vector = PointNavigationEnv(horizon=1), PointNavigationVectorEnv(1, horizon=1)
    single.reset(options={"task": task})
    vector.reset(options={"tasks": [task]})
    assert single.step(np.array([0.1, 0.1]))[2:4] == (True, False)
    _, _, terminated, truncated, _ = vector.step(torch.full((1, 2), 0.1))
    assert (terminated.tolist(), truncated.tolist()) == ([True], [False])


def test_who_has_arrived_stays_and_pays_nothing_until_the_reset() -> None:
    env = PointNavigationVectorEnv(2, horizon=3)
    env.reset(options={"tasks": [PointTask((0.1, 0.1)), PointTask((0.4, 0.4))]})
    step = torch.full((2, 2), 0.1)
    results = [env.step(step) for _ in range(3)]
    assert [r[2].tolist() for r in results] == [[True, False]] * 3
    assert [r[3].tolist() for r in results] == [[False, False]] * 2 + [[False, True]]
    assert [r[1][0].item() for r in results] == [0, 0, 0]
    assert results[2][0].tolist() == [pytest.approx([0.1, 0.1]), pytest.approx([0.3, 0.3])]
    observations, _ = env.reset()
    assert observations.tolist() == [[0, 0], [0, 0]]
    assert env.step(-step)[2].tolist() == [False, False]


def test_same_step_draws_new_goals_only_where_an_episode_ended() -> None:
    env = PointNavigationVectorEnv(3, horizon=9, autoreset_mode=AutoresetMode.SAME_STEP)
    near = PointTask((0.1, 0.1))
    tasks = [near, PointTask((0.4, 0.4)), near]
    env.reset(seed=0, options={"tasks": tasks})
    env.reset(options={"tasks": None})
    env._params = (torch.tensor([task.goal for task in tasks]),)
    before = env.goals.clone()
    observations, _, terminated, _, _ = env.step(torch.full((3, 2), 0.1))
    assert terminated.tolist() == [True, False, True]
    assert (env.goals == before).all(1).tolist() == [False, True, False]
    assert observations.tolist() == [[0, 0], pytest.approx([0.1, 0.1]), [0, 0]]


def test_next_step_resets_all_where_no_episode_ends_early() -> None:
    env = PointNavigationVectorEnv(
        2, horizon=2, goal_radius=0.0, autoreset_mode=AutoresetMode.NEXT_STEP
    )
    env.reset(seed=0)
    steps = [env.step(torch.full((2, 2), 0.1)) for _ in range(3)]
    assert [s[3].any().item() for s in steps] == [False, True, False]
    assert steps[2][0].tolist() == [[0, 0], [0, 0]]
    assert steps[2][1].tolist() == [0, 0]


def test_make_and_make_vec() -> None:
    env = gymnasium.make("metarl/PointNavigation-v0", horizon=7).unwrapped
    assert isinstance(env, PointNavigationEnv)
    many = gymnasium.make_vec("metarl/PointNavigation-v0", num_envs=5, max_step=0.2)
    assert isinstance(many, PointNavigationVectorEnv)
    assert many.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert many.action_space.shape == many.observation_space.shape == (5, 2)


def test_a_trial_goes_on_to_the_next_episode_at_once() -> None:
    trial = Trial(PointNavigationEnv(horizon=3), 2)
    trial.reset(options={"task": PointTask((0.1, 0.1))})
    at, _, terminated, truncated, info = trial.step(np.array([0.1, 0.1]))
    assert (terminated, truncated, info["episode_ended"], info["trial_episode"]) == (
        False,
        False,
        True,
        1,
    )
    assert at.tolist() == [0, 0]
    assert info["final_episode_obs"].tolist() == pytest.approx([0.1, 0.1])
    ends = [trial.step(np.zeros(2))[3] for _ in range(3)]
    assert ends == [False, False, True]


def test_the_inputs_of_a_meta_learner() -> None:
    env = MetaObservation(PointNavigationEnv(horizon=4))
    first, _ = env.reset(options={"task": PointTask((0.3, 0.0))})
    assert first.tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
    after, *_ = env.step(np.array([0.5, -0.02], dtype=np.float32))
    expected = [0.1, -0.02, 0, 1, 0.25, -math.hypot(0.2, 0.02), 0.1, -0.02]
    assert after.tolist() == pytest.approx(expected)
    with pytest.raises(ValueError, match="continuous actions have none"):
        MetaObservation(PointNavigationEnv(), first_action_zero_is_set=True)


def test_a_trial_refuses_episodes_that_end_in_their_own_time() -> None:
    with pytest.raises(ValueError, match="goal_radius=0"):
        VectorTrial(PointNavigationVectorEnv(2), 2)


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_meta_observations_have_a_clock_for_each_episode(mode: AutoresetMode) -> None:
    """As `MetaObservation` around each point of Gymnasium's own vector environment."""
    near, far = PointTask((0.1, 0.1)), PointTask((0.45, 0.45))
    many = VectorMetaObservation(
        PointNavigationVectorEnv(2, horizon=3, tasks=[near, far], autoreset_mode=mode)
    )
    singles = SyncVectorEnv(
        [
            lambda task=task: MetaObservation(PointNavigationEnv(horizon=3, tasks=[task]))
            for task in (near, far)
        ],
        autoreset_mode=mode,
    )
    seen, _ = many.reset(options={"tasks": [near, far]})
    np.testing.assert_array_equal(seen, singles.reset()[0])
    rng = np.random.default_rng(0)
    for _ in range(12):
        moves = rng.uniform(0.05, 0.1, (2, 2)).astype(np.float32)
        seen, *_, info = many.step(torch.from_numpy(moves))
        wanted, *_, wanted_info = singles.step(moves)
        np.testing.assert_array_equal(seen, wanted)
        for place in range(2):
            if "final_obs" in wanted_info and wanted_info["_final_obs"][place]:
                np.testing.assert_array_equal(
                    info["final_obs"][place], wanted_info["final_obs"][place]
                )


# Tasks ----------------------------------------------------------------------------------------


def test_goals_are_uniform_in_the_square() -> None:
    for make in (np.random.default_rng, lambda seed: torch.Generator().manual_seed(seed)):
        goals = np.array([task.goal for task in PointTasks().sample(4000, make(0))])
        assert np.abs(goals).max() < 0.5
        counts = np.histogram2d(*goals.T, bins=4, range=[[-0.5, 0.5]] * 2)[0]
        assert np.abs(counts - 250).max() < 5 * math.sqrt(250)


def test_goals_of_a_region_stay_in_it() -> None:
    split = PointTasks(half_width=2.0).split(train=0.5, validation=0.2, test=0.3)
    parts = [set(part.cells) for part in split]
    assert set.union(*parts) == set(range(CELLS**2))
    assert sum(map(len, parts)) == CELLS**2
    for name, part in split._asdict().items():
        env = PointNavigationVectorEnv(500, tasks=part)
        env.reset(seed=0)
        drawn = (*env.tasks, *part.sample(500, np.random.default_rng(0)))
        for other, region in split._asdict().items():
            assert all((task in region) == (name == other) for task in drawn)


def test_a_split_does_not_depend_on_the_rest_and_averages_to_the_whole() -> None:
    whole = PointTasks()
    split, other = whole.split(), whole.split(salt="other")
    assert split.test.split(train=0.8, test=0.2).train.cells == ()
    assert split.test.cells != other.test.cells
    assert 0.1 < len(split.test.cells) / CELLS**2 < 0.3
    with pytest.raises(ValueError, match="empty region"):
        split.validation.sample(1, np.random.default_rng(0))
    parts = [point_reference_returns(part).oracle for part in (split.train, split.test)]
    share = len(split.train.cells) / CELLS**2
    mean = share * parts[0] + (1 - share) * parts[1]
    assert mean == pytest.approx(point_reference_returns(whole).oracle)


def test_an_average_over_no_goals_is_refused() -> None:
    with pytest.raises(ValueError, match="no goals"):
        point_reference_returns([])
