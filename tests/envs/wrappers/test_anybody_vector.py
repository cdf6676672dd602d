"""`VectorTrial` and `VectorMetaObservation` around vector environments that are not ours."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import vector as theirs

from envs import MetaObservation, Trial, VectorMetaObservation, VectorTrial
from tests.envs.wrappers.anybody import SPACES, Numbers, made

Single = gymnasium.Env[Any, Any]
FACTS = ("trial_episode", "episode_ended", "final_episode_obs")
MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED]
ENVIRONMENTS: dict[str, Callable[[], Single]] = {
    "CartPole": partial(made, "CartPole-v1", max_episode_steps=25),  # ends early, at any time
    "FrozenLake": partial(made, "FrozenLake-v1", max_episode_steps=7),
    "Pendulum": partial(made, "Pendulum-v1", max_episode_steps=5),
    "Minigrid": partial(made, "MiniGrid-LavaGapS5-v0", max_steps=9),
    "ours": partial(made, "metarl/GridMaze-v0", size=5, horizon=4, respawn="end"),
    "a tuple": lambda: Numbers(copy.deepcopy(SPACES["a tuple"]), Discrete(3, start=-1), limit=9),
    "a dict": lambda: Numbers(copy.deepcopy(SPACES["a dict"]), SPACES["several from 2"], limit=9),
    "a text": lambda: Numbers(copy.deepcopy(SPACES["a text"]), SPACES["bits"], limit=9),
}
every_environment = pytest.mark.parametrize("name", ENVIRONMENTS)


def alike(one: Any, other: Any) -> None:
    """Checks that two things made of dicts, tuples and arrays are the same."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            alike(one[name], other[name])
    elif isinstance(one, tuple) or getattr(one, "dtype", None) == np.object_:
        assert len(one) == len(other)
        for part, same in zip(one, other, strict=True):
            alike(part, same)
    else:
        np.testing.assert_array_equal(one, other)


def play(one: Any, other: Any, mode: AutoresetMode, steps: int = 60) -> int:
    """Steps both alike, and counts the ends; DISABLED ones are reset in part."""
    alike(one.reset(seed=[3, 1, 2])[0], other.reset(seed=[3, 1, 2])[0])
    one.action_space.seed(0)
    ends = 0
    for _ in range(steps):
        actions = one.action_space.sample()
        mine, wanted = one.step(actions), other.step(actions)
        alike(mine[:4], wanted[:4])
        assert mine[0] in one.observation_space
        for name in FACTS:
            assert (name in mine[4]) == (name in wanted[4])
            if name in wanted[4]:
                alike(mine[4][name], wanted[4][name])
                alike(mine[4][f"_{name}"], wanted[4][f"_{name}"])
        done = mine[2] | mine[3]
        ends += int(done.sum())
        if mode is AutoresetMode.DISABLED and done.any():
            first, _ = one.reset(options={"reset_mask": done.copy()})
            alike(first, other.reset(options={"reset_mask": done.copy()})[0])
    return ends


@every_environment
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("flag", [False, True])
def test_trials_are_those_of_single_environments(
    name: str, mode: AutoresetMode, flag: bool
) -> None:
    make = ENVIRONMENTS[name]
    ours = VectorTrial(SyncVectorEnv([make] * 3, autoreset_mode=mode), 3, episode_flag=flag)
    wanted = SyncVectorEnv([lambda: Trial(make(), 3, episode_flag=flag)] * 3, autoreset_mode=mode)
    assert ours.horizon == wanted.envs[0].get_wrapper_attr("horizon")
    assert ours.observation_space == wanted.observation_space
    assert play(ours, wanted, mode, 90) >= 3


@every_environment
@pytest.mark.parametrize("mode", MODES)
def test_trials_in_which_randomness_goes_on(name: str, mode: AutoresetMode) -> None:
    make = ENVIRONMENTS[name]
    ours = VectorTrial(SyncVectorEnv([make] * 3, autoreset_mode=mode), 2, same_seed=False)
    wanted = SyncVectorEnv([lambda: Trial(make(), 2, same_seed=False)] * 3, autoreset_mode=mode)
    assert play(ours, wanted, mode) >= 3


@every_environment
@pytest.mark.parametrize("mode", [*MODES, AutoresetMode.SAME_STEP])
def test_inputs_are_those_of_single_environments(name: str, mode: AutoresetMode) -> None:
    make = ENVIRONMENTS[name]
    ours = VectorMetaObservation(SyncVectorEnv([make] * 3, autoreset_mode=mode))
    wanted = SyncVectorEnv([lambda: MetaObservation(make())] * 3, autoreset_mode=mode)
    assert ours.observation_space == wanted.observation_space
    assert play(ours, wanted, mode) >= 6


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shared_memory", [True, False])
def test_trials_in_other_processes(mode: AutoresetMode, shared_memory: bool) -> None:
    make = partial(made, "MiniGrid-Empty-5x5-v0", max_steps=4)
    below = AsyncVectorEnv([make] * 3, autoreset_mode=mode, shared_memory=shared_memory)
    if mode is AutoresetMode.NEXT_STEP and not shared_memory:
        with pytest.raises(ValueError, match="resets each of its environments on its own"):
            VectorTrial(below, 2)
        below.close()
        return
    ours = VectorMetaObservation(VectorTrial(below, 2))
    wanted = SyncVectorEnv([lambda: MetaObservation(Trial(make(), 2))] * 3, autoreset_mode=mode)
    assert ours.horizon == 8
    assert play(ours, wanted, mode, 20) >= 6
    ours.close()


def test_same_step_shows_what_an_episode_left_behind() -> None:
    make = ENVIRONMENTS["CartPole"]
    mode = AutoresetMode.SAME_STEP
    ours = VectorMetaObservation(SyncVectorEnv([make] * 3, autoreset_mode=mode))
    wanted = SyncVectorEnv([lambda: MetaObservation(make())] * 3, autoreset_mode=mode)
    ours.reset(seed=0)
    wanted.reset(seed=0)
    ends = 0
    for _ in range(40):
        mine, info = ours.step(np.ones(3, int))[4], wanted.step(np.ones(3, int))[4]
        assert ("final_obs" in mine) == ("final_obs" in info)
        if "final_obs" in info:
            ends += 1
            alike(mine["final_obs"], info["final_obs"])
            alike(mine["_final_obs"], info["_final_obs"])
    assert ends > 2


def test_make_vec_of_gymnasium() -> None:
    for mode in ("sync", "async"):
        env = VectorMetaObservation(
            VectorTrial(gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode=mode), 2)
        )
        assert env.horizon == 1000
        observation, _ = env.reset(seed=0)
        assert observation.shape == (2, 10)
        for _ in range(30):
            observation, rewards, _, _, _ = env.step(np.array([0, 1]))
        assert rewards.tolist() == [1, 1]
        env.close()
    pole = gymnasium.make_vec("CartPole-v1", num_envs=2)  # a program of its own for many
    with pytest.raises(ValueError, match="make it with vectorization_mode='sync'"):
        VectorTrial(pole, 2)
    inputs = VectorMetaObservation(pole)
    assert (inputs.horizon, inputs.reset(seed=0)[0].shape) == (500, (2, 10))


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_single_wrappers_in_make_vec(mode: str) -> None:
    inside = gymnasium.make_vec(
        "FrozenLake-v1",
        num_envs=3,
        vectorization_mode=mode,
        wrappers=[partial(Trial, num_episodes=2), MetaObservation],
        max_episode_steps=4,
    )
    below = gymnasium.make_vec(
        "FrozenLake-v1", num_envs=3, vectorization_mode="sync", max_episode_steps=4
    )
    outside = VectorMetaObservation(VectorTrial(below, 2))
    assert (outside.horizon, inside.single_observation_space.shape) == (8, (24,))
    assert play(outside, inside, AutoresetMode.NEXT_STEP, 25) >= 6
    inside.close()


def test_a_given_horizon_cuts_trials_and_is_checked_of_episodes() -> None:
    def endless() -> Single:
        return Numbers(Box(0, 1, (1,)), Discrete(2), depth=99)

    for mode in MODES:
        with pytest.raises(ValueError, match="give horizon="):
            VectorTrial(SyncVectorEnv([endless] * 2, autoreset_mode=mode), 2)
        env = VectorTrial(SyncVectorEnv([endless] * 2, autoreset_mode=mode), 2, horizon=3)
        env.reset(seed=0)
        cut = [env.step(np.zeros(2, int))[3].tolist() for _ in range(6)]
        assert cut == [[False] * 2] * 5 + [[True] * 2]
        if mode is AutoresetMode.DISABLED:
            with pytest.raises(
                gymnasium.error.ResetNeeded, match=r"environments \[0, 1\] are over"
            ):
                env.step(np.zeros(2, int))
            continue
        _, rewards, _, truncated, info = env.step(np.zeros(2, int))
        assert (rewards.tolist(), truncated.tolist()) == ([0, 0], [False] * 2)
        assert info["trial_episode"].tolist() == [0, 0]
        cut = [env.step(np.zeros(2, int))[3].tolist() for _ in range(6)]
        assert cut == [[False] * 2] * 5 + [[True] * 2]
    inputs = VectorMetaObservation(SyncVectorEnv([endless] * 2), horizon=3)
    inputs.reset(seed=0)
    times = [inputs.step(np.zeros(2, int))[0][0, 3] for _ in range(3)]
    np.testing.assert_allclose(times, [1 / 3, 2 / 3, 1])
    with pytest.raises(ValueError, match="goes on after horizon=3 steps"):
        inputs.step(np.zeros(2, int))


def test_options_hold_for_the_trials_that_they_began() -> None:
    def some() -> Single:
        return Numbers(Box(0, 1, (1,)), Discrete(2), limit=9)

    env = VectorTrial(SyncVectorEnv([some] * 2, autoreset_mode=AutoresetMode.DISABLED), 2)
    env.reset(options={"depth": 2})
    for _ in range(3):
        env.step(np.zeros(2, int))
    env.reset(options={"depth": 3, "reset_mask": np.array([True, False])})
    ends = [env.step(np.zeros(2, int)) for _ in range(1)]
    assert ends[0][3].tolist() == [False, True]
    env.reset(options={"depth": 1, "reset_mask": np.array([False, True])})
    over = [env.step(np.zeros(2, int))[3].tolist() for _ in range(2)]
    assert over == [[False, False], [False, True]]
    first, second = (one.unwrapped.options for one in env.unwrapped.envs)  # type: ignore[attr-defined]
    assert first == [{"depth": 2}, {"depth": 2}, {"depth": 3}, {"depth": 3}]
    assert second == [{"depth": 2}, {"depth": 2}, {"depth": 1}, {"depth": 1}]


def test_vector_wrappers_may_lie_inside_and_outside() -> None:
    below = gymnasium.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync")
    inside = VectorMetaObservation(VectorTrial(theirs.ClipReward(below, 0, 0.5), 2))
    assert np.isinf(inside.single_observation_space.high[7])  # rewards have other bounds
    env = theirs.NormalizeReward(
        theirs.RecordEpisodeStatistics(theirs.NormalizeObservation(inside))
    )
    env.reset(seed=0)
    lengths, returns = [], []
    for t in range(150):
        *_, info = env.step(np.full(3, t % 2))
        if "episode" in info:
            lengths += info["episode"]["l"][info["_episode"]].tolist()
            returns += info["episode"]["r"][info["_episode"]].tolist()
    assert len(lengths) >= 3
    assert min(lengths) > 20  # of two episodes
    assert returns == [length / 2 for length in lengths]


def test_a_vector_wrapper_that_cannot_be_reset_in_part_is_to_go_outside() -> None:
    below = gymnasium.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync")
    env = VectorTrial(theirs.NormalizeObservation(below), 2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="does not support partial resets") as caught:
        for _ in range(20):
            env.step(np.array([0, 1, 0]))
    assert "around VectorTrial" in caught.value.__notes__[0]


def test_what_cannot_be_a_trial_is_refused() -> None:
    poles = partial(gymnasium.make_vec, "CartPole-v1", num_envs=2, vectorization_mode="sync")
    same = poles(vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP})
    with pytest.raises(ValueError, match=r"AutoresetMode\.DISABLED or NEXT_STEP"):
        VectorTrial(same, 2)
    with pytest.raises(ValueError, match="wait=True is for tensor environments"):
        VectorTrial(poles(), 2, wait=True)
    with pytest.raises(ValueError, match="wrap the trial in it instead"):
        VectorTrial(VectorMetaObservation(poles()), 2)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        VectorTrial(poles(), 0)
    with pytest.raises(TypeError, match="take Trial"):
        VectorTrial(gymnasium.make("CartPole-v1"), 2)  # type: ignore[arg-type]
    mazes = gymnasium.make_vec("metarl/GridMaze-v0", num_envs=2, horizon=5)
    with pytest.raises(ValueError, match="make the environment with horizon=7"):
        VectorTrial(mazes, 2, horizon=7)


def test_copies_go_on_alike() -> None:
    below = SyncVectorEnv([ENVIRONMENTS["CartPole"]] * 2)
    env = VectorMetaObservation(VectorTrial(below, 2, episode_flag=True))
    env.reset(seed=0)
    twin = copy.deepcopy(env)
    for t in range(80):
        alike(env.step(np.full(2, t % 2))[:4], twin.step(np.full(2, t % 2))[:4])


@pytest.mark.parametrize("mode", MODES)
def test_infos_are_of_the_episodes_that_are_seen(mode: AutoresetMode) -> None:
    vector = SyncVectorEnv([partial(made, "Taxi-v4", max_episode_steps=3)] * 2, autoreset_mode=mode)
    env, taxi = VectorTrial(vector, 2), vector.envs[0].unwrapped
    env.reset(seed=[0, 1])
    for step in range(1, 6):
        states, *_, info = env.step(np.array([1, step % 2]))
        masks = np.stack([taxi.action_mask(state) for state in states])
        np.testing.assert_array_equal(info["action_mask"], masks)
        assert ("final_episode_info" in info) == (step == 3)
        if step == 3:
            final = [taxi.action_mask(state) for state in info["final_episode_obs"]]
            np.testing.assert_array_equal(info["final_episode_info"]["action_mask"], final)
            assert not np.array_equal(final, masks)
    if mode is AutoresetMode.NEXT_STEP:
        for action in (1, 5):  # the second begins other trials, by seeds of their own
            states, *_, info = env.step(np.array([action, action]))
        masks = np.stack([taxi.action_mask(state) for state in states])
        np.testing.assert_array_equal(info["action_mask"], masks)
