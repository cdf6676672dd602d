"""Losses against hand-computed numbers; agents never mix."""

import math

import torch
from torch import Tensor

from metarl.rl.losses import (
    clipped_surrogate,
    log_probabilities,
    policy_gradient,
    shannon_entropy,
    simpson_index,
    squared_error,
)


def logits_of(probabilities: list[float]) -> Tensor:
    return torch.tensor(probabilities).log().view(1, -1, 1, 1)


def test_log_probabilities_by_hand():
    log_p, taken = log_probabilities(logits_of([0.5, 0.25, 0.25]), torch.tensor([[[1]]]))
    torch.testing.assert_close(log_p.exp().flatten(), torch.tensor([0.5, 0.25, 0.25]))
    assert math.isclose(taken.item(), math.log(0.25), rel_tol=1e-6)


def test_entropies_by_hand():
    log_p = logits_of([0.5, 0.25, 0.25])
    assert math.isclose(shannon_entropy(log_p).item(), 1.5 * math.log(2), rel_tol=1e-6)
    assert math.isclose(simpson_index(log_p).item(), 0.375, rel_tol=1e-6)


def test_policy_and_value_losses_by_hand():
    log_p = torch.tensor([[[-1.0, -2.0]]])
    assert policy_gradient(log_p, torch.tensor([[[3.0, -1.0]]])).tolist() == [0.5]
    assert squared_error(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[3.0, 2.0]]])).tolist() == [
        2.0
    ]


def test_clipped_surrogate_by_hand():
    old = torch.zeros(1, 1, 4)
    ratio = torch.tensor([[[1.5, 1.5, 0.5, 0.5]]])
    advantages = torch.tensor([[[1.0, -1.0, 1.0, -1.0]]])
    # min(rA, clip(r) A): 1.2, -1.5, 0.5, -0.8
    loss = clipped_surrogate(ratio.log(), old, advantages, 0.2)
    assert math.isclose(loss.item(), -(1.2 - 1.5 + 0.5 - 0.8) / 4, rel_tol=1e-6)


def test_clipped_surrogate_has_the_policy_gradient_at_ratio_one():
    g = torch.Generator().manual_seed(0)
    log_p = torch.randn(2, 3, 4, generator=g, dtype=torch.float64, requires_grad=True)
    advantages = torch.randn(2, 3, 4, generator=g, dtype=torch.float64)
    ppo = clipped_surrogate(log_p, log_p.detach(), advantages, 0.2).sum()
    a2c = policy_gradient(log_p, advantages).sum()
    torch.testing.assert_close(*(torch.autograd.grad(loss, log_p)[0] for loss in (ppo, a2c)))


def test_losses_of_agents_are_apart():
    """The loss of agent 0 has no gradient by agent 1's numbers, nor depends on their count."""
    logits = torch.randn(2, 5, 3, 4, requires_grad=True)
    log_p, taken = log_probabilities(logits, torch.zeros(2, 3, 4, dtype=torch.int64))
    loss = policy_gradient(taken, torch.ones(2, 3, 4)) + simpson_index(log_p)
    (gradient,) = torch.autograd.grad(loss[0], logits)
    assert gradient[0].abs().sum() > 0
    assert not gradient[1].any()
