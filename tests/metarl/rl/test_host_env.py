"""Gymnasium environments as tensors: their tasks reach them, seeds count, resets are few."""

from __future__ import annotations

import gymnasium
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
