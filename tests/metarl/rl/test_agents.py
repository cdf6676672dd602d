"""Agents by a policy: memory of a trial or of an episode, weights of every task."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metarl.core import sgd, stack
from metarl.evaluate.trials import play
from metarl.meta import MAML
from metarl.nn import LSTM
from metarl.rl import (
    Agent,
    Categorical,
    Gaussian,
    PolicyAgent,
    PolicyGradientTasks,
    actor_critic,
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
RECURRENT = actor_critic(LSTM(3, 4), Categorical(2))
WEIGHTS = stack([RECURRENT.init(torch.Generator().manual_seed(0))])


def test_the_evaluator_sees_what_the_exact_return_says() -> None:
    tasks: PolicyGradientTasks = EnumeratedTasks(MDP, POLICY, PLAIN)
    adapted = MAML(draw(POLICY), rule=sgd(0.5), num_steps=1).adapt(tasks, 3)
    agent: Agent = PolicyAgent(POLICY, adapted, generators(1)[0])
    rewards = play(agent, TinyEnv(MDP, 4000, generators(3)), MDP.num_steps)
    returns = rewards.sum(0).reshape(3, 4000)
    expected = MDP.expected_return(POLICY, adapted).numpy()
    assert (np.abs(returns.mean(1) - expected) < 4 * returns.std(1) / 4000**0.5).all()


def test_greedy_actions_are_the_most_probable_of_each_task() -> None:
    policy = mlp_policy(2, Categorical(3), hidden=(4,))
    each = stack([policy.init(torch.Generator().manual_seed(s)) for s in range(3)])
    x = torch.randn(12, 2, generator=generators(1)[0])
    agent = PolicyAgent(policy, each, torch.Generator(), greedy=True)
    agent.begin(12)
    expected = policy.outputs(each, x.view(3, 1, 4, 2))[:, 0].argmax(-1)
    assert torch.equal(agent.act(x), expected.flatten())


def test_one_set_of_weights_plays_any_number_of_trials() -> None:
    policy = mlp_policy(2, Gaussian(2), hidden=(4,))
    agent = PolicyAgent(policy, stack([policy.init(torch.Generator())]), torch.Generator())
    agent.begin(7)
    assert agent.act(torch.zeros(7, 2)).shape == (7, 2)


def test_trials_that_cannot_be_shared_are_refused() -> None:
    policy = mlp_policy(2, Categorical(3))
    each = stack([policy.init(torch.Generator())] * 3)
    with pytest.raises(ValueError, match="7 trials cannot be shared evenly by the weights of 3"):
        PolicyAgent(policy, each, torch.Generator()).begin(7)


def acts(agent, observations):
    agent.begin(observations.shape[1])
    return torch.stack([agent.act(x) for x in observations])


def test_greedy_actions_are_those_of_the_whole_sequence():
    g = torch.Generator().manual_seed(1)
    observations = torch.randn(7, 50, 3, generator=g)  # [T, B, I]
    agent = PolicyAgent(RECURRENT, WEIGHTS, g, greedy=True, remembers="trial")
    actions = acts(agent, observations)
    outputs = RECURRENT.outputs(WEIGHTS, observations[None])
    assert torch.equal(actions, outputs.argmax(-1)[0])


def test_begin_empties_the_memory():
    observations = torch.randn(5, 20, 3, generator=torch.Generator().manual_seed(2))
    agent = PolicyAgent(RECURRENT, WEIGHTS, torch.Generator(), greedy=True, remembers="trial")
    assert torch.equal(acts(agent, observations), acts(agent, observations))


def test_sampled_actions_follow_the_probabilities_and_the_generator():
    observation = torch.randn(1, 1, 3, generator=torch.Generator().manual_seed(3)).repeat(
        1, 9000, 1
    )
    draws = [
        acts(PolicyAgent(RECURRENT, WEIGHTS, torch.Generator().manual_seed(4)), observation)
        for _ in range(2)
    ]
    assert torch.equal(*draws)
    expected = RECURRENT.outputs(WEIGHTS, observation[None]).exp()[0, 0, 0, 1]
    assert abs(draws[0].float().mean() - expected) < 0.03


def test_memory_of_a_trial_outlives_its_episodes_and_that_of_an_episode_does_not():
    observations = torch.randn(2, 40, 3, generator=torch.Generator().manual_seed(5))
    large = {name: p * (0 if "bias" in name else 5) for name, p in WEIGHTS.items()}
    whole = RECURRENT.outputs(large, observations[None])[0, 1].argmax(-1)
    fresh = RECURRENT.outputs(large, observations[None, 1:])[0, 0].argmax(-1)
    assert not torch.equal(whole, fresh)
    over, no = torch.ones(40, dtype=torch.bool), torch.zeros(40, dtype=torch.bool)
    for remembers, expected in (("trial", whole), ("episode", fresh)):
        agent = PolicyAgent(RECURRENT, large, torch.Generator(), greedy=True, remembers=remembers)
        agent.begin(40)
        agent.act(observations[0])
        agent.observe(torch.zeros(40), no, over)
        assert torch.equal(agent.act(observations[1]), expected)
