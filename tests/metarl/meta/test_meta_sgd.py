"""Meta-SGD: step sizes by the chain rule, MAML while they stand."""

from __future__ import annotations

import torch

from metarl.core import sgd
from metarl.meta import MAML, MetaSGD
from tests.metarl.meta.problems import each_task, plain_loss, regression
from tests.metarl.meta.quadratics import (
    D,
    Quadratics,
    draw,
    flat,
    meta_gradient,
    of_theta,
    start,
)

LR = 0.2


def alphas(tasks: Quadratics) -> tuple[MetaSGD, torch.Tensor]:
    """A learner whose step sizes have moved apart, and those ``[D]``."""
    learner = MetaSGD(start(), lr=LR, num_steps=2)
    with torch.no_grad():
        for i, (name, p) in enumerate(learner.params.items()):
            if name.startswith("rule."):
                p.add_(torch.linspace(-0.4, 0.5 + 0.1 * i, p.numel(), dtype=p.dtype))
    rule = {n.removeprefix("0.log_lr."): p.detach().exp() for n, p in learner.rule_params.items()}
    return learner, flat(rule)


def test_on_a_quadratic_it_is_the_closed_form() -> None:
    """Two steps with S = diag(alpha), J = I - S A, e = theta - c.

    phi_2 - c = J^2 e. With q = A' (phi_2 - c'), the gradient of theta is (J^T)^2 q. For alpha:
    d phi_2 = -(dS A) J e - J (dS A) e, so d l / d alpha_j = -(q_j (A J e)_j + (J^T q)_j (A e)_j),
    and that of log alpha is alpha_j times as much.
    """
    tasks = draw()
    learner, alpha = alphas(tasks)
    (matrix, centre), (matrix_q, centre_q) = tasks.support, tasks.query
    jacobian = torch.eye(D) - alpha.view(1, D, 1) * matrix
    e = (flat(start()) - centre).unsqueeze(-1)
    q = matrix_q @ (centre.unsqueeze(-1) + jacobian @ jacobian @ e - centre_q.unsqueeze(-1))
    back = jacobian.mT @ q
    of_alpha = -(q * (matrix @ jacobian @ e) + back * (matrix @ e))
    found = meta_gradient(learner, tasks)
    assert torch.allclose(of_theta(found), (jacobian.mT @ back).mean(0).squeeze(-1), rtol=1e-12)
    rule = {n.removeprefix("rule.0.log_lr."): g for n, g in found.items() if n.startswith("rule")}
    assert torch.allclose(flat(rule), alpha * of_alpha.mean(0).squeeze(-1), rtol=1e-12)


def test_at_the_initial_step_sizes_theta_learns_as_in_maml() -> None:
    tasks, params = draw(), start()
    found = meta_gradient(MetaSGD(params, lr=LR, num_steps=3), tasks)
    maml = meta_gradient(MAML(params, rule=sgd(LR), num_steps=3), tasks)
    assert torch.allclose(of_theta(found), of_theta(maml), rtol=1e-12, atol=1e-12)


def test_on_a_network_step_sizes_pass_central_differences() -> None:
    """Along one random direction of (theta, log alpha), independent of autograd's second order."""
    problem = regression()
    learner = MetaSGD(problem.init(), lr=LR, num_steps=2)
    list(learner.meta_gradients(problem))
    g = torch.Generator().manual_seed(4)
    way = {n: torch.randn(p.shape, generator=g, dtype=p.dtype) for n, p in learner.params.items()}
    slope = sum(float((p.grad * way[n]).sum()) for n, p in learner.params.items())  # type: ignore[operator]
    eps = 1e-5
    values = []
    for sign in (1.0, -1.0):
        moved = {n: p.detach() + sign * eps * way[n] for n, p in learner.params.items()}
        values.append(plain_query_loss(problem, moved, num_steps=2))
    assert abs((values[0] - values[1]) / (2 * eps) / slope - 1) < 1e-8


def plain_query_loss(problem: object, params: dict[str, torch.Tensor], num_steps: int) -> float:
    """The mean query loss after Meta-SGD steps, a task at a time."""
    loss = plain_loss(problem)  # type: ignore[arg-type]
    theta = {n.removeprefix("fast."): p for n, p in params.items() if n.startswith("fast.")}
    values = []
    for support, query in each_task(problem):  # type: ignore[arg-type]
        phi = theta
        for _ in range(num_steps):
            here = {n: p.clone().requires_grad_() for n, p in phi.items()}
            grads = torch.autograd.grad(loss(here, support), list(here.values()))
            phi = {
                n: phi[n] - params[f"rule.0.log_lr.{n}"].exp() * gradient
                for n, gradient in zip(phi, grads, strict=True)
            }
        values.append(float(loss(phi, query)))
    return sum(values) / len(values)
