"""MAML with the rule Meta-Curvature: MAML at the identity, and central differences away from it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from metarl.core import Params, meta_curvature, scope, sgd
from metarl.meta import MAML
from tests.metarl.meta.problems import (
    Problem,
    classification,
    each_task,
    plain_loss,
    regression,
    relative_error,
)
from tests.metarl.meta.quadratics import D, draw, flat, meta_gradient, start

LR, K = 0.1, 2


def test_on_a_quadratic_it_is_the_closed_form() -> None:
    """phi_1 = theta - a d o g with a diagonal d, so dl/dd = -a q o g, q = A' (phi_1 - c')."""
    tasks = draw()
    learner = MAML(start(), rule=meta_curvature(LR))
    with torch.no_grad():
        for name, p in learner.params.items():
            if name.startswith("rule."):
                p.add_(torch.linspace(-0.5, 0.5, p.numel(), dtype=p.dtype))
    diagonal = flat(scope(learner.rule_params, "0.diagonal")).detach()
    (matrix, centre), (matrix_q, centre_q) = tasks.support, tasks.query
    g = torch.einsum("nde,ne->nd", matrix, flat(start()) - centre)
    q = torch.einsum("nde,ne->nd", matrix_q, flat(start()) - LR * diagonal * g - centre_q)
    found = meta_gradient(learner, tasks)
    of_rule = flat(scope(scope(found, "rule"), "0.diagonal"))
    assert torch.allclose(of_rule, (-LR * q * g).mean(0), rtol=1e-12)
    jacobian = torch.eye(D) - LR * diagonal.view(1, D, 1) * matrix
    of_theta = torch.einsum("ned,ne->nd", jacobian, q).mean(0)
    assert torch.allclose(flat(scope(found, "fast")), of_theta, rtol=1e-12)


@pytest.mark.parametrize("make", [regression, classification])
def test_at_the_identity_it_is_maml(make: Callable[[], Problem]) -> None:
    problem = make()
    found = []
    for rule in (meta_curvature(LR), sgd(LR)):
        learner = MAML(problem.init(), rule=rule, num_steps=K)
        list(learner.meta_gradients(problem))
        found.append({n: p.grad for n, p in learner.params.items() if n.startswith("fast.")})
    assert relative_error(*found) < 1e-12  # type: ignore[arg-type]


def plain_query_loss(problem: Problem, params: Params) -> float:
    """K steps of phi - a M_0 G M_1^T (or a d o g), one task after the other."""
    loss, rule = plain_loss(problem), scope(scope(params, "rule"), "0")
    total = 0.0
    for support, query in each_task(problem):
        phi = scope(params, "fast")
        for _ in range(K):
            here = {n: p.clone().requires_grad_() for n, p in phi.items()}
            grads = torch.autograd.grad(loss(here, support), list(here.values()))
            for n, g in zip(here, grads, strict=True):
                phi[n] = phi[n] - LR * curved(g, n, rule)
        total += float(loss(phi, query)) / problem.num_tasks
    return total


def curved(g: Tensor, name: str, rule: Params) -> Tensor:
    if g.dim() == 1:
        return rule[f"diagonal.{name}"] * g
    return rule[f"axis0.{name}"] @ g @ rule[f"axis1.{name}"].T


def test_on_a_network_it_passes_central_differences() -> None:
    problem = regression()
    learner = MAML(problem.init(), rule=meta_curvature(LR), num_steps=K)
    g = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, p in learner.params.items():
            if name.startswith("rule."):
                p.add_(0.2 * torch.randn(p.shape, generator=g, dtype=p.dtype))
    list(learner.meta_gradients(problem))
    way = {n: torch.randn(p.shape, generator=g, dtype=p.dtype) for n, p in learner.params.items()}
    slope = sum(float((p.grad * way[n]).sum()) for n, p in learner.params.items())  # type: ignore[operator]

    def value(step: float) -> float:
        at = {n: p.detach() + step * way[n] for n, p in learner.params.items()}
        return plain_query_loss(problem, at)

    eps = 1e-4
    numeric = (8 * (value(eps) - value(-eps)) - (value(2 * eps) - value(-2 * eps))) / (12 * eps)
    assert abs(numeric / slope - 1) < 1e-9
