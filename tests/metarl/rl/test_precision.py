"""Policies in half precision and under autocast: counts are exact, ratios begin at 1."""

from __future__ import annotations

import pytest
import torch
from gymnasium import spaces

from metarl.core import share, stack
from metarl.meta import StaleBatchError
from metarl.nn import GRU, LSTM, RNN, WarpRNN
from metarl.rl import (
    ActorCriticSettings,
    Categorical,
    Collector,
    Gaussian,
    PolicyGradientSettings,
    PolicyGradientTasks,
    actor_critic,
    distribution_for,
    mlp_policy,
    recurrent_policy,
)
from tests.metarl.rl.test_spaces import LEARNERS, host, tasks_of

HALVES = [torch.float16, torch.bfloat16]
SPACES = [spaces.Discrete(3), spaces.Box(-1, 1, (2,)), spaces.MultiBinary(3)]


def policy_of(space, *, remembers, critic):
    distribution = distribution_for(space)
    if remembers:
        return recurrent_policy(GRU(3, 4), distribution, critic=critic)
    return mlp_policy(3, distribution, hidden=(4,), critic=critic)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("autocast", [True, False])
@pytest.mark.parametrize("remembers", [True, False])
@pytest.mark.parametrize("name", LEARNERS)
def test_learners_work_and_no_batch_is_called_stale(name, remembers, autocast, dtype):
    space = SPACES[len(name) % len(SPACES)]
    policy = policy_of(space, remembers=remembers, critic=name != "trpo")
    params = policy.init(torch.Generator().manual_seed(0))
    if not autocast:
        params = {n: p.to(dtype) for n, p in params.items()}
    learner = LEARNERS[name](params)
    env, _ = host(space)
    tasks = tasks_of(env, policy, baseline="linear" if name == "trpo" else "critic")
    with torch.autocast("cpu", dtype, enabled=autocast):
        for metrics in learner.meta_gradients(tasks):
            assert all(torch.isfinite(value).all() for value in metrics.values())
    grads = [p.grad for p in learner.params.values() if p.grad is not None]
    assert all(torch.isfinite(grad).all() for grad in grads)


def test_a_batch_played_outside_autocast_is_not_stale_inside():
    """Rounded otherwise, but of the weights that played; other weights are still told."""
    env, _ = host(SPACES[0])
    policy = mlp_policy(3, Categorical(3), hidden=(4,))
    tasks = tasks_of(env, policy)
    params = share(policy.init(torch.Generator().manual_seed(0)), 2)
    batch = tasks.sample(params, {}, "support")
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(tasks.loss(params, {}, batch)).all()
        inside = tasks.sample(params, {}, "support")
        tasks.loss(params, {}, inside)
        tampered = tasks.sample(params, {}, "support")
        tampered.trajectory.actions.add_(1).remainder_(3)
        with pytest.raises(StaleBatchError):
            tasks.loss(params, {}, tampered)


class Long:
    """Two episodes of 300 steps that pay 1 at each, and 0.1 from step 256 on."""

    num_envs, horizon = 2, 300

    def reset(self, *, options=None):
        self.time = 0
        return torch.zeros(2, 1), {}

    def step(self, actions):
        self.time += 1
        reward = torch.full((2,), 1.0 if self.time <= 256 else 0.1)
        no = torch.zeros(2, dtype=torch.bool)
        return torch.full((2, 1), self.time / 300), reward, no | (self.time == 299), no, {}


@pytest.mark.parametrize("dtype", HALVES)
def test_steps_and_returns_are_counted_exactly(dtype):
    """In bfloat16 257 would be 256, and the last observation another."""
    policy = mlp_policy(1, Gaussian(1), hidden=(4,))
    params = {
        n: p.to(dtype) for n, p in share(policy.init(torch.Generator().manual_seed(0)), 1).items()
    }
    collector = Collector(Long(), policy, [torch.Generator()], 300, num_tasks=1)
    episodes = collector.collect(params)
    assert episodes.lengths.tolist() == [[299.0, 299.0]]
    assert episodes.returns[0, 0].item() == pytest.approx(256 + 43 * 0.1)
    assert torch.equal(episodes.all_observations[:, 299], episodes.last_observations)
    assert torch.isfinite(
        PolicyGradientTasks(collector, PolicyGradientSettings())
        .sample(params, {}, "query")
        .advantages
    ).all()


@pytest.mark.parametrize("core", [RNN, GRU, LSTM, WarpRNN])
def test_trials_are_played_and_learned_from_in_their_own_precision(core):
    policy = actor_critic(core(3, 4), Categorical(2))
    params = stack([policy.init(torch.Generator().manual_seed(0))])
    found = []
    for enabled in (False, True):
        env, made = host(spaces.Discrete(2))
        for n, one in enumerate(made):
            one.observation_space.seed(n)
        generators = [torch.Generator().manual_seed(0)]
        options = {"tasks": [0.0, 1.0, 0.0, 1.0]}
        collector = Collector(env, policy, generators, 4, options=options, record=True)
        trials = PolicyGradientTasks(collector, ActorCriticSettings())
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            batch = trials.sample(params, {})
            found.append((batch, trials.loss(params, {}, batch)))
    (a, loss), (b, rounded) = found
    assert torch.equal(a.trajectory.actions, b.trajectory.actions)
    assert torch.equal(a.trajectory.observations, b.trajectory.observations)
    assert torch.allclose(loss, rounded, atol=0.02)
