"""Tasks that do not reach an environment are noticed; tasks that do are not complained of."""

from __future__ import annotations

import dataclasses
import pickle
import warnings

import gymnasium
import minigrid  # registers its environments
import numpy as np
import pytest
import torch
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from metarl.rl import HostVectorEnv
from metarl.rl.task_check import NUM_STEPS, WatchedOptions, alike, two_different


class Walk(gymnasium.Env):
    """A walk on a line. What its task changes, if anything, is its subclass's affair."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    made = 0

    def __init__(self):
        self.goal, self.built = 3, None
        self.reset_options: list = []
        type(self).made += 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.read(options)
        self.place, self.time = 0, 0
        return np.array([self.np_random.random()], np.float32), {}

    def read(self, options):
        """Look at the options."""

    def step(self, action):
        self.time += 1
        self.place += 2 * int(action) - 1
        return self.seen(), self.paid(), False, self.time == 10, {}

    def seen(self):
        return np.array([self.place], np.float32)

    def paid(self):
        return 0.0


class Goal(Walk):
    def paid(self):
        return float(self.place == self.goal)


class Overwriting(Goal):
    """Its reset draws the goal anew."""

    def read(self, options):
        self.goal = 4


class Built(Goal):
    """The goal is looked at when it is built."""

    def __init__(self):
        super().__init__()
        self.table = [float(place == self.goal) for place in range(-10, 11)]

    def paid(self):
        return self.table[self.place + 10]


class Optional(Goal):
    def read(self, options):
        self.goal = (options or {}).get("goal", self.goal)


class Copying(Goal):
    def read(self, options):
        self.goal = {**(options or {})}.get("goal", self.goal)


class Spelt(Goal):
    def read(self, options):
        self.goal = (options or {}).get("gaol", self.goal)


class ReadInVain(Walk):
    def read(self, options):
        self.goal = (options or {}).get("goal", self.goal)


class Informing(Walk):
    """A hidden goal that a random walk never reaches; only the info tells."""

    def reset(self, *, seed=None, options=None):
        observation, _ = super().reset(seed=seed)
        return observation, {"goal": self.goal}


KINDS = [SyncVectorEnv, AsyncVectorEnv]


def host(make, via="attribute", kind=SyncVectorEnv, name="goal", **options):
    return HostVectorEnv(kind([make] * 2), task_via=via, task_name=name, **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("make", "via"),
    [
        (Goal, "attribute"),
        (Optional, "attribute"),
        (Optional, "option"),
        (Copying, "option"),
        (Informing, "attribute"),
    ],
)
def test_tasks_that_make_a_difference_pass(make, via, kind):
    env = host(make, via, kind)
    env.reset(options={"tasks": [1, -1]})
    env.reset(options={"tasks": [2, 3]})
    env.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [Goal, Spelt])
def test_an_option_that_nobody_looks_at_is_refused(make, kind):
    env = host(make, "option", kind)
    env.reset(options={"tasks": [1, 1]}) if kind is AsyncVectorEnv else None
    with pytest.raises(ValueError, match="do not look at the reset option 'goal', so that every"):
        env.reset(options={"tasks": [1, 2]})
    env.close()


@pytest.mark.parametrize("name", ["CartPole-v1", "MiniGrid-Empty-5x5-v0"])
@pytest.mark.parametrize("kind", KINDS)
def test_environments_that_ignore_options_are_refused(name, kind):
    def make():
        env = gymnasium.make(name)
        return minigrid.wrappers.ImgObsWrapper(env) if "Mini" in name else env

    env = host(make, "option", kind, "length")
    with pytest.raises(ValueError, match="do not look at the reset option 'length'"):
        env.reset(options={"tasks": [0.5, 1.0]})
    env.close()


def test_environments_in_use_are_watched_too():
    """The functions hand out environments that are in use, so that none can be tried."""
    made = [Goal(), Goal()]
    env = HostVectorEnv(
        SyncVectorEnv([lambda one=one: one for one in made]), task_via="option", task_name="goal"
    )
    with pytest.raises(ValueError, match="do not look at the reset option"):
        env.reset(options={"tasks": [1, 2]})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("make", "via"), [(Overwriting, "attribute"), (Built, "attribute"), (ReadInVain, "option")]
)
def test_tasks_that_make_no_difference_are_warned_of(make, via, kind):
    env = host(make, via, kind)
    env.reset(options={"tasks": [1, 1]})
    with pytest.warns(UserWarning, match=rf"tasks 1 and -2, told by the {via} 'goal', made no"):
        env.reset(options={"tasks": [1, -2]})
    env.reset(options={"tasks": [3, 4]})  # once
    env.close()
    quiet = host(make, via, kind, check_tasks=False)
    quiet.reset(options={"tasks": [1, -2]})
    quiet.close()


def test_a_table_that_was_built_before_is_noticed():
    """FrozenLake takes its transitions from the map when it is made."""

    def make():
        return gymnasium.wrappers.FlattenObservation(gymnasium.make("FrozenLake-v1"))

    tasks = [np.array([list("SFFF")] * 4, "S1"), np.array([list("FFFS")] * 4, "S1")]
    with pytest.warns(UserWarning, match="not only when the environment is built"):
        host(make, name="desc").reset(options={"tasks": tasks})


def test_tasks_of_two_resets_are_compared():
    env = host(Built)
    env.reset(options={"tasks": [1, 1]})
    with pytest.warns(UserWarning, match="made no difference"):
        env.reset(options={"tasks": [2, 2]})


def test_trying_leaves_the_environments_as_they_are():
    def draws(**options):
        env = host(Goal, **options)
        first, _ = env.reset(seed=3, options={"tasks": [1, 2]})
        return torch.cat((first, env.reset(options={"tasks": [1, 2]})[0]))

    assert torch.equal(draws(), draws(check_tasks=False))
    env = host(Goal)
    Goal.made = 0
    for _ in range(3):
        env.reset(options={"tasks": [1, 2]})
    assert Goal.made == 2


def test_an_attribute_without_a_setter_is_named():
    class ReadOnly(Goal):
        @property
        def task(self):
            return self.goal

    with pytest.raises(ValueError, match="attribute 'task' cannot be set"):
        host(ReadOnly, name="task").reset(options={"tasks": [1, 2]})


@dataclasses.dataclass
class Task:
    goal: np.ndarray
    name: str = ""


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (1, 1.0, True),
        (np.float32(1), 1.0, True),
        ("a", "b", False),
        (float("nan"), float("nan"), True),
        (np.array([1, np.nan]), np.array([1, np.nan]), True),
        (np.zeros(2), np.zeros(3), False),
        (torch.ones(2), torch.ones(2), True),
        (torch.ones(2), torch.zeros(2), False),
        ({"a": np.zeros(2)}, {"a": np.zeros(2)}, True),
        ({"a": 1}, {"b": 1}, False),
        ((1, [2]), (1, [3]), False),
        (Task(np.zeros(2)), Task(np.zeros(2)), True),
        (Task(np.zeros(2)), Task(np.ones(2)), False),
        (None, 1, False),
        (object(), object(), False),
        (np.array([None, "a"], object), np.array([None, "a"], object), True),
    ],
)
def test_values_of_all_kinds_are_compared(a, b, same):
    assert alike(a, b) is same
    assert alike(a, a)
    assert (two_different([a, a, b]) is None) is same


def test_watched_options_note_every_look():
    looks = (
        lambda o: o["x"],
        lambda o: o.get("x"),
        lambda o: "x" in o,
        lambda o: dict(o),
        lambda o: {**o},
        lambda o: list(o),
        lambda o: o.pop("x"),
        lambda o: list(o.items()),
        lambda o: o | {"y": 1},
        lambda o: o.copy().get("x"),
    )
    for look in looks:
        options = WatchedOptions({"x": 1, "reset_mask": 2}, "x")
        look(options)
        assert options.seen
    options = WatchedOptions({"x": 1, "reset_mask": 2}, "x")
    assert options.pop("reset_mask") == 2
    assert options.get("y") is None
    assert pickle.loads(pickle.dumps(options)) == {"x": 1}
    assert type(pickle.loads(pickle.dumps(options))) is dict
    assert not options.seen
    assert NUM_STEPS > 0
    with warnings.catch_warnings():
        assert len(options) == 1
