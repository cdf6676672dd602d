"""Stacked policies compute what each would compute alone; fast and slow sides are named."""

from __future__ import annotations

import pytest
import torch

from metarl.core import partition, stack
from metarl.nn import MLP, WarpMLP
from metarl.rl import Categorical, Gaussian, Policy, mlp_policy


def test_every_task_has_weights_of_its_own() -> None:
    g = torch.Generator().manual_seed(0)
    policy = mlp_policy(3, Gaussian(2), hidden=(5,), critic=True)
    each = [policy.init(g) for _ in range(4)]
    x = torch.randn(4, 6, 7, 3, generator=g)
    outputs, values = policy.outputs(stack(each), x), policy.values(stack(each), x)
    assert outputs.shape == (4, 6, 7, 4)
    assert values.shape == (4, 6, 7)
    for i, p in enumerate(each):
        h = torch.tanh(x[i] @ p["actor.layers.0.weight"] + p["actor.layers.0.bias"])
        mean = h @ p["actor.layers.1.weight"] + p["actor.layers.1.bias"]
        assert torch.allclose(outputs[i, ..., :2], mean, atol=1e-6)
        assert torch.equal(outputs[i, ..., 2:], p["log_std"].expand_as(mean))
        h = torch.tanh(x[i] @ p["critic.layers.0.weight"] + p["critic.layers.0.bias"])
        value = h @ p["critic.layers.1.weight"] + p["critic.layers.1.bias"]
        assert torch.allclose(values[i], value[..., 0], atol=1e-6)


def test_actor_and_critic_on_one_trunk() -> None:
    g = torch.Generator().manual_seed(0)
    policy = mlp_policy(3, Categorical(2), hidden=(5,), critic=True, shared_trunk=True)
    params = policy.init(g)
    x = torch.randn(1, 6, 7, 3, generator=g)
    h = torch.tanh(x[0] @ params["trunk.layers.0.weight"] + params["trunk.layers.0.bias"])
    logits = h @ params["actor.layers.0.weight"] + params["actor.layers.0.bias"]
    value = h @ params["critic.layers.0.weight"] + params["critic.layers.0.bias"]
    log_p = logits.log_softmax(-1)
    assert torch.allclose(policy.outputs(stack([params]), x)[0], log_p, atol=1e-6)
    assert torch.allclose(policy.values(stack([params]), x)[0], value[..., 0], atol=1e-6)
    assert policy.head == ("actor.layers.0.*", "critic.layers.0.*")


def test_fast_and_slow_sides() -> None:
    policy = mlp_policy(3, Gaussian(2), critic=True)
    names = policy.init(torch.Generator())
    assert policy.slow == ()
    assert policy.head == ("actor.layers.2.*", "critic.layers.2.*", "log_std")
    warped = Policy(WarpMLP(MLP((3, 4, 2))), Categorical(2))
    sides = partition(warped.init(torch.Generator()), slow=warped.slow)
    assert sides.slow == ("actor.warp.0.weight", "actor.warp.0.bias")
    assert "log_std" in names


def test_the_same_generator_draws_the_same_policy() -> None:
    policy = mlp_policy(3, Categorical(2))
    a, b = (policy.init(torch.Generator().manual_seed(3)) for _ in range(2))
    assert all(torch.equal(a[n], b[n]) for n in a)


def test_a_missing_critic_is_named() -> None:
    policy = mlp_policy(3, Categorical(2))
    with pytest.raises(ValueError, match="no critic"):
        policy.values(stack([policy.init(torch.Generator())]), torch.zeros(1, 1, 1, 3))
