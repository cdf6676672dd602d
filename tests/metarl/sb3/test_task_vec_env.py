"""Tensor environments by SB3's conventions: against a table, against its own VecEnv, under PPO."""

import subprocess
import sys
from itertools import pairwise

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import _check_obs
from stable_baselines3.common.vec_env import DummyVecEnv, VecCheckNan, VecMonitor

from envs import (
    GridMazeVectorEnv,
    PointNavigationEnv,
    PointNavigationVectorEnv,
    PointTasks,
    TaskSet,
    maze_tasks,
    pillar_maze,
)
from metarl.sb3 import TaskVecEnv
from tests.metarl.rl.ending_env import ENDS, TensorEndingEnv

LAYOUT = pillar_maze(5)
GOALS = maze_tasks(LAYOUT)
SPACES = {"observation_space": Box(-1, 100, (2,), np.float32), "action_space": Discrete(2)}


def mazes(num_envs=6, horizon=4, **arguments):
    generator = torch.Generator().manual_seed(0)
    env = GridMazeVectorEnv(num_envs, layout=LAYOUT, horizon=horizon, generator=generator)
    return TaskVecEnv(env, **arguments)


def points(num_envs, **arguments):
    arguments = {"autoreset_mode": AutoresetMode.SAME_STEP, "goal_radius": 0.1} | arguments
    return PointNavigationVectorEnv(num_envs, horizon=7, **arguments)


def test_ends_are_told_apart_and_the_next_episode_begins_at_once():
    """Against the table: termination wins, an end that is both is none of the limit's."""
    env = TaskVecEnv(TensorEndingEnv("same_step"), **SPACES)
    observation = env.reset()
    assert observation.tolist() == [[0, 0]] * len(ENDS)
    for t in range(1, 6):
        observation, rewards, dones, infos = env.step(np.zeros(len(ENDS), dtype=np.int64))
        assert (rewards.dtype, dones.dtype) == (np.float32, np.bool_)
        for n, (length, how) in enumerate(ENDS):
            episode, time = divmod(t - 1, length)
            over = time + 1 == length
            assert dones[n] == (over and how != "")
            assert infos[n]["TimeLimit.truncated"] == (over and how == "truncated")
            assert rewards[n] == 10 * episode + time
            if dones[n]:
                assert infos[n]["terminal_observation"].tolist() == [episode, length]
                assert observation[n].tolist() == [episode + 1, 0]
            else:
                assert "terminal_observation" not in infos[n]


def test_an_environment_that_begins_no_others_is_refused_or_waited_for():
    env = TaskVecEnv(TensorEndingEnv("disabled"), **SPACES)
    env.reset()
    with pytest.raises(ValueError, match=r"1 of 6 episodes have ended and .*SAME_STEP"):
        env.step(np.zeros(6, dtype=np.int64))
    inner = TensorEndingEnv("disabled")
    inner.may_truncate |= inner.length == 9
    waiting = TaskVecEnv(inner, **SPACES, wait=True)
    waiting.reset()
    ended = np.zeros(6, dtype=int)
    for t in range(1, 10):
        observation, _, dones, infos = waiting.step(np.zeros(6, dtype=np.int64))
        assert [n for n in range(6) if dones[n]] == [n for n in range(6) if ENDS[n][0] == t]
        assert all(("terminal_observation" in infos[n]) == dones[n] for n in range(6))
        ended += dones
    assert ended.tolist() == [1] * 6
    assert observation.tolist() == [[0, 0]] * 6  # all have ended: it begins anew


@pytest.mark.parametrize("goal_radius", [0.0, 0.15])
def test_it_does_what_sb3s_own_vec_env_does(goal_radius):
    """Points are deterministic: the same tasks, the same actions, everything must be the same."""
    tasks = PointTasks().sample(5, np.random.default_rng(0))

    def one(task):
        env = PointNavigationEnv(horizon=7, goal_radius=goal_radius)
        env.task = task
        return env

    theirs = DummyVecEnv([lambda task=task: one(task) for task in tasks])
    ours = TaskVecEnv(points(5, goal_radius=goal_radius), tasks=tasks)
    assert (ours.observation_space, ours.action_space) == (
        theirs.observation_space,
        theirs.action_space,
    )
    goals = np.array([task.goal for task in tasks])
    expected, found = theirs.reset(), ours.reset()
    ends = 0
    for _ in range(20):
        np.testing.assert_array_equal(found, expected)
        actions = (goals - expected).clip(-0.1, 0.1).astype(np.float32)
        expected, *rest, infos = theirs.step(actions)
        found, *ours_rest, our_infos = ours.step(actions)
        for mine, other in zip(ours_rest, rest, strict=True):
            np.testing.assert_array_equal(mine, other)
            assert mine.dtype == other.dtype
        for mine, other in zip(our_infos, infos, strict=True):
            other.pop("task_id")
            assert mine.keys() == other.keys()
            assert mine["TimeLimit.truncated"] == other["TimeLimit.truncated"]
            if "terminal_observation" in other:
                ends += 1
                np.testing.assert_array_equal(
                    mine["terminal_observation"], other["terminal_observation"]
                )
    assert ends > 5


class SharingEnv(TensorEndingEnv):
    """Hands out the same tensors at every step."""

    kept = torch.zeros(6)
    seen = torch.zeros(6, 2)

    def step(self, actions):
        observation, _, *rest = super().step(actions)
        self.seen.copy_(observation)
        return self.seen, self.kept, *rest


def test_what_it_returns_is_the_callers():
    """SB3 adds to the rewards and keeps observations: nothing is shared between steps."""
    env = TaskVecEnv(SharingEnv("same_step"), **SPACES)
    env.reset()
    kept, copies = [], []
    for _ in range(3):
        observation, rewards, _, infos = env.step(np.ones(6, dtype=np.int64))
        assert (rewards == 0).all()
        rewards += 5.0
        kept.append(observation)
        copies.append(observation.copy())
        infos[0]["mark"] = 1
        assert "mark" not in infos[1]
    assert all(np.array_equal(a, b) for a, b in zip(kept, copies, strict=True))
    assert not np.array_equal(*kept[:2])


def tasks_of_episodes(env, num_episodes, horizon=4):
    env.reset()
    seen = []
    for _ in range(num_episodes):
        seen.append(env.env.tasks)
        for _ in range(horizon):
            *_, dones, _ = env.step(np.zeros(env.num_envs, dtype=np.int64))
        assert dones.all()
    return seen


def test_given_tasks_are_kept_and_a_source_gives_others_at_each_episode():
    tasks = GOALS.sample(6, np.random.default_rng(3))
    assert tasks_of_episodes(mazes(tasks=tasks), 3) == [tasks] * 3
    half = TaskSet(GOALS.tasks[:5])
    generators = [torch.Generator().manual_seed(2) for _ in range(2)]
    drawn = tasks_of_episodes(mazes(source=half, generator=generators[0]), 4)
    assert drawn == [half.sample(6, generators[1]) for _ in range(4)]
    assert all(a != b for a, b in pairwise(drawn))


def test_a_task_is_set_like_sb3_sets_options_and_attributes():
    tasks = GOALS.sample(6, np.random.default_rng(3))
    env = mazes()
    env.set_options([{"task": task} for task in tasks])
    env.reset()
    env.reset()  # options are for one reset, but a task stays
    assert env.env.tasks == tasks
    assert env.get_attr("task") == list(tasks)
    assert env.get_attr("task", [1, 4]) == [tasks[1], tasks[4]]
    env.set_attr("task", GOALS[0], 2)
    env.reset()
    assert env.env.tasks == (*tasks[:2], GOALS[0], *tasks[3:])
    env.set_attr("task", GOALS[1])
    env.reset()
    assert env.env.tasks == (GOALS[1],) * 6
    with pytest.raises(ValueError, match="options must be"):
        env.set_options({"goal": 3})
        env.reset()


def test_attributes_and_methods():
    env = mazes()
    env.reset()
    assert env.get_attr("horizon", [0, 3]) == [4, 4]
    assert env.env_method("__repr__") == [repr(env.env)] * 6
    assert env.env_is_wrapped(gymnasium.Wrapper, [0, 1]) == [False, False]
    assert not env.has_attr("no_such")
    assert len(env.get_attr("task")) == 6  # drawn by the environment
    with pytest.raises(AttributeError, match="horizon cannot be set for single environments"):
        env.set_attr("horizon", 3)
    with pytest.raises(ValueError, match="reset is one method for all 6"):
        env.env_method("reset", indices=[0])


def test_pictures():
    env = GridMazeVectorEnv(2, layout=LAYOUT, render_mode="rgb_array")
    pictures = TaskVecEnv(env)
    pictures.reset()
    assert pictures.render_mode == "rgb_array"
    assert pictures.render().ndim == 3


def test_seeds_repeat_and_are_for_one_reset():
    def play(env, seed):
        env.seed(seed)
        env.reset()
        first = env.get_attr("task") if env._source is None else list(env.env.tasks)
        env.reset()
        return [*first, *env.env.tasks]

    for source in (None, GOALS):
        one, same, other = (play(mazes(source=source), seed) for seed in (5, 5, 6))
        assert one == same != other
        assert one[:6] != one[6:]


def test_an_environment_without_seeds_refuses_one():
    env = TaskVecEnv(TensorEndingEnv("same_step"), **SPACES)
    env.seed(0)
    with pytest.raises(ValueError, match="takes no seed"):
        env.reset()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": [1] * 6, "source": GOALS}, "not both"),
        ({"tasks": [1]}, "got 1 tasks for 6 environments"),
    ],
)
def test_tasks_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        mazes(**arguments)


def test_a_source_is_refused_where_episodes_begin_by_themselves():
    with pytest.raises(ValueError, match="hand the source"):
        TaskVecEnv(points(3), source=PointTasks())
    with pytest.raises(ValueError, match="does not say its spaces"):
        TaskVecEnv(TensorEndingEnv("same_step"))


@pytest.mark.parametrize("make", [mazes, lambda: TaskVecEnv(points(6))])
def test_sb3s_checks_and_ppo(make):
    env = VecMonitor(VecCheckNan(make(), raise_exception=True))
    for observation in env.reset():
        _check_obs(observation, env.observation_space, "reset")
    model = PPO("MlpPolicy", env, n_steps=10, batch_size=20, n_epochs=1, device="cpu", seed=0)
    model.learn(120)
    assert model.num_timesteps == 120
    assert {info["l"] for info in model.ep_info_buffer} <= {1, 2, 3, 4, 5, 6, 7}
    assert len(model.ep_info_buffer) >= 12


@pytest.mark.parametrize("name", ["GridMaze", "PointNavigation", "GridNavi", "Bandit"])
def test_gymnasium_ids_go_into_sb3s_own_vec_env(name):
    def make():
        return gymnasium.make(f"metarl/{name}-v0", horizon=6)

    model = PPO("MlpPolicy", DummyVecEnv([make] * 3), n_steps=8, batch_size=12, device="cpu")
    assert model.learn(24).num_timesteps == 24


def test_importing_metarl_does_not_import_sb3():
    code = "import sys, metarl; sys.exit('stable_baselines3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
