"""Gymnasium environments as tensors: their tasks reach them, seeds count, resets are few."""

from __future__ import annotations

import gymnasium
import minigrid
import minigrid.wrappers
import numpy as np
import pytest
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from metarl.rl import HostVectorEnv
from tests.metarl.rl.ending_env import ENDS, EndingEnv

GRAVITIES = [1.0, 9.8, 90.0]


class Falling(gymnasium.Env):
    """Falls for six steps from a height that its own generator draws; the reward is the speed."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    num_resets = 0

    def __init__(self):
        self.gravity = 5.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.gravity = (options or {}).get("gravity", self.gravity)
        Falling.num_resets += 1
        self.height, self.speed, self.time = self.np_random.random(), 0.0, 0
        return np.array([self.height], np.float32), {}

    def step(self, action):
        self.time += 1
        self.speed += self.gravity
        return np.array([self.height], np.float32), self.speed, False, self.time == 6, {}


def wrapped():
    """Two wrappers deep, as `gymnasium.make` makes environments."""
    return gymnasium.wrappers.TimeLimit(gymnasium.wrappers.OrderEnforcing(Falling()), 6)


def falling(task_name="gravity", kind=SyncVectorEnv, via="attribute"):
    env = kind([wrapped] * 3, autoreset_mode=AutoresetMode.DISABLED)
    return HostVectorEnv(env, task_via=via, task_name=task_name)


def speeds(env):
    return env.step(torch.zeros(3, dtype=torch.int64))[1].tolist()


@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
@pytest.mark.parametrize("via", ["attribute", "option"])
def test_every_environment_behind_wrappers_has_its_own_task(kind, via):
    """Also against late binding: environments made in a loop that all keep the loop's last task."""
    env = falling(kind=kind, via=via)
    for tasks in (GRAVITIES, GRAVITIES[::-1]):
        env.reset(options={"tasks": tasks})
        assert speeds(env) == pytest.approx(tasks)
    env.reset()  # sticky
    assert speeds(env) == pytest.approx(GRAVITIES[::-1])
    if kind is SyncVectorEnv and via == "attribute":
        assert [one.unwrapped.gravity for one in env.env.envs] == GRAVITIES[::-1]
        assert not any("gravity" in vars(one) for one in env.env.envs)
    env.env.close()


@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
def test_a_misspelt_attribute_is_refused_and_nothing_is_broken(kind):
    env = falling("gravty", kind)
    with pytest.raises(ValueError, match=r"no attribute 'gravty'.*give task_name= an attribute"):
        env.reset(options={"tasks": GRAVITIES})
    env.task_name = "gravity"
    env.reset(options={"tasks": GRAVITIES})
    assert speeds(env) == pytest.approx(GRAVITIES)
    env.env.close()


def test_only_what_has_ended_is_reset_under_disabled_autoreset(monkeypatch):
    """Episodes of 3, 2, 5, 1, 4 and 9 steps: each begins anew when over, not at every step."""
    resets = [0] * len(ENDS)
    reset = EndingEnv.reset

    def counted(self, **given):
        found = reset(self, **given)
        resets[self.task] += 1
        return found

    env = HostVectorEnv(
        SyncVectorEnv([EndingEnv] * len(ENDS), autoreset_mode=AutoresetMode.DISABLED)
    )
    env.reset(options={"tasks": list(range(len(ENDS)))})
    monkeypatch.setattr(EndingEnv, "reset", counted)
    for _ in range(9):
        env.step(torch.zeros(len(ENDS), dtype=torch.int64))
    assert resets == [(9 - 1) // length for length, _ in ENDS]


def test_after_a_reset_nothing_is_reset_again():
    env = falling()
    env.reset()
    for _ in range(6):
        speeds(env)
    env.reset()
    Falling.num_resets = 0
    speeds(env)
    assert Falling.num_resets == 0


@pytest.mark.parametrize("via", ["attribute", "option"])
@pytest.mark.parametrize("options", [None, {"tasks": GRAVITIES}])
def test_a_seed_repeats_and_is_another_for_each_environment(via, options):
    env = falling(via=via)
    first, _ = env.reset(seed=3, options=options)
    going_on, _ = env.reset(options=options)
    again, _ = env.reset(seed=3, options=options)
    each, _ = env.reset(seed=(3, 4, 5), options=options)
    assert first.tolist() == again.tolist() == each.tolist()
    assert len({*first.flatten().tolist(), *going_on.flatten().tolist()}) == 6
    alone = [Falling().reset(seed=3 + i)[0].item() for i in range(3)]
    assert first.flatten().tolist() == alone


# Vector wrappers between the environments and the tensors ---------------------------------------

VECTOR = gymnasium.wrappers.vector
WRAPPERS = {
    "statistics": VECTOR.RecordEpisodeStatistics,
    "clipped": lambda env: VECTOR.ClipReward(env, -1, 1),
    "normalised": VECTOR.NormalizeReward,
    "observations": VECTOR.NormalizeObservation,
    "flat": VECTOR.FlattenObservation,
    "rescaled": lambda env: VECTOR.TransformObservation(env, lambda x: 2 * x),
    "several": lambda env: VECTOR.ClipReward(VECTOR.RecordEpisodeStatistics(env), -1e9, 1e9),
    "base": gymnasium.vector.VectorWrapper,
}


@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
@pytest.mark.parametrize("via", ["attribute", "option"])
@pytest.mark.parametrize("name", WRAPPERS)
def test_tasks_pass_vector_wrappers(name, via, kind):
    below = kind([wrapped] * 3, autoreset_mode=AutoresetMode.NEXT_STEP)
    env = HostVectorEnv(WRAPPERS[name](below), task_via=via, task_name="gravity")
    if (name, via) == ("observations", "option"):
        with pytest.raises(ValueError, match="partial resets") as caught:
            env.reset(options={"tasks": GRAVITIES})
        assert "wrap each environment, or use an attribute" in caught.value.__notes__[-1]
        env.close()
        return
    for tasks in (GRAVITIES, GRAVITIES[::-1]):
        env.reset(options={"tasks": tasks})
        assert list(below.get_attr("gravity")) == tasks
        env.step(torch.zeros(3, dtype=torch.int64))
    env.close()


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_wrapped_episodes_end_as_bare_ones_do(mode):
    def play(wrap):
        below = SyncVectorEnv([EndingEnv] * len(ENDS), autoreset_mode=mode)
        env = HostVectorEnv(wrap(below))
        env.reset(options={"tasks": list(range(len(ENDS)))})
        steps = [env.step(torch.zeros(len(ENDS), dtype=torch.int64))[:4] for _ in range(8)]
        return [torch.stack(part) for part in zip(*steps, strict=True)]

    bare = play(lambda env: env)
    for name in ("statistics", "several", "base"):
        for a, b in zip(bare, play(WRAPPERS[name]), strict=True):
            assert torch.equal(a, b), name
    if mode is not AutoresetMode.SAME_STEP:  # which Gymnasium refuses
        assert torch.equal(play(WRAPPERS["rescaled"])[0], 2 * bare[0])
    clipped = play(WRAPPERS["clipped"])
    assert torch.equal(clipped[1], bare[1].clamp(-1, 1))


def test_what_is_behind_an_end_is_no_business_of_the_wrappers():
    """Statistics of the episodes that go on are not begun anew."""
    below = SyncVectorEnv([EndingEnv] * len(ENDS), autoreset_mode=AutoresetMode.DISABLED)
    counted = VECTOR.RecordEpisodeStatistics(below)
    env = HostVectorEnv(counted)
    env.reset(options={"tasks": list(range(len(ENDS)))})
    for _ in range(5):
        env.step(torch.zeros(len(ENDS), dtype=torch.int64))
    assert {(5, 10.0), (4, 6.0), (3, 3.0), (2, 1.0), (1, 0.0)} <= set(
        zip(counted.length_queue, counted.return_queue, strict=True)
    )


def test_wrappers_that_hand_out_other_things_are_named():
    def over(wrap):
        env = SyncVectorEnv([wrapped] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
        return HostVectorEnv(wrap(env))

    listed = over(VECTOR.DictInfoToList)
    with pytest.raises(ValueError, match=r"must be a dict, got a list: .*DictInfoToList"):
        listed.reset()
        listed.step(torch.zeros(2, dtype=torch.int64))

    class Tensors(gymnasium.vector.VectorWrapper):
        def reset(self, **given):
            observations, info = super().reset(**given)
            return torch.as_tensor(observations), info

    with pytest.raises(ValueError, match="NumPy arrays, got a Tensor: leave the wrapper out"):
        over(Tensors).reset()


def test_a_vector_environment_without_single_ones_plays_but_takes_no_tasks():
    vector = gymnasium.make_vec("CartPole-v1", num_envs=3, vectorization_mode="vector_entry_point")
    env = HostVectorEnv(vector)
    assert env.reset(seed=0)[0].shape == (3, 4)
    env.step(torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="no single environments to give tasks to: use Sync"):
        env.reset(options={"tasks": [1, 2, 3]})


# Observations that are no arrays ----------------------------------------------------------------


def over_minigrid(wrap):
    return HostVectorEnv(SyncVectorEnv([lambda: wrap(gymnasium.make("MiniGrid-Empty-5x5-v0"))] * 2))


@pytest.mark.parametrize("wrapper", ["ImgObsWrapper", "FlatObsWrapper"])
def test_what_is_advised_for_minigrid_works(wrapper):
    with pytest.raises(ValueError, match=rf"minigrid\.wrappers\..*{wrapper}"):
        over_minigrid(lambda env: env)
    env = over_minigrid(getattr(minigrid.wrappers, wrapper))
    observations, _ = env.reset(seed=0)
    assert observations.shape == (2, *env.single_observation_space.shape)
    assert torch.equal(
        env.step(torch.tensor([0, 1]))[0].isfinite(), torch.ones_like(observations) > 0
    )


class Showing(gymnasium.Env):
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, space):
        self.observation_space = space

    def reset(self, *, seed=None, options=None):
        return self.observation_space.sample(), {}


S = gymnasium.spaces
W = gymnasium.wrappers
ADVISED = [
    (S.Discrete(5), r"gymnasium\.wrappers\.FlattenObservation", W.FlattenObservation),
    (S.Discrete(5, start=2), r"FlattenObservation", W.FlattenObservation),
    (S.MultiDiscrete([2, 3]), r"FlattenObservation", W.FlattenObservation),
    (S.MultiBinary(3), r"FlattenObservation", W.FlattenObservation),
    (S.Dict(a=S.Discrete(2), b=S.Box(-1, 1, (2, 2))), "FlattenObservation", W.FlattenObservation),
    (S.Tuple([S.Discrete(2), S.MultiBinary(2)]), r"FlattenObservation", W.FlattenObservation),
    (
        S.Dict(a=S.Box(-1, 1, (2,)), b=S.Text(3), c=S.Discrete(3)),
        r"FlattenObservation\(FilterObservation\(env, \['a', 'c'\]\)\)",
        lambda env: W.FlattenObservation(W.FilterObservation(env, ["a", "c"])),
    ),
    (
        S.Text(3),
        "ObservationWrapper whose space is one Box",
        lambda env: W.TransformObservation(
            env, lambda _: np.zeros(2, np.float32), S.Box(0, 1, (2,))
        ),
    ),
]


@pytest.mark.parametrize(("space", "advice", "follow"), ADVISED)
def test_what_is_advised_for_observations_works(space, advice, follow):
    with pytest.raises(ValueError, match=f"arrays .a Box space.*{advice}"):
        HostVectorEnv(SyncVectorEnv([lambda: Showing(space)]))
    env = HostVectorEnv(SyncVectorEnv([lambda: follow(Showing(space))]))
    observations, _ = env.reset()
    assert observations.shape == (1, *env.single_observation_space.shape)


# Values that no policy can learn from -----------------------------------------------------------


class Odd(gymnasium.Env):
    """Gives what it is told from its second step on."""

    observation_space = gymnasium.spaces.Box(-9, 9, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, number, observation=(0.0, 0.0), reward=0.0, error=None):
        self.given = (np.array(observation, np.float32), reward, error) if number == 1 else None

    def reset(self, *, seed=None, options=None):
        self.time = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.time += 1
        if self.given is None or self.time < 2:
            return np.zeros(2, np.float32), np.array(0.0), False, False, {}
        observation, reward, error = self.given
        if error is not None:
            raise error
        return observation, reward, False, False, {}


def odd(kind=SyncVectorEnv, **given):
    env = HostVectorEnv(kind([lambda n=n: Odd(n, **given) for n in range(3)]))
    env.reset()
    for _ in range(2):
        env.step(torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"observation": (0.0, np.nan)}, r"environment 1 gave the observation \[0.0, nan\], which"),
        ({"observation": (np.inf, 0.0)}, r"environment 1 gave the observation \[inf, 0.0\]"),
        ({"reward": float("nan")}, "environment 1 gave the reward nan"),
        ({"reward": -np.inf}, "environment 1 gave the reward -inf"),
    ],
)
def test_values_that_are_not_finite_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        odd(**given)


def test_rewards_with_axes_are_named():
    class Axes(gymnasium.vector.VectorWrapper):
        def step(self, actions):
            observations, rewards, *rest = super().step(actions)
            return observations, rewards[:, None], *rest

    env = HostVectorEnv(Axes(SyncVectorEnv([lambda: Odd(0)] * 3)))
    env.reset()
    with pytest.raises(ValueError, match=r"rewards must be one number .* got the shape \(3, 1\)"):
        env.step(torch.zeros(3, dtype=torch.int64))


def test_an_error_of_one_environment_says_which():
    with pytest.raises(KeyError) as caught:
        odd(error=KeyError("door"))
    assert caught.value.__notes__ == ["raised by environment 1 of 3"]


@pytest.mark.parametrize(
    ("one", "other"), [(np.int64(3), 3), (np.array([3, 4, 5]), 3), ([np.int32(3), 4, 5], 3)]
)
def test_seeds_of_numpy_are_seeds(one, other):
    env = falling()
    assert torch.equal(env.reset(seed=one)[0], env.reset(seed=other)[0])
