"""Adapted weights as an agent: each task's trials are played with its own, and can be evaluated."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metarl.core import sgd, stack
from metarl.evaluate.trials import play
from metarl.meta import MAML
from metarl.rl import (
    AdaptedAgent,
    Agent,
    Categorical,
    Gaussian,
    PolicyGradientTasks,
    mlp_policy,
)
from tests.metarl.rl.enumerable import (
    PLAIN,
    EnumeratedTasks,
    TinyEnv,
    draw,
    generators,
    tiny_mdp,
    tiny_policy,
)

MDP, POLICY = tiny_mdp(3), tiny_policy()


def test_the_evaluator_sees_what_the_exact_return_says() -> None:
    tasks: PolicyGradientTasks = EnumeratedTasks(MDP, POLICY, PLAIN)
    adapted = MAML(draw(POLICY), rule=sgd(0.5), num_steps=1).adapt(tasks, 3)
    agent: Agent = AdaptedAgent(POLICY, adapted, generators(1)[0])
    rewards = play(agent, TinyEnv(MDP, 4000, generators(3)), MDP.num_steps)
    returns = rewards.sum(0).reshape(3, 4000)
    expected = MDP.expected_return(POLICY, adapted).numpy()
    assert (np.abs(returns.mean(1) - expected) < 4 * returns.std(1) / 4000**0.5).all()


def test_greedy_actions_are_the_most_probable_of_each_task() -> None:
    policy = mlp_policy(2, Categorical(3), hidden=(4,))
    each = stack([policy.init(torch.Generator().manual_seed(s)) for s in range(3)])
    x = torch.randn(12, 2, generator=generators(1)[0])
    agent = AdaptedAgent(policy, each, torch.Generator(), greedy=True)
    agent.begin(12)
    expected = policy.outputs(each, x.view(3, 1, 4, 2))[:, 0].argmax(-1)
    assert torch.equal(agent.act(x), expected.flatten())


def test_one_set_of_weights_plays_any_number_of_trials() -> None:
    policy = mlp_policy(2, Gaussian(2), hidden=(4,))
    agent = AdaptedAgent(policy, stack([policy.init(torch.Generator())]), torch.Generator())
    agent.begin(7)
    assert agent.act(torch.zeros(7, 2)).shape == (7, 2)


def test_trials_that_cannot_be_shared_are_refused() -> None:
    policy = mlp_policy(2, Categorical(3))
    each = stack([policy.init(torch.Generator())] * 3)
    with pytest.raises(ValueError, match="7 trials cannot be shared evenly by the weights of 3"):
        AdaptedAgent(policy, each, torch.Generator()).begin(7)
