import numpy as np
import pytest
import torch
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


def test_a_trial_keeps_its_task_and_hides_the_inner_ends() -> None:
    env = Trial(GridMazeEnv(size=13, horizon=4), 3)
    tasks = set()
    for _ in range(5):
        env.reset()
        task = env.unwrapped.task
        ends, episodes, truncations = [], [], []
        for _ in range(12):
            _, _, _, truncated, info = env.step(0)
            assert env.unwrapped.task == task
            ends.append(info["episode_ended"])
            episodes.append(info["trial_episode"])
            truncations.append(truncated)
        assert ends == [False, False, False, True] * 3
        assert episodes == [0] * 3 + [1] * 4 + [2] * 5
        assert truncations == [False] * 11 + [True]
        tasks.add(task)
    assert len(tasks) > 1, "every trial draws a new task"


def test_vector_trial_does_the_same() -> None:
    env = VectorTrial(GridMazeVectorEnv(6, size=13, horizon=4), 3)
    drawn = []
    for _ in range(3):
        _, info = env.reset()
        drawn.append(info["goals"])
        ends, truncations = [], []
        for _ in range(12):
            _, _, _, truncated, info = env.step(torch.zeros(6, dtype=torch.int64))
            assert torch.equal(env.unwrapped.goals, drawn[-1])
            ends.append(info["episode_ended"])
            truncations.append(truncated.all().item())
        assert ends == [False, False, False, True] * 3
        assert truncations == [False] * 11 + [True]
    assert not torch.equal(drawn[0], drawn[1])


def test_every_episode_starts_at_the_start() -> None:
    env = Trial(GridMazeEnv(size=5, horizon=2), 2)
    env.reset(options={"task": MazeTask(SMALL, (3, 3))})
    env.step(0)
    _, _, _, _, info = env.step(2)
    assert env.unwrapped.agent_position == (2, 2)
    assert info["final_episode_obs"].tolist() == [1, 1, 1, 1, 0, 0, 1, 0, 0]


def test_previous_action_and_reward_cross_the_episodes() -> None:
    task = MazeTask(SMALL, (1, 2))
    single = MetaObservation(Trial(GridMazeEnv(size=5, horizon=1), 2))
    single.reset(options={"task": task})
    vector = VectorMetaObservation(VectorTrial(GridMazeVectorEnv(1, size=5, horizon=1), 2))
    vector.reset(options={"tasks": [task]})
    for observation in (single.step(0)[0], vector.step(torch.tensor([0]))[0][0]):
        assert observation.tolist() == [0] * 9 + [0, 1, 0.5, 10.0, 1, 0, 0, 0]
    assert single.unwrapped.agent_position == (2, 2)


def test_episode_flag_marks_first_observations() -> None:
    single = Trial(GridMazeEnv(size=5, horizon=3), 2, episode_flag=True)
    vector = VectorTrial(GridMazeVectorEnv(2, size=5, horizon=3), 2, episode_flag=True)
    flags = [single.reset(seed=0)[0][-1]]
    many = [vector.reset(seed=0)[0][:, -1].tolist()]
    for _ in range(6):
        flags.append(single.step(0)[0][-1])
        many.append(vector.step(torch.zeros(2, dtype=torch.int64))[0][:, -1].tolist())
    assert flags == [1, 0, 0, 1, 0, 0, 0]
    assert many == [[flag, flag] for flag in flags]
    assert single.observation_space.shape == (10,)
    assert vector.observation_space.shape == (2, 10)


def test_tasks_set_from_outside_stay() -> None:
    env = Trial(GridMazeEnv(size=5, horizon=2), 2)
    task = MazeTask(SMALL, (1, 1))
    env.reset(options={"task": task})
    env.reset()
    assert env.unwrapped.task == task


def test_teleports_cover_the_trial() -> None:
    task = MazeTask(SMALL, (1, 2))
    env = Trial(GridMazeEnv(size=5, horizon=1), 3)
    env.reset(options={"task": task, "teleports": np.array([0, 3, 7])})
    env.step(0)
    env.step(0)
    env.step(0)
    assert env.unwrapped.agent_position == (3, 3)
    with pytest.raises(ValueError, match="cover 2 steps, and the trial has 3"):
        env.reset(options={"teleports": np.array([0, 1])})


def test_what_cannot_be_a_trial_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Trial(GridMazeEnv(), 0)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        VectorTrial(GridMazeVectorEnv(2), 0)
    with pytest.raises(ValueError, match="wrap the trial in it instead"):
        Trial(MetaObservation(GridMazeEnv()), 2)
    with pytest.raises(ValueError, match="wrap the trial in it instead"):
        VectorTrial(VectorMetaObservation(GridMazeVectorEnv(2)), 2)
    with pytest.raises(ValueError, match=r"AutoresetMode\.DISABLED or NEXT_STEP"):
        VectorTrial(GridMazeVectorEnv(2, autoreset_mode=AutoresetMode.SAME_STEP), 2)


def test_episodes_that_end_early_wait_for_the_others() -> None:
    env = VectorTrial(GridMazeVectorEnv(2, size=5, horizon=3, respawn="end"), 2, wait=True)
    tasks = [MazeTask(SMALL, (1, 2)), MazeTask(SMALL, (3, 3))]
    env.reset(options={"tasks": tasks})
    paid, positions, ends = [], [], []
    for _ in range(6):
        _, rewards, terminated, truncated, info = env.step(torch.zeros(2, dtype=torch.int64))
        assert not terminated.any()
        paid.append(rewards.tolist())
        positions.append(env.unwrapped.agent_positions[0].tolist())
        ends.append((info["episode_ended"], truncated.tolist()))
    assert paid == [[10.0, 0.0], [0.0, 0.0], [0.0, 0.0]] * 2, "the goal again in each episode"
    assert positions == [[1, 2], [1, 2], [2, 2], [1, 2], [1, 2], [1, 2]]
    assert ends == [(False, [False] * 2)] * 2 + [(True, [False] * 2)] + [
        (False, [False] * 2),
        (False, [False] * 2),
        (True, [True] * 2),
    ]
    with pytest.raises(ValueError, match="let them wait for each other"):
        VectorTrial(GridMazeVectorEnv(2, respawn="end"), 2)
    with pytest.raises(ValueError, match="which they do in mode DISABLED"):
        VectorTrial(GridMazeVectorEnv(2, respawn="end", autoreset_mode="NextStep"), 2, wait=True)
