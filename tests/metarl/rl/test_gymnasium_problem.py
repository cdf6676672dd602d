"""Anybody's environments and problems, by their own module."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import FilterObservation
from minigrid.wrappers import ImgObsWrapper

from envs import MetaObservation, Trial
from metarl.errors import UserError
from metarl.rl import GymnasiumProblem
from metarl.rl.gymnasium_problem import SeededTasks, problem_of
from metarl.rl.problem import check_problem, unseen_tasks
from tests.metarl.rl import lines

HERE = "tests.metarl.rl.lines"
CPU = torch.device("cpu")


def generators(count=1, seed=0):
    return [torch.Generator().manual_seed(seed + n) for n in range(count)]


@pytest.mark.parametrize("factory", ["single", "vector", "told", "continuous"])
def test_what_a_factory_makes_is_a_problem(factory):
    problem = check_problem(problem_of(f"{HERE}:{factory}"))
    assert problem.horizon == 6
    assert problem.observation.shape == (3,)
    env = problem.make_env(4, generators(2), CPU)
    observation, _ = env.reset(options={"tasks": None})
    assert observation.shape == (4, 3)
    actions = torch.ones(4, 1) if factory == "continuous" else torch.ones(4, dtype=torch.int64)
    for _ in range(6):
        *_, terminated, _, _ = env.step(actions)
    assert terminated.all()


def test_a_seed_is_the_task_where_nothing_else_is_known():
    problem = problem_of(f"{HERE}:single")
    env = problem.make_env(2, generators(), CPU)
    env.reset(options={"tasks": [11, 20]})
    for again in ({"same_task": True}, None):
        env.reset(options=again)
        env.step(torch.ones(2, dtype=torch.int64))
        _, rewards, *_ = env.step(torch.ones(2, dtype=torch.int64))
        assert rewards.tolist() == [1, 0]


def test_seeds_of_the_sides_are_apart():
    sides = [SeededTasks(side) for side in ("train", "validation", "test")]
    digits = [{seed % 10 for seed in side.sample(300, torch.Generator())} for side in sides]
    assert digits == [set(range(7)), {7}, {8, 9}]


def test_tasks_are_told_kept_and_drawn_by_generators_of_their_own():
    problem = lines.told()

    def returns(seed):
        env = problem.make_env(6, generators(3, seed), CPU)
        seen = []
        for options in ({"tasks": None}, {"same_task": True}, None):
            env.reset(options=options)
            env.step(torch.ones(6, dtype=torch.int64))
            seen.append(env.step(torch.ones(6, dtype=torch.int64))[1].tolist())
        return seen

    first, again, other = returns(0)
    assert first == again
    assert returns(0) == [first, again, other]
    assert any(returns(seed)[0] != first for seed in range(1, 9))


def test_an_environment_goes_on_with_other_generators():
    problem = lines.told()
    one, two = (problem.make_env(4, generators(4, seed), CPU) for seed in (0, 7))
    one.use_generators(generators(4, 7))
    for env in (one, two):
        env.reset(options={"tasks": None})
    assert list(one._tasks) == list(two._tasks)
    with pytest.raises(ValueError, match="4 environments cannot be shared evenly by 3"):
        one.use_generators(generators(3))


def test_finite_tasks_are_taken_once_and_others_are_drawn():
    generator = torch.Generator().manual_seed(0)
    assert sorted(unseen_tasks(lines.told(), "test", 9, generator)) == [-3, 3]
    seeds = unseen_tasks(problem_of(f"{HERE}:single"), "validation", 5, generator)
    assert [seed % 10 for seed in seeds] == [7] * 5


def test_pictures_are_those_that_environments_draw():
    problem = problem_of(f"{HERE}:single")
    env = problem.make_env(2, generators(), CPU)
    env.reset(options={"tasks": [1, 2]})
    frames = problem.watch(env)
    assert frames.shape == (2, 20, 60, 3)
    assert frames.dtype == torch.uint8
    blind = problem_of(f"{HERE}:blind")
    env = blind.make_env(1, generators(), CPU)
    env.reset(options={"tasks": [1]})
    with pytest.raises(UserError, match="render_mode='rgb_array'"):
        blind.watch(env)


@pytest.mark.parametrize(
    ("path", "steps", "message"),
    [
        ("no.such.module:make", None, "No module named"),
        (f"{HERE}:nothing", None, "lines has no nothing"),
        (f"{HERE}:NUMBER", None, "NUMBER is a int, not a factory"),
        (f"{HERE}:fixed_vector", None, "makes a vector environment of 2"),
        (f"{HERE}:endless", None, "no telling how long an episode is: give --horizon"),
        (f"{HERE}:shared_tasks", None, "1 of 2 test tasks are train tasks too, such as 1"),
        (f"{HERE}:Blind.__doc__", None, "has no Blind.__doc__"),
        ("collections:Counter", None, "Counter is no problem, it has no name"),
        ("builtins:list", 4, "--horizon is for Gymnasium environments"),
    ],
)
def test_what_is_no_problem_is_refused_with_the_reason(path, steps, message):
    with pytest.raises(UserError, match=message):
        assert check_problem(problem_of(path, steps)).horizon


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (lambda: gymnasium.make("CartPole-v1"), 500),
        (lambda: gymnasium.make("CartPole-v1", max_episode_steps=20), 20),
        (lambda: ImgObsWrapper(gymnasium.make("MiniGrid-Empty-5x5-v0", max_steps=7)), 7),
        (lambda: gymnasium.make("metarl/Bandit-v0", horizon=9), 9),
        (lambda: MetaObservation(Trial(gymnasium.make("CartPole-v1"), 3)), 1500),
        (lambda: MetaObservation(Trial(gymnasium.make("metarl/Bandit-v0", horizon=9), 3)), 27),
    ],
)
def test_the_horizon_is_read(make, steps):
    assert GymnasiumProblem(make).horizon == steps


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: gymnasium.make("FrozenLake-v1"), 16),
        (lambda: gymnasium.make("Taxi-v4"), 500),
        (lambda: gymnasium.make("Blackjack-v1", max_episode_steps=9), 45),
        (
            lambda: FilterObservation(
                gymnasium.make("MiniGrid-Empty-5x5-v0"), ["image", "direction"]
            ),
            151,
        ),
    ],
)
def test_observations_that_flatten_become_arrays(make, size):
    problem = GymnasiumProblem(make)
    assert problem.observation.shape == (size,)
    env = problem.make_env(3, generators(), CPU)
    observation, _ = env.reset()
    for _ in range(3):
        assert observation.shape == (3, size)
        assert observation.dtype == torch.float32
        observation, *_ = env.step(torch.zeros(3, dtype=torch.int64))


def test_observations_that_do_not_are_named():
    with pytest.raises(UserError, match="wrap each environment in minigrid"):
        _ = GymnasiumProblem(lambda: gymnasium.make("MiniGrid-Empty-5x5-v0")).observation


def test_the_horizon_may_be_given():
    assert problem_of(f"{HERE}:endless", 5).horizon == 5
    assert problem_of(f"{HERE}:told", 3).horizon == 3


def test_told_tasks_need_a_source():
    with pytest.raises(UserError, match="give GymnasiumProblem train=, validation= and test="):
        GymnasiumProblem(lines.single, task_via="option")


def test_observations_are_flat_numbers():
    assert np.isfinite(problem_of(f"{HERE}:single").observation.low).all()
