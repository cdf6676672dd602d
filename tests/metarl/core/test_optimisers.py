"""Stacked agents are clipped and stepped as if each were alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metarl.core import OptimiserSettings, clip_gradients, gradient_norms

SHAPES = ((3, 2), (4,), ())


def random_gradients(num_agents: int) -> list[Tensor]:
    """Gradients ``[N, ...]`` of very different size for each agent."""
    g = torch.Generator().manual_seed(0)
    grads = [torch.randn(num_agents, *s, generator=g, dtype=torch.double) for s in SHAPES]
    scale = 10.0 ** torch.arange(-1, num_agents - 1)
    return [p * scale.view(-1, *(1,) * (p.dim() - 1)) for p in grads]


def test_norms_are_over_all_parameters_of_an_agent() -> None:
    grads = random_gradients(3)
    for n, norm in enumerate(gradient_norms(grads)):
        flat = torch.cat([g[n].flatten() for g in grads])
        torch.testing.assert_close(norm, flat.norm())


def test_clipping_is_pytorchs_for_each_agent() -> None:
    grads = random_gradients(3)
    alone = [[g[n].clone() for g in grads] for n in range(3)]
    grads, norms = clip_gradients(grads, 4.0)
    clipped = []
    for n, own in enumerate(alone):
        leaves = [torch.zeros_like(g, requires_grad=True) for g in own]
        for leaf, g in zip(leaves, own, strict=True):
            leaf.grad = g
        expected = torch.nn.utils.clip_grad_norm_(leaves, 4.0)
        torch.testing.assert_close(norms[n], expected)
        clipped.append(bool(expected > 4.0))
        for stacked, leaf in zip(grads, leaves, strict=True):
            torch.testing.assert_close(stacked[n], leaf.grad, rtol=1e-12, atol=0)
    assert clipped == [False, False, True] or clipped == [False, True, True]


def test_a_gradient_of_zero_stays_zero() -> None:
    (gradient,), norms = clip_gradients([torch.zeros(2, 3)], 1.0)
    assert norms.tolist() == [0.0, 0.0]
    assert not gradient.any()


def test_biases_that_are_added_are_clipped_once_each() -> None:
    """Autograd gives both the same tensor; scaled in place it would be scaled twice."""
    first, second = (torch.ones(1, 2, requires_grad=True) for _ in range(2))
    grads = torch.autograd.grad((3 * (first + second)).sum(), (first, second))
    assert grads[0].data_ptr() == grads[1].data_ptr(), "else this tests nothing"
    clipped, norms = clip_gradients(grads, 1.0)
    assert norms.item() == pytest.approx(6.0)
    assert torch.cat(clipped).norm().item() == pytest.approx(1.0, rel=1e-5)


def build_torch(name: str, params: list[Tensor]) -> torch.optim.Optimizer:
    """The same optimiser, spelt out."""
    match name:
        case "adam":
            return torch.optim.Adam(params, lr=0.05, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.1)
        case "rmsprop":
            return torch.optim.RMSprop(
                params, lr=0.05, alpha=0.95, eps=1e-4, weight_decay=0.1, momentum=0.8
            )
        case _:
            return torch.optim.SGD(params, lr=0.05, momentum=0.8, weight_decay=0.1)


@pytest.mark.parametrize("name", ["adam", "rmsprop", "sgd"])
def test_an_optimiser_of_stacked_agents_is_one_for_each(name: str) -> None:
    settings = OptimiserSettings(
        name=name, lr=0.05, beta1=0.8, beta2=0.95, eps=1e-4, weight_decay=0.1
    )
    start = random_gradients(3)
    stacked = [p.clone().requires_grad_() for p in start]
    alone = [[p[n].clone().requires_grad_() for p in start] for n in range(3)]
    together = settings.build(iter(stacked))
    separate = [build_torch(name, own) for own in alone]
    g = torch.Generator().manual_seed(1)
    for _ in range(4):
        for k, p in enumerate(stacked):
            p.grad = torch.randn(p.shape, generator=g, dtype=p.dtype)
            for n in range(3):
                alone[n][k].grad = p.grad[n].clone()
        together.step()
        for optimiser in separate:
            optimiser.step()
    for n in range(3):
        for p, own, first in zip(stacked, alone[n], start, strict=True):
            torch.testing.assert_close(p[n], own, rtol=1e-12, atol=1e-12)
            assert not torch.equal(own, first[n])
