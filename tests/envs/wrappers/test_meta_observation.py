import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import wrappers
from gymnasium.vector import AutoresetMode

from envs import (
    GridMazeEnv,
    GridMazeVectorEnv,
    MazeTask,
    MetaObservation,
    Trial,
    VectorMetaObservation,
    VectorTrial,
    pillar_maze,
)

SMALL = pillar_maze(5)


def test_the_seventeen_inputs_in_their_order() -> None:
    env = MetaObservation(GridMazeEnv(size=5, horizon=4, wall_penalty=0.5))
    observation, _ = env.reset(options={"task": MazeTask(SMALL, (1, 1))})
    assert observation.dtype == np.float32
    assert observation.tolist() == [0] * 9 + [0, 1, 0.0, 0] + [0, 0, 0, 0]
    observation, *_ = env.step(3)  # to the right-hand wall
    walls = [0, 0, 1] * 3
    assert observation.tolist() == [*walls, 0, 1, 0.25, 0, 0, 0, 0, 1]
    observation, *_ = env.step(3)  # into it
    assert observation.tolist() == [*walls, 0, 1, 0.5, -0.5, 0, 0, 0, 1]


def test_the_reward_of_a_find_is_seen_raw() -> None:
    env = MetaObservation(GridMazeEnv(size=5))
    env.reset(options={"task": MazeTask(SMALL, (1, 2))})
    observation, reward, *_ = env.step(0)
    assert reward == 10.0
    assert observation[12] == 10.0
    assert observation[13:].tolist() == [1, 0, 0, 0]
    observation, _ = env.reset()
    assert observation[11:].tolist() == [0] * 6


def test_published_quirk_sets_the_bit_of_action_zero() -> None:
    env = MetaObservation(GridMazeEnv(size=5), first_action_zero_is_set=True)
    assert env.reset(seed=0)[0][13:].tolist() == [1, 0, 0, 0]
    vector = VectorMetaObservation(GridMazeVectorEnv(3, size=5), first_action_zero_is_set=True)
    assert vector.reset(seed=0)[0][:, 13:].tolist() == [[1, 0, 0, 0]] * 3


def test_without_the_unused_input_there_are_sixteen() -> None:
    env = MetaObservation(GridMazeEnv(size=5), unused_input=False)
    observation, _ = env.reset(seed=0)
    assert observation.shape == env.observation_space.shape == (16,)
    assert observation[9] == 1
    vector = VectorMetaObservation(GridMazeVectorEnv(3, size=5), unused_input=False)
    assert vector.reset(seed=0)[0].shape == vector.observation_space.shape == (3, 16)


@pytest.mark.parametrize("num_episodes", [1, 3])
def test_time_never_exceeds_one(num_episodes: int) -> None:
    horizon = 5 * num_episodes
    single = MetaObservation(Trial(GridMazeEnv(size=5, horizon=5), num_episodes))
    vector = VectorMetaObservation(
        VectorTrial(GridMazeVectorEnv(2, size=5, horizon=5), num_episodes)
    )
    for _ in range(2):
        single.reset(seed=0)
        vector.reset(seed=0)
        for t in range(1, horizon + 1):
            expected = pytest.approx(t / horizon)
            assert single.step(0)[0][11] == expected
            assert vector.step(torch.zeros(2, dtype=torch.int64))[0][0, 11] == expected
    assert vector.horizon == horizon


def test_observations_lie_in_the_space() -> None:
    env = MetaObservation(GridMazeEnv(size=5, horizon=50, wall_penalty=1.0))
    assert env.reset(seed=0)[0] in env.observation_space
    rng = np.random.default_rng(0)
    rewards = set()
    for _ in range(50):
        observation, reward, *_ = env.step(rng.integers(4))
        rewards.add(reward)
        assert observation in env.observation_space
    assert rewards == {0.0, -1.0, 10.0}


def test_tensors_are_new_each_step() -> None:
    env = VectorMetaObservation(GridMazeVectorEnv(2, size=5))
    first, _ = env.reset(seed=0)
    kept = first.clone()
    second, *_ = env.step(torch.tensor([0, 1]))
    again = second.clone()
    env.step(torch.tensor([2, 3]))
    assert torch.equal(first, kept)
    assert torch.equal(second, again)


def test_same_step_autoreset_starts_afresh_and_keeps_the_final_observation() -> None:
    env = VectorMetaObservation(
        GridMazeVectorEnv(2, size=5, horizon=3, autoreset_mode=AutoresetMode.SAME_STEP)
    )
    env.reset(seed=0)
    for _ in range(2):
        for _ in range(3):
            observation, rewards, _, truncated, info = env.step(torch.tensor([0, 3]))
        assert truncated.all()
        assert observation[:, 11:].tolist() == [[0] * 6] * 2
        assert info["final_obs"].shape == (2, 17)
        assert info["final_obs"][:, 11].tolist() == [1, 1]
        assert info["final_obs"][:, 12].tolist() == rewards.tolist()
        assert info["final_obs"][:, 13:].tolist() == [[1, 0, 0, 0], [0, 0, 0, 1]]


def test_next_step_autoreset_starts_afresh() -> None:
    env = VectorMetaObservation(
        GridMazeVectorEnv(2, size=5, horizon=2, autoreset_mode=AutoresetMode.NEXT_STEP)
    )
    env.reset(seed=0)
    for _ in range(2):
        times = [env.step(torch.tensor([0, 3]))[0][0, 11].item() for _ in range(3)]
        assert times == [0.5, 1.0, 0.0]
        env.reset()


def test_actions_of_a_step_that_only_begins_an_episode_are_ignored() -> None:
    mazes = GridMazeVectorEnv(2, size=5, horizon=1, respawn="end", autoreset_mode="NextStep")
    env = VectorMetaObservation(mazes)
    first, _ = env.reset(seed=0)
    env.step(torch.tensor([0, 1]))
    observation, *_ = env.step(torch.tensor([9, -7]))
    assert torch.equal(observation, first)


def test_actions_may_be_arrays() -> None:
    env = VectorMetaObservation(GridMazeVectorEnv(2, size=5))
    env.reset(seed=0)
    observation, *_ = env.step(np.array([1, 2]))  # type: ignore[arg-type]
    assert observation[:, 13:].tolist() == [[0, 1, 0, 0], [0, 0, 1, 0]]


def test_what_is_no_environment_of_that_kind_is_refused() -> None:
    single, vector = gymnasium.make("CartPole-v1"), gymnasium.make_vec("CartPole-v1", num_envs=2)
    with pytest.raises(TypeError, match=r"single Gymnasium environment, .* take VectorMetaObs"):
        MetaObservation(vector)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"vector environment, .* take MetaObservation"):
        VectorMetaObservation(single)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="single Gymnasium environment, got maze"):
        MetaObservation("maze")  # type: ignore[arg-type]


def test_bounds_of_rewards_are_not_those_that_a_wrapper_below_has_changed() -> None:
    one = MetaObservation(wrappers.TransformReward(GridMazeEnv(size=5), lambda reward: reward + 99))
    many = VectorMetaObservation(
        wrappers.vector.TransformReward(GridMazeVectorEnv(2, size=5), lambda reward: reward + 99)
    )
    assert many.single_observation_space == one.observation_space
    many.reset(seed=0)
    observations, *_ = many.step(torch.zeros(2, dtype=torch.int64))
    assert observations.numpy() in many.observation_space
