"""Tests that run over every environment registered under ``metarl/``."""

import copy
import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Discrete
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_env_sb3

import envs
from envs import GridMazeEnv, GridMazeVectorEnv, MetaObservation, Trial, maze_tasks

IDS = sorted(id for id in gymnasium.registry if id.startswith("metarl/"))


def wrapped(env: gymnasium.Env, wrapping: str) -> gymnasium.Env:  # type: ignore[type-arg]
    match wrapping:
        case "bare":
            return env
        case "meta":
            return MetaObservation(env)
        case "trial":
            return Trial(env, 2, episode_flag=True)
        case _:
            return MetaObservation(Trial(env, 2))


def test_there_is_something_to_test() -> None:
    assert "metarl/GridMaze-v0" in IDS


@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version")  # wrapped on purpose
@pytest.mark.filterwarnings("ignore:.*infinity. This is probably too")  # rewards have no bounds
@pytest.mark.parametrize("wrapping", ["bare", "meta", "trial", "meta of trial"])
@pytest.mark.parametrize("env_id", IDS)
def test_gymnasium_checker(env_id: str, wrapping: str) -> None:
    env = gymnasium.make(env_id, disable_env_checker=True, horizon=20)
    if wrapping == "bare":
        check_env(env.unwrapped)
    else:
        check_env(wrapped(env, wrapping), skip_render_check=True)


@pytest.mark.filterwarnings("ignore:We recommend you to use a symmetric and normalized Box action")
@pytest.mark.filterwarnings("ignore:The minimal resolution for an image is 36x36")  # 7 x 7 cells
@pytest.mark.parametrize("wrapping", ["bare", "meta", "trial", "meta of trial"])
@pytest.mark.parametrize("env_id", IDS)
def test_stable_baselines_checker(env_id: str, wrapping: str) -> None:
    check_env_sb3(wrapped(gymnasium.make(env_id, horizon=20), wrapping))


MAZES: list[dict[str, Any]] = [
    {"respawn": "start", "view": "5x5", "position": True},
    {"respawn": "end", "view": "egocentric-7"},
    {"view": "egocentric-5", "position": True, "see_through": True},
    {"tasks": envs.MazeFamily("dfs", (7, 9)), "respawn": "end", "view": "egocentric-7"},
]


@pytest.mark.parametrize("settings", MAZES)
def test_checkers_on_mazes_of_other_settings(settings: dict[str, Any]) -> None:
    env_id = "metarl/GridMaze-v0"
    check_env(gymnasium.make(env_id, disable_env_checker=True, horizon=20, **settings).unwrapped)
    check_env_sb3(wrapped(gymnasium.make(env_id, horizon=20, **settings), "meta of trial"))
    spaces = []
    for mode in ("sync", "vector_entry_point"):
        env = gymnasium.make_vec(env_id, num_envs=2, vectorization_mode=mode, **settings)
        spaces.append((env.observation_space, env.single_action_space))
        assert env.reset(seed=0)[0] in env.observation_space
    assert spaces[0] == spaces[1]


@pytest.mark.parametrize("env_id", IDS)
def test_docstring_has_gymnasiums_headings(env_id: str) -> None:
    text = gymnasium.make(env_id).unwrapped.__doc__ or ""
    headings = (
        "Description",
        "Action Space",
        "Observation Space",
        "Rewards",
        "Starting State",
        "Episode End",
        "Arguments",
        "Version History",
    )
    assert [heading for heading in headings if f"## {heading}" not in text] == []


@pytest.mark.parametrize("env_id", IDS)
def test_make_truncates_once_at_the_horizon(env_id: str) -> None:
    env = gymnasium.make(env_id, horizon=7)
    assert env.spec is not None
    assert env.spec.max_episode_steps == 7
    for _ in range(2):
        env.reset(seed=0)
        space = env.action_space
        stay = 0 if isinstance(space, Discrete) else np.zeros(space.shape, np.float32)
        ends = [env.step(stay)[2:4] for _ in range(7)]
        assert ends == [(False, False)] * 6 + [(False, True)]


def test_make_gives_the_grid_maze_with_its_arguments() -> None:
    env = gymnasium.make("metarl/GridMaze-v0", size=9, horizon=50, reward=2.0).unwrapped
    assert isinstance(env, GridMazeEnv)
    assert (env.layout.height, env.horizon, env.settings.reward) == (9, 50, 2.0)


def test_make_vec_gives_the_tensor_twin() -> None:
    env = gymnasium.make_vec(
        "metarl/GridMaze-v0",
        num_envs=4096,
        vectorization_mode="vector_entry_point",
        size=9,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    assert isinstance(env, GridMazeVectorEnv)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    observations, _ = env.reset(seed=0)
    assert tuple(observations.shape) == (4096, 9) == env.observation_space.shape


def test_make_vec_also_makes_sync_copies_of_the_single_one() -> None:
    env = gymnasium.make_vec("metarl/GridMaze-v0", num_envs=3, vectorization_mode="sync", horizon=4)
    observations, _ = env.reset(seed=0)
    for _ in range(6):
        observations, *_ = env.step([0, 1, 2])
    assert observations.shape == (3, 9)
    env.close()


@pytest.mark.parametrize("env_id", IDS)
def test_copies_in_other_processes(env_id: str) -> None:
    other, here = (
        gymnasium.make_vec(env_id, num_envs=2, vectorization_mode=mode, horizon=3)
        for mode in ("async", "sync")
    )
    np.testing.assert_array_equal(other.reset(seed=0)[0], here.reset(seed=0)[0])
    here.action_space.seed(0)
    for _ in range(8):
        actions = here.action_space.sample()
        for one, same in zip(other.step(actions)[:4], here.step(actions)[:4], strict=True):
            np.testing.assert_array_equal(one, same)
    other.close()


def test_spec_can_be_copied_and_made_again() -> None:
    tasks = maze_tasks(envs.pillar_maze(7)).split().train
    env = Trial(gymnasium.make("metarl/GridMaze-v0", tasks=tasks, horizon=5), 3)
    spec = pickle.loads(pickle.dumps(copy.deepcopy(env.spec)))
    again = gymnasium.make(spec)
    assert again.get_wrapper_attr("horizon") == 15
    assert again.unwrapped.task_distribution == tasks  # type: ignore[attr-defined]


@pytest.mark.parametrize("env_id", IDS)
def test_what_is_made_again_is_the_same(env_id: str) -> None:
    """From a copy, a pickle, a specification and its JSON, with tasks among the arguments."""
    source = gymnasium.make(env_id).unwrapped.task_distribution  # type: ignore[attr-defined]
    tasks = envs.TaskSet(tuple(dict.fromkeys(source.sample(4, np.random.default_rng(0)))))
    for given in (tasks, list(tasks)):
        env = gymnasium.make(env_id, tasks=given, horizon=6)
        spec = env.spec
        assert spec is not None
        again = [
            copy.deepcopy(env),
            pickle.loads(pickle.dumps(env)),
            gymnasium.make(spec),
            gymnasium.make(spec.from_json(spec.to_json())),
            gymnasium.make(pickle.loads(pickle.dumps(spec))),
        ]
        rollouts = []
        for one in (env, *again):
            one.action_space.seed(1)
            seen = [one.reset(seed=3)[0]]
            for _ in range(6):
                observation, reward, *ends, _ = one.step(one.action_space.sample())
                seen.append(np.append(observation, [reward, *ends]))
            rollouts.append((one.unwrapped.task, one.unwrapped.task_distribution, seen))  # type: ignore[attr-defined]
        for task, distribution, seen in rollouts:
            assert task in tasks
            assert (task, distribution) == (rollouts[0][0], tasks)
            for mine, wanted in zip(seen, rollouts[0][2], strict=True):
                np.testing.assert_array_equal(mine, wanted)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("Bandit", envs.BanditTasks(3)),
        ("TabularMDP", envs.MDPTasks(3, 2)),
        ("PointNavigation", envs.PointTasks(cells=(0, 3))),
        ("GridMaze", envs.MazeFamily("dfs", (7, 9), loops=0.1)),
        ("GridMaze", envs.MazeFamily("dfs", 9).split().test),
    ],
)
def test_families_of_tasks_come_back_from_json(name: str, family: Any) -> None:
    for make in (gymnasium.make, gymnasium.make_vec):
        env: Any = make(f"metarl/{name}-v0", tasks=family, horizon=4)
        again: Any = make(env.spec.from_json(env.spec.to_json()))
        assert again.unwrapped.task_distribution == family
        np.testing.assert_array_equal(env.reset(seed=0)[0], again.reset(seed=0)[0])
    with pytest.raises(ValueError, match="colour"):
        make(f"metarl/{name}-v0", tasks={"colour": 1})


@pytest.mark.parametrize("env_id", IDS)
def test_vector_environments_are_made_again_from_json(env_id: str) -> None:
    source = gymnasium.make(env_id).unwrapped.task_distribution  # type: ignore[attr-defined]
    tasks = list(dict.fromkeys(source.sample(3, np.random.default_rng(0))))
    env = gymnasium.make_vec(env_id, num_envs=3, tasks=tasks, horizon=4)
    assert env.spec is not None
    again = gymnasium.make_vec(env.spec.from_json(env.spec.to_json()))
    np.testing.assert_array_equal(env.reset(seed=0)[0], again.reset(seed=0)[0])
    assert env.tasks == again.tasks  # type: ignore[attr-defined]
