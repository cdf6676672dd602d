"""Returns and advantages against hand-computed numbers, and their time alignment."""

import pytest
import torch

from metarl.rl.returns import delayed_returns, discounted_returns, generalised_advantages

REWARDS = torch.tensor([[1.0, 0.0], [0.0, 0.0], [4.0, 8.0]])  # [T = 3, B = 2]


def test_returns_by_hand():
    returns = discounted_returns(REWARDS, 0.5)
    assert returns.tolist() == [[2.0, 2.0], [2.0, 4.0], [4.0, 8.0]]


def test_published_returns_are_one_step_late_and_lose_the_last_reward():
    returns = delayed_returns(REWARDS, 0.5)
    # r shifted by one: [0, 0], [1, 0], [0, 0]
    assert returns.tolist() == [[0.5, 0.0], [1.0, 0.0], [0.0, 0.0]]


def test_advantages_by_hand():
    values = torch.tensor([[1.0], [2.0], [3.0]])
    rewards = torch.tensor([[1.0], [0.0], [4.0]])
    # deltas at gamma = 0.5: 1 + 1 - 1 = 1; 0 + 1.5 - 2 = -0.5; 4 - 3 = 1
    # A at gamma * lambda = 0.25: 1 + 0.25 * (-0.25) = 0.9375; -0.5 + 0.25 = -0.25; 1
    advantages = generalised_advantages(rewards, values, 0.5, 0.5)
    assert advantages.flatten().tolist() == [0.9375, -0.25, 1.0]


def test_advantages_reduce_to_returns_minus_values_and_to_deltas():
    g = torch.Generator().manual_seed(0)
    rewards = torch.randn(2, 7, 3, generator=g, dtype=torch.float64)
    values = torch.randn(2, 7, 3, generator=g, dtype=torch.float64)
    monte_carlo = generalised_advantages(rewards, values, 0.9, 1.0)
    torch.testing.assert_close(monte_carlo, discounted_returns(rewards, 0.9) - values)
    one_step = generalised_advantages(rewards, values, 0.9, 0.0)
    torch.testing.assert_close(one_step[:, -1], rewards[:, -1] - values[:, -1])
    expected = rewards[:, :-1] + 0.9 * values[:, 1:] - values[:, :-1]
    torch.testing.assert_close(one_step[:, :-1], expected)


@pytest.mark.parametrize(
    ("estimator", "aligned"), [(discounted_returns, True), (delayed_returns, False)]
)
def test_a_reward_is_credited_to_its_action(estimator, aligned):
    """A reward at time 1 must reach the action at time 1; the published returns fail this."""
    rewards = torch.tensor([[0.0], [1.0], [0.0]])
    credit = estimator(rewards, 0.0)
    assert (credit[1].item() == 1.0) is aligned
