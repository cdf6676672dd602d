"""ANIL: the head adapts, the body learns through it."""

from __future__ import annotations

import pytest
import torch

from metarl.core import sgd
from metarl.meta import ANIL, MAML
from tests.metarl.meta.problems import each_task, plain_loss, plain_sgd, regression, relative_error
from tests.metarl.meta.quadratics import (
    BODY,
    D,
    draw,
    flat,
    meta_gradient,
    of_theta,
    start,
)

LR, K = 0.2, 3


def test_on_a_quadratic_it_is_the_closed_form() -> None:
    """With P the projection on the head, theta_{k+1} = theta_k - a P A (theta_k - c).

    So phi_K - c = J^K (theta - c) with J = I - a P A, and by the chain rule the gradient of the
    query loss is (J^K)^T A' (phi_K - c').
    """
    tasks, params = draw(), start()
    (matrix, centre), (matrix_q, centre_q) = tasks.support, tasks.query
    project = torch.diag((torch.arange(D) >= BODY).double())
    jacobian = torch.linalg.matrix_power(torch.eye(D) - LR * project @ matrix, K)
    end = centre + torch.einsum("nde,ne->nd", jacobian, flat(params) - centre)
    expected = torch.einsum("ned,nef,nf->nd", jacobian, matrix_q, end - centre_q).mean(0)
    learner = ANIL(params, head=("head",), rule=sgd(LR), num_steps=K)
    found = of_theta(meta_gradient(learner, tasks), body="slow")
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_on_a_network_it_is_that_of_a_plain_loop() -> None:
    problem = regression()
    params = problem.init()
    learner = ANIL(params, head=problem.network.head, rule=sgd(LR), num_steps=K)
    loss, head = plain_loss(problem), {"layers.2.weight", "layers.2.bias"}
    total = {n: torch.zeros_like(p) for n, p in params.items()}
    for support, query in each_task(problem):
        begin = {n: p.clone().requires_grad_() for n, p in params.items()}
        value = loss(plain_sgd(loss, begin, support, LR, K, head), query)
        for n, g in zip(params, torch.autograd.grad(value, list(begin.values())), strict=True):
            total[n] += g / problem.num_tasks
    list(learner.meta_gradients(problem))
    found = {n: learner.params[("fast." if n in head else "slow.") + n].grad for n in params}
    assert relative_error(found, total) < 1e-9  # type: ignore[arg-type]


def test_the_body_does_not_adapt() -> None:
    learner = ANIL(start(), head=("head",), rule=sgd(LR), num_steps=K)
    assert learner.adapt(draw(), 5).keys() == {"head"}


def test_first_order_leaves_out_what_the_body_says_through_the_head() -> None:
    """Then the body's gradient is that of the query loss alone: A' (phi_K - c')."""
    tasks, params = draw(), start()
    learner = ANIL(params, head=("head",), rule=sgd(LR), num_steps=K, first_order=True)
    body = params["body"].expand(tasks.num_tasks, BODY)
    end = torch.cat([body, learner.adapt(tasks, K)["head"]], 1)
    matrix, centre = tasks.query
    expected = torch.einsum("nde,ne->nd", matrix, end - centre).mean(0)
    found = of_theta(meta_gradient(learner, tasks), body="slow")
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_with_everything_in_the_head_it_is_maml() -> None:
    tasks, params = draw(), start()
    anil = ANIL(params, head=("*",), rule=sgd(LR), num_steps=K)
    maml = MAML(params, rule=sgd(LR), num_steps=K)
    assert torch.equal(of_theta(meta_gradient(anil, tasks)), of_theta(meta_gradient(maml, tasks)))


def test_a_misspelt_head_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"head pattern 'haed' matches no parameter.*body, head"):
        ANIL(start(), head=("haed",), rule=sgd(LR))
