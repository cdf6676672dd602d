"""Our vector environments beside those that Gymnasium makes of single ones, step for step."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import vector as wrappers

import envs

NEXT_STEP, SAME_STEP = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP
DISABLED = AutoresetMode.DISABLED

NEAR, FAR = envs.PointTask((0.1, 0.1)), envs.PointTask((0.45, 0.4))
CERTAIN = envs.BanditTask((0.0, 1.0))
LAVA = envs.minigrid_tasks("MiniGrid-LavaGapS5-v0", seeds=range(9))
DFS = list(envs.MazeFamily("dfs", 7).sample(2, np.random.default_rng(0)))
CHAIN = envs.MDPTask((((0, 1), (1, 0)), ((1, 0), (0, 1))), ((1, 2), (3, 4)))

# Tasks in which nothing is random but what is compared apart, one for each of two environments.
FIXED: dict[str, tuple[str, dict[str, Any], list[Any]]] = {
    "GridMaze": (
        "GridMaze",
        {"size": 5, "horizon": 4},
        list(envs.maze_tasks(envs.pillar_maze(5)))[:2],
    ),
    "GridMaze with ends": (
        "GridMaze",
        {"size": 5, "horizon": 7, "respawn": "end"},
        list(envs.maze_tasks(envs.pillar_maze(5)))[:2],
    ),
    "GridMaze of two layouts": (
        "GridMaze",
        {"tasks": DFS, "horizon": 30, "respawn": "start", "view": "egocentric-5"},
        DFS,
    ),
    "GridMaze of two layouts with ends": (
        "GridMaze",
        {"tasks": DFS, "horizon": 12, "respawn": "end", "position": True},
        DFS,
    ),
    "PointNavigation": ("PointNavigation", {"horizon": 4}, [NEAR, FAR]),
    "GridNavi": (
        "GridNavi",
        {"horizon": 3},
        [envs.GridNaviTask((0, 2)), envs.GridNaviTask((4, 4))],
    ),
    "DarkRoom": (
        "DarkRoom",
        {"horizon": 3},
        [envs.DarkRoomTask((4, 5)), envs.DarkRoomTask((0, 8))],
    ),
    "DarkRoom with a door": (
        "DarkRoom",
        {"horizon": 9, "size": 3, "key": True},
        [envs.DarkRoomTask((1, 1), (1, 1), 3), envs.DarkRoomTask((0, 1), (1, 2), 3)],
    ),
    "Bandit": ("Bandit", {"horizon": 3, "tasks": [CERTAIN]}, [CERTAIN, CERTAIN]),
    "TabularMDP": ("TabularMDP", {"horizon": 3, "tasks": [CHAIN]}, [CHAIN, CHAIN]),
    "Minigrid": (
        "Minigrid",
        {"tasks": LAVA, "horizon": 9},
        [LAVA[0], LAVA[1]],
    ),
}


def pair(name: str, mode: AutoresetMode) -> tuple[Any, Any]:
    """Our environment and Gymnasium's around two single ones, on the same tasks."""
    family, settings, tasks = FIXED[name]
    env_id = f"metarl/{family}-v0"
    ours = gymnasium.make_vec(env_id, num_envs=2, autoreset_mode=mode, **settings)
    singles = SyncVectorEnv(
        [lambda: gymnasium.make(env_id, **settings) for _ in tasks], autoreset_mode=mode
    )
    for single, task in zip(singles.envs, tasks, strict=True):
        single.unwrapped.task = task  # type: ignore[attr-defined]
    return ours, singles


def same_results(name: str, result: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    """Checks observations, rewards, ends, and what infos say of the ends."""
    for position, (one, other) in enumerate(zip(result[:4], expected[:4], strict=True)):
        assert one.dtype == other.dtype
        if position == 1 and name == "TabularMDP":  # whose rewards are random
            np.testing.assert_array_equal(one == 0, other == 0)
        elif position == 1:  # we compute in float32
            np.testing.assert_allclose(one, other, rtol=1e-6)
        else:
            np.testing.assert_array_equal(one, other)
    mine, info = result[4], expected[4]
    for entry in ("final_obs", "final_info"):
        assert (entry in mine) == (entry in info)
        if entry in info:
            assert type(mine[entry]) is type(info[entry])
            np.testing.assert_array_equal(mine[f"_{entry}"], info[f"_{entry}"])
    for one, other in zip(mine.get("final_obs", ()), info.get("final_obs", ()), strict=True):
        np.testing.assert_array_equal(one, other)
    for entry in mine.keys() & info.keys():
        assert type(mine[entry]) is type(info[entry])
    for entry in (entry for entry in mine if not entry.startswith("_")):
        assert mine[f"_{entry}"].dtype == np.bool_


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP, DISABLED])
def test_step_for_step_as_gymnasiums_own_vector_environment(name: str, mode: AutoresetMode) -> None:
    ours, theirs = pair(name, mode)
    assert ours.metadata["autoreset_mode"] is mode
    for space in ("observation_space", "action_space"):
        assert getattr(ours, space) == getattr(theirs, space)
        assert getattr(ours, f"single_{space}") == getattr(theirs, f"single_{space}")
    observed, _ = ours.reset(seed=[5, None], options={"tasks": FIXED[name][2]})
    wanted, _ = theirs.reset(seed=[5, None])
    assert observed.dtype == wanted.dtype
    np.testing.assert_array_equal(observed, wanted)
    theirs.action_space.seed(1)
    ends = 0
    for _ in range(100):
        if name == "PointNavigation":  # towards the goals, so that one episode ends early
            actions = np.full((2, 2), 0.06, np.float32)
        elif name == "GridMaze":  # away from the goals, for teleports are random
            actions = np.array([1, 1])
        else:
            actions = theirs.action_space.sample()
        result, expected = ours.step(actions), theirs.step(actions)
        same_results(name, result, expected)
        done = result[2] | result[3]
        ends += int(done.sum())
        if mode is DISABLED and done.any():  # ours hold still, theirs must not be stepped
            mask = {"reset_mask": np.ones(2, dtype=np.bool_)}
            again = ours.reset(options=dict(mask))[0], theirs.reset(options=dict(mask))[0]
            np.testing.assert_array_equal(*again)
    assert ends >= 6


EARLY = {
    "GridMaze with ends": {},
    "GridMaze of two layouts with ends": {},
    "PointNavigation": {"goal_radius": 0.2},
    "Minigrid": {},
}


@pytest.mark.parametrize("name", EARLY)
@pytest.mark.parametrize("flag", [False, True])
def test_trials_whose_episodes_end_in_their_own_time(name: str, flag: bool) -> None:
    """Step for step those of Gymnasium's vector environment around single trials."""
    family, settings, tasks = FIXED[name]
    settings = settings | EARLY[name]
    env_id, tasks = f"metarl/{family}-v0", tasks * 3
    below = gymnasium.make_vec(env_id, num_envs=6, **settings)
    ours = envs.VectorMetaObservation(envs.VectorTrial(below, 3, episode_flag=flag))
    around = [
        lambda env: envs.Trial(env, 3, episode_flag=flag),
        envs.MetaObservation,
    ]
    singles = gymnasium.make_vec(
        env_id, num_envs=6, vectorization_mode="sync", wrappers=around, **settings
    )
    for single, task in zip(singles.envs, tasks, strict=True):  # type: ignore[attr-defined]
        single.unwrapped.task = task
    assert ours.single_observation_space == singles.single_observation_space
    first, info = ours.reset(seed=0, options={"tasks": tasks})
    np.testing.assert_array_equal(first, singles.reset(seed=0)[0])
    assert info["trial_episode"].tolist() == [0] * 6
    singles.action_space.seed(1)
    ends, lengths = 0, set()
    for _ in range(80):
        actions = singles.action_space.sample()
        if name == "PointNavigation":
            actions = np.abs(actions)  # towards the goals
        result, expected = ours.step(actions), singles.step(actions)
        for one, other in zip(result[:4], expected[:4], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)
        for fact in ("trial_episode", "episode_ended"):
            where = result[4][f"_{fact}"]
            np.testing.assert_array_equal(where, expected[4].get(f"_{fact}", False))
            if where.any():
                np.testing.assert_array_equal(result[4][fact][where], expected[4][fact][where])
        if name == "Minigrid":  # of the observation, also where the next episode has begun
            np.testing.assert_array_equal(result[4]["direction"], expected[4]["direction"])
        again = result[4]["_final_episode_obs"]
        np.testing.assert_array_equal(
            again, expected[4].get("_final_episode_obs", np.zeros(6, dtype=np.bool_))
        )
        for b in np.flatnonzero(again):
            wanted = expected[4]["final_episode_obs"][b]
            np.testing.assert_allclose(result[4]["final_episode_obs"][b], wanted, rtol=1e-6)
        ends += int(result[3].sum())
        lengths |= set(ours.unwrapped._steps.tolist())  # type: ignore[attr-defined]
    assert ends >= 6
    assert len(lengths) > 3


@pytest.mark.parametrize("name", EARLY)
@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP])
def test_gymnasiums_wrappers_where_episodes_end_early(name: str, mode: AutoresetMode) -> None:
    both = []
    for env in pair(name, mode):
        rewards = wrappers.NormalizeReward(wrappers.RecordEpisodeStatistics(env))
        both.append(rewards if mode is SAME_STEP else wrappers.NormalizeObservation(rewards))
    ours, theirs = both
    ours.reset(seed=0, options={"tasks": FIXED[name][2]})
    theirs.reset(seed=0)
    theirs.action_space.seed(1)
    episodes = 0
    for _ in range(40):
        actions = theirs.action_space.sample()
        result, expected = ours.step(actions), theirs.step(actions)
        for one, other in zip(result[:4], expected[:4], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        assert ("episode" in result[4]) == ("episode" in expected[4])
        if "episode" in expected[4]:
            np.testing.assert_array_equal(result[4]["_episode"], expected[4]["_episode"])
            mine, wanted = result[4]["episode"], expected[4]["episode"]
            np.testing.assert_array_equal(mine["l"], wanted["l"])
            np.testing.assert_allclose(mine["r"], wanted["r"], rtol=1e-6)
            episodes += int(expected[4]["_episode"].sum())
    assert episodes >= 4


def test_trials_of_their_own_time_draw_tasks_for_each_trial() -> None:
    below: Any = gymnasium.make_vec("metarl/GridMaze-v0", num_envs=5, respawn="end", horizon=3)
    env = envs.VectorTrial(below, 2)
    env.reset(seed=0)
    seen = []
    for _ in range(21):  # trials of 6 steps, and one to begin the next
        env.step(np.full(5, 0))
        seen.append(below.tasks)
    trials = [set(zip(*seen[first : first + 6], strict=True)) for first in (0, 7, 14)]
    for trial in trials:
        assert all(len(set(tasks)) == 1 for tasks in trial)
    assert seen[0] != seen[7] != seen[14]


def test_what_trials_of_their_own_time_refuse() -> None:
    below = gymnasium.make_vec("metarl/GridMaze-v0", num_envs=2, respawn="end", device="cpu")
    with pytest.raises(ValueError, match="with wait=True episodes wait for each other"):
        envs.VectorTrial(below, 2, wait=True)
    inside = wrappers.ClipReward(below, 0, 1)
    with pytest.raises(ValueError, match="around VectorTrial, not inside it"):
        envs.VectorTrial(inside, 2)
    points = gymnasium.make_vec("metarl/PointNavigation-v0", num_envs=2, goal_radius=0.0)
    with pytest.raises(ValueError, match="in lock step"):
        points.begin_again(torch.ones(2, dtype=torch.bool))  # type: ignore[attr-defined]
