"""What `gymnasium.make_vec` gives: arrays, Gymnasium's autoreset; tensors if a device is named."""

import copy
import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import vector as wrappers

import envs
from tests.envs.families import every_id


@every_id
def test_the_usual_loop(env_id: str) -> None:
    """Gymnasium's documented one: reset once, then step for ever."""
    env = gymnasium.make_vec(env_id, num_envs=3, horizon=4)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    observations, info = env.reset(seed=0)
    truncations = []
    for _ in range(11):
        assert isinstance(observations, np.ndarray)
        assert observations in env.observation_space
        observations, rewards, terminated, truncated, info = env.step(env.action_space.sample())
        assert (rewards.dtype, terminated.dtype, truncated.dtype) == (np.float64, bool, bool)
        truncations.append(bool(truncated.all()))
    assert isinstance(info, dict)
    assert [t for t, cut in enumerate(truncations) if cut] == [3, 8]


@every_id
def test_actions_of_the_resetting_step_are_ignored(env_id: str) -> None:
    env: Any = gymnasium.make_vec(env_id, num_envs=2, horizon=1)
    env.reset(seed=0)
    first, _ = env.reset(options={"tasks": env.tasks})
    env.action_space.seed(0)  # a long step in the plane could find the goal
    sample = env.action_space.sample()
    assert env.step(sample)[3].all()
    nonsense = np.full_like(sample, -77 if sample.dtype == np.int64 else np.nan)
    observations, rewards, terminated, truncated, _ = env.step(nonsense)
    np.testing.assert_array_equal(observations, first)
    assert (rewards.any(), terminated.any(), truncated.any()) == (False, False, False)
    with pytest.raises(ValueError, match="actions must be"):
        env.step(nonsense)


@every_id
def test_set_tasks_stay_and_others_are_drawn_again(env_id: str) -> None:
    env: Any = gymnasium.make_vec(env_id, num_envs=8, horizon=1)
    env.reset(seed=0)
    first = env.tasks
    for _ in range(2):
        env.step(env.action_space.sample())
    assert env.tasks != first
    env.reset(options={"tasks": first})
    for _ in range(2):
        env.step(env.action_space.sample())
    assert env.tasks == first


@every_id
def test_arrays_are_copies(env_id: str) -> None:
    """Wrappers and users write into what they get."""
    one, two = (gymnasium.make_vec(env_id, num_envs=2, horizon=2) for _ in range(2))
    for env in (one, two):
        env.reset(seed=0)
        env.action_space.seed(0)
    for _ in range(7):
        result, other = one.step(one.action_space.sample()), two.step(two.action_space.sample())
        for array, same in zip(result[:4], other[:4], strict=True):
            np.testing.assert_array_equal(array, same)
            array[...] = 1


@every_id
@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_a_device_gives_tensors(env_id: str, device: Any) -> None:
    env = gymnasium.make_vec(env_id, num_envs=2, horizon=3, device=device)
    observations, _ = env.reset(seed=0)
    arrays, _ = gymnasium.make_vec(env_id, num_envs=2, horizon=3).reset(seed=0)
    assert isinstance(observations, torch.Tensor)
    np.testing.assert_array_equal(observations, arrays)
    *step, _ = env.step(torch.from_numpy(env.action_space.sample()))
    assert all(isinstance(part, torch.Tensor) for part in step)


@every_id
def test_read_only_actions(env_id: str) -> None:
    env = gymnasium.make_vec(env_id, num_envs=2)
    env.reset(seed=0)
    actions = env.action_space.sample()
    actions.setflags(write=False)
    env.step(actions)


@every_id
def test_copies_and_pickles_go_on_alike(env_id: str) -> None:
    env = gymnasium.make_vec(env_id, num_envs=3, horizon=5)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    twins = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    for _ in range(9):
        actions = env.action_space.sample()
        wanted = env.step(actions)
        for twin in twins:
            for one, other in zip(twin.step(actions)[:4], wanted[:4], strict=True):
                np.testing.assert_array_equal(one, other)


@every_id
def test_our_wrappers_speak_as_the_environment_does(env_id: str) -> None:
    wrapped = []
    for place in ({}, {"device": "cpu"}):
        env = gymnasium.make_vec(env_id, num_envs=2, horizon=2, **place)
        wrapped.append(envs.VectorMetaObservation(envs.VectorTrial(env, 2)))
    arrays, tensors = wrapped
    (first, info), (other, _) = (env.reset(seed=0) for env in wrapped)
    assert isinstance(first, np.ndarray)
    assert info["trial_episode"].tolist() == [0, 0]
    np.testing.assert_array_equal(first, other)
    ends = []
    for _ in range(11):
        actions = arrays.action_space.sample()
        mine, theirs = arrays.step(actions), tensors.step(torch.from_numpy(actions))
        for one, same in zip(mine[:4], theirs[:4], strict=True):
            np.testing.assert_array_equal(one, same)
        ends.append(bool(mine[3].all()))
    assert [t for t, end in enumerate(ends) if end] == [3, 8]  # a trial of 4, and the reset


def test_a_foreign_wrapper_inside_ours() -> None:
    """Inputs are made of arrays too, but a trial needs the tensors: all start in lock step."""
    ours = gymnasium.make_vec("metarl/GridMaze-v0", num_envs=2, horizon=3)
    theirs = gymnasium.make_vec("metarl/GridMaze-v0", num_envs=2, horizon=3)
    inside = envs.VectorMetaObservation(wrappers.RecordEpisodeStatistics(theirs))
    around = envs.VectorMetaObservation(ours)
    assert inside.observation_space == around.observation_space
    np.testing.assert_array_equal(inside.reset(seed=0)[0], around.reset(seed=0)[0])
    for _ in range(9):
        actions = around.action_space.sample()
        for one, other in zip(inside.step(actions)[:4], around.step(actions)[:4], strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match=r"RecordEpisodeStatistics around it .* device='cpu'"):
        envs.VectorTrial(wrappers.RecordEpisodeStatistics(theirs), 2)


@pytest.mark.parametrize(
    ("num_envs", "message"),
    [
        (1.5, "num_envs must be a whole number, at least 1, got 1.5"),
        (True, "num_envs must be a whole number, at least 1, got True"),
        (0, "num_envs must be at least 1, got 0"),
        (-3, "num_envs must be at least 1, got -3"),
        (2**40, "num_envs must be at most"),
        ("3", "num_envs must be a whole number, at least 1, got '3'"),
        (float("nan"), "num_envs must be a whole number, at least 1, got nan"),
    ],
)
@every_id
def test_numbers_of_environments_that_mean_nothing(
    env_id: str, num_envs: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        gymnasium.make_vec(env_id, num_envs=num_envs)


@every_id
def test_whole_numbers_of_other_types(env_id: str) -> None:
    for number in (np.int64(2), np.uint8(2), 2.0, torch.tensor(2)):
        env = gymnasium.make_vec(env_id, num_envs=number)  # type: ignore[arg-type]
        assert env.num_envs == 2
        assert type(env.num_envs) is int


def test_a_render_mode_that_an_environment_has_not_is_named() -> None:
    with pytest.raises(ValueError, match="render_mode must be None or one of"):
        gymnasium.make_vec("metarl/Bandit-v0", num_envs=2, render_mode="rgb_array")


@every_id
def test_a_specification_makes_the_same_again(env_id: str) -> None:
    env = gymnasium.make_vec(env_id, num_envs=3, horizon=7)
    assert env.spec is not None
    assert env.spec.max_episode_steps == 7
    again: Any = gymnasium.make_vec(env.spec)
    assert (again.num_envs, again.horizon, repr(again)) == (3, 7, repr(env))
