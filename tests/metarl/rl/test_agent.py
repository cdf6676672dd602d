"""The recurrent agent plays by its policy, one trial at a time."""

import torch

from metarl.core import unstack
from metarl.nn import LSTM
from metarl.rl import ActorCritic, RecurrentAgent

POLICY = ActorCritic(LSTM(3, 4), 2)
PARAMS = POLICY.init(torch.Generator().manual_seed(0))


def play(agent, observations):
    agent.begin(observations.shape[1])
    return torch.stack([agent.act(x) for x in observations])


def test_greedy_actions_are_those_of_the_whole_sequence():
    g = torch.Generator().manual_seed(1)
    observations = torch.randn(7, 50, 3, generator=g)  # [T, B, I]
    agent = RecurrentAgent(POLICY, PARAMS, g, greedy=True)
    actions = play(agent, observations)
    stacked = {name: p[None] for name, p in PARAMS.items()}
    logits, _ = POLICY.outputs(stacked, observations[None])
    assert torch.equal(actions, unstack({"a": logits.argmax(1)}, 0)["a"])


def test_begin_empties_the_memory():
    observations = torch.randn(5, 20, 3, generator=torch.Generator().manual_seed(2))
    agent = RecurrentAgent(POLICY, PARAMS, torch.Generator(), greedy=True)
    assert torch.equal(play(agent, observations), play(agent, observations))


def test_sampled_actions_follow_the_probabilities_and_the_generator():
    observation = torch.randn(1, 1, 3, generator=torch.Generator().manual_seed(3)).repeat(
        1, 9000, 1
    )
    draws = [
        play(RecurrentAgent(POLICY, PARAMS, torch.Generator().manual_seed(4)), observation)
        for _ in range(2)
    ]
    assert torch.equal(*draws)
    logits, _ = POLICY.outputs({name: p[None] for name, p in PARAMS.items()}, observation[None])
    expected = logits.softmax(1)[0, 1, 0, 0]
    assert abs(draws[0].float().mean() - expected) < 0.03
