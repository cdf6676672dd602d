"""`Trial` and `MetaObservation` around single environments that are not ours."""

import copy
import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiDiscrete, Sequence
from gymnasium.spaces.utils import flatten
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import FilterObservation, NormalizeReward, RepeatAction, TimeLimit
from minigrid.wrappers import ImgObsWrapper
from stable_baselines3.common.env_checker import check_env as check_env_sb3

from envs import MetaObservation, Trial
from tests.envs.wrappers.anybody import IDS, SPACES, Numbers

HORIZON = 5
every_space = pytest.mark.parametrize("space", SPACES)


@pytest.mark.parametrize("env_id", IDS)
def test_environments_of_gymnasium(env_id: str) -> None:
    env = MetaObservation(Trial(gymnasium.make(env_id), 2, horizon=HORIZON))
    seen, told = IDS[env_id]
    first, _ = env.reset(seed=0)
    assert first.shape == env.observation_space.shape == (seen + 4 + told,)
    assert first in env.observation_space
    assert first[seen:].tolist() == [0, 1, 0, 0] + [0] * told
    env.action_space.seed(0)
    inside = env.env.observation_space
    raw = copy.deepcopy(env.env)
    truncated, t, rewards = False, 0, 0.0
    while not truncated:
        action = env.action_space.sample()
        observation, reward, terminated, truncated, _ = env.step(action)
        wanted, paid, *_ = raw.step(action)
        t += 1
        rewards += reward
        assert not terminated
        assert observation in env.observation_space
        np.testing.assert_allclose(observation[:seen], flatten(inside, wanted), rtol=1e-6)
        np.testing.assert_allclose(
            observation[seen:], [0, 1, t / 10, paid, *flatten(env.action_space, action)], rtol=1e-6
        )
    assert t <= 2 * HORIZON


@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version")  # wrapped on purpose
@pytest.mark.filterwarnings("ignore:.*infinity. This is probably too")
@pytest.mark.filterwarnings("ignore:.*symmetric and normalized")
@pytest.mark.parametrize("env_id", ["CartPole-v1", "FrozenLake-v1", "Pendulum-v1", "Taxi-v4"])
def test_checkers(env_id: str) -> None:
    env = MetaObservation(Trial(gymnasium.make(env_id, max_episode_steps=9), 2, episode_flag=True))
    check_env(env, skip_render_check=True)
    check_env_sb3(env)


@every_space
def test_every_kind_of_observation_and_action(space: str) -> None:
    for observations, actions in ((space, "one of three"), ("a box", space)):
        env = MetaObservation(
            Trial(Numbers(copy.deepcopy(SPACES[observations]), SPACES[actions], limit=9), 2)
        )
        observation, _ = env.reset(seed=0)
        assert observation.dtype == np.float32
        truncated, count = False, 0
        while not truncated:
            assert observation in env.observation_space
            observation, _, _, truncated, _ = env.step(env.action_space.sample())
            count += 1
        assert count == 8  # two episodes, which end after four steps of nine


def test_actions_as_they_are_told() -> None:
    def told(space: Any, action: Any) -> list[float]:
        env = MetaObservation(Numbers(Box(0, 1, (1,)), space, limit=9))
        env.reset(seed=0)
        row: list[float] = env.step(action)[0][5:].tolist()
        return row

    assert told(Discrete(3, start=-1), -1) == [1, 0, 0]
    assert told(MultiDiscrete([[3, 4]], start=[[2, -1]]), np.array([[4, -1]])) == [2, 0]
    assert told(SPACES["bits"], np.array([[1, 0], [1, 1]], np.int8)) == [1, 0, 1, 1]
    assert told(SPACES["a tuple"], (np.int64(6), np.array([0.25, 0.5], np.float32))) == [
        *(0, 1, 0.25, 0.5)
    ]
    pendulum = MetaObservation(gymnasium.make("Pendulum-v1"))  # which clips its actions
    pendulum.reset(seed=0)
    assert pendulum.step(np.array([7.0], np.float32))[0][-1] == 2.0


@pytest.mark.parametrize("space", [Sequence(Discrete(2)), Graph(Discrete(2), None)])
def test_spaces_that_are_no_rows_of_numbers_are_named(space: Any) -> None:
    with pytest.raises(ValueError, match=r"observations of .* ObservationWrapper"):
        MetaObservation(Numbers(space, Discrete(2), limit=9))
    with pytest.raises(ValueError, match=r"observations of .* ObservationWrapper"):
        Trial(Numbers(space, Discrete(2), limit=9), 2, episode_flag=True)
    with pytest.raises(ValueError, match=r"actions of .* ActionWrapper"):
        MetaObservation(Numbers(Discrete(2), space, limit=9))
    both = Dict({"text": space, "number": Discrete(2)})
    with pytest.raises(ValueError, match=r"FilterObservation\(env, \['number'\]\)"):
        MetaObservation(Numbers(both, Discrete(2), limit=9))
    trial = Trial(Numbers(space, Discrete(2), limit=9), 2)  # which looks at none
    trial.reset(seed=0)
    trial.step(0)


# Minigrid ---------------------------------------------------------------------------------------


def test_minigrid_as_it_is_made_is_refused_with_what_helps() -> None:
    env = gymnasium.make("MiniGrid-SimpleCrossingS9N1-v0")
    with pytest.raises(ValueError, match=r"FilterObservation\(env, \['direction', 'image'\]\)"):
        MetaObservation(env)
    kept = MetaObservation(FilterObservation(env, ["direction", "image"]))
    assert kept.observation_space.shape == (4 + 147 + 4 + 7,)
    assert kept.reset(seed=0)[0] in kept.observation_space


def test_the_episodes_of_a_trial_have_one_layout_of_minigrid() -> None:
    env = Trial(ImgObsWrapper(gymnasium.make("MiniGrid-MultiRoom-N2-S4-v0", max_steps=3)), 3)
    assert env.horizon == 9
    layouts = []
    for trial in range(3):
        observation, _ = env.reset(**({"seed": 1} if trial == 0 else {}))
        first = observation
        for episode in range(3):
            layouts.append(env.unwrapped.grid.encode().tobytes())
            for _ in range(3):
                observation, _, _, truncated, _ = env.step(2)
            assert truncated == (episode == 2)
            if episode < 2:
                np.testing.assert_array_equal(observation, first)
    assert layouts[0] == layouts[1] == layouts[2] != layouts[3]
    assert len(set(layouts)) == 3


# The task of a trial ----------------------------------------------------------------------------


def states(env: Any, actions: list[int]) -> list[int]:
    return [int(env.step(action)[0]) for action in actions]


def test_with_one_seed_the_ice_is_as_slippery_again() -> None:
    lake, actions = ["SFFF", "FFFF", "FFFF", "FFFG"], [2, 1, 2, 1, 2]
    for same_seed in (True, False):
        env = Trial(
            gymnasium.make("FrozenLake-v1", desc=lake, max_episode_steps=5), 2, same_seed=same_seed
        )
        alike = []
        for seed in range(8):
            env.reset(seed=seed)
            alike.append(states(env, actions)[:-1] == states(env, actions)[:-1])
        assert all(alike) == same_seed


def test_trials_follow_from_the_first_seed() -> None:
    seen = []
    for _ in range(2):
        env = Trial(gymnasium.make("CartPole-v1", max_episode_steps=2), 2)
        seen.append([env.reset(seed=5)[0].tolist(), *(env.reset()[0].tolist() for _ in range(3))])
    assert seen[0] == seen[1]
    assert len({tuple(one) for one in seen[0]}) == 4


def test_an_episode_that_ends_early_begins_again_where_it_began() -> None:
    env = Trial(gymnasium.make("CartPole-v1"), 3)
    assert env.horizon == 1500
    first, _ = env.reset(seed=0)
    ends, truncated = 0, False
    while not truncated:
        observation, _, terminated, truncated, info = env.step(1)
        assert not terminated
        if info["episode_ended"] and not truncated:
            ends += 1
            assert abs(info["final_episode_obs"][2]) > 0.2  # where the pole has fallen
            np.testing.assert_array_equal(observation, first)
    assert ends == 2


def test_options_hold_for_the_whole_trial_and_may_be_the_task() -> None:
    inner = Numbers(Box(0, 1, (1,)), Discrete(2), limit=9)
    env = Trial(inner, 2)
    for options, length in (({"depth": 2}, 4), ({"depth": 3}, 6), (None, 8)):
        env.reset(options=options)
        assert [env.step(0)[3] for _ in range(length)] == [False] * (length - 1) + [True]
    assert inner.options == [{"depth": 2}] * 2 + [{"depth": 3}] * 2 + [None] * 2


def test_info_is_of_the_episode_that_is_seen() -> None:
    """Taxi's info says which actions do something."""
    env = Trial(gymnasium.make("Taxi-v4", max_episode_steps=3), 3)
    taxi: Any = env.unwrapped
    state, info = env.reset(seed=0)
    for step in range(1, 9):
        before, (state, *_, info) = state, env.step(1)
        np.testing.assert_array_equal(info["action_mask"], taxi.action_mask(state))
        assert info["trial_episode"] == step // 3
        if step % 3 == 0:
            assert info["episode_ended"]
            final = info["final_episode_info"]["action_mask"]
            np.testing.assert_array_equal(final, taxi.action_mask(info["final_episode_obs"]))
            assert info["final_episode_obs"] != state != before


# The horizon ------------------------------------------------------------------------------------


def test_without_any_horizon_it_is_asked_for() -> None:
    env = Numbers(Box(0, 1, (1,)), Discrete(2))
    for wrapper in (MetaObservation, lambda env: Trial(env, 2)):
        with pytest.raises(ValueError, match="give horizon="):
            wrapper(env)
    for made in (
        gymnasium.make("Blackjack-v1"),
        gymnasium.make("CartPole-v1", max_episode_steps=-1).unwrapped,
    ):
        made.unwrapped.spec = None
        with pytest.raises(ValueError, match="give horizon="):
            Trial(made.unwrapped, 2)


def test_a_given_horizon_cuts() -> None:
    def endless() -> Numbers:
        return Numbers(Box(0, 1, (1,)), Discrete(2), depth=99)

    trial = Trial(endless(), 2, horizon=3)
    trial.reset(seed=0)
    assert [trial.step(0)[3] for _ in range(6)] == [False] * 5 + [True]
    inputs = MetaObservation(endless(), horizon=4, unused_input=False)
    inputs.reset(seed=0)
    steps = [inputs.step(0) for _ in range(4)]
    assert [step[0][2] for step in steps] == [0.25, 0.5, 0.75, 1.0]
    assert [step[3] for step in steps] == [False] * 3 + [True]
    shorter = Trial(gymnasium.make("CartPole-v1"), 2, horizon=20)
    assert shorter.horizon == 40
    with pytest.raises(ValueError, match="horizon=600 is more than the 500 steps"):
        Trial(gymnasium.make("CartPole-v1"), 2, horizon=600)
    with pytest.raises(ValueError, match="horizon must be at least 1, got 0"):
        Trial(gymnasium.make("CartPole-v1"), 2, horizon=0)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "metarl/GridMaze-v0"])
def test_past_the_end_of_a_trial_a_reset_is_needed(env_id: str) -> None:
    env = Trial(gymnasium.make(env_id, max_episode_steps=2), 2)
    for _ in range(2):
        env.reset(seed=0)
        assert [env.step(0)[3] for _ in range(4)] == [False] * 3 + [True]
        with pytest.raises(gymnasium.error.ResetNeeded, match="the trial of 2 episodes is over"):
            env.step(0)


def test_what_only_the_specification_says_is_kept() -> None:
    bare = gymnasium.make("MountainCar-v0").unwrapped  # without its time limit
    bare.spec = copy.deepcopy(gymnasium.spec("MountainCar-v0"))
    bare.spec.max_episode_steps = 3
    env = Trial(bare, 2)
    env.reset(seed=0)
    assert [env.step(0)[3] for _ in range(6)] == [False] * 5 + [True]


def test_wrappers_inside_count() -> None:
    slow = RepeatAction(TimeLimit(gymnasium.make("MountainCar-v0"), 9), 2)
    assert Trial(slow, 3).horizon == 15
    ours = MetaObservation(NormalizeReward(gymnasium.make("metarl/GridMaze-v0")))
    assert np.isinf(ours.observation_space.high[12])  # a normalised reward has other bounds


def test_specifications_make_the_same_again() -> None:
    inner = gymnasium.make("CartPole-v1")
    env = MetaObservation(Trial(inner, 3, horizon=7, episode_flag=True))
    assert env.spec is not None
    assert env.spec.max_episode_steps == 21
    texts = [env.spec.to_json()]
    for spec in (env.spec, pickle.loads(pickle.dumps(env.spec)), env.spec.from_json(texts[0])):
        again = gymnasium.make(spec)
        assert again.spec is not None
        texts.append(again.spec.to_json())
        ends = []
        for one in (env, again):
            one.reset(seed=0)
            ends.append([one.step(t % 2)[3] for t in range(21)])
        assert ends[0] == ends[1] == [False] * 20 + [True]
    assert len(set(texts)) == 1
    long = gymnasium.make(Trial(gymnasium.make("CartPole-v1"), 2).spec)  # type: ignore[arg-type]
    assert long.get_wrapper_attr("horizon") == 1000


def test_copies_go_on_alike() -> None:
    env = MetaObservation(Trial(gymnasium.make("CartPole-v1"), 2))
    env.reset(seed=0)
    env.step(0)
    for twin in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        mine = copy.deepcopy(env)
        for t in range(60):
            one, other = mine.step(t % 2), twin.step(t % 2)
            np.testing.assert_array_equal(one[0], other[0])
            if one[3]:
                np.testing.assert_array_equal(mine.reset()[0], twin.reset()[0])
