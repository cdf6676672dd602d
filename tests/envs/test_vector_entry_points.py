"""What `gymnasium.make_vec` gives: arrays, Gymnasium's autoreset; tensors if a device is named."""

import copy
import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import vector as wrappers

import envs
from tests.envs.families import every_id

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
