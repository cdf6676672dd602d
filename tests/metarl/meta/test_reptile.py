"""Reptile: its gradient by hand, serial and in a batch, and what it reduces to."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from metarl.core import adam, sgd
from metarl.meta import Leap, LeapMetric, Reptile
from tests.metarl.meta.problems import each_task, plain_loss, plain_sgd, regression, relative_error
from tests.metarl.meta.quadratics import D, draw, flat, meta_gradient, of_theta, start

LR, K = 0.2, 4


def test_on_a_quadratic_it_is_the_closed_form() -> None:
    """phi_K - c = (I - a A)^K (theta - c), so theta - phi_K = (I - (I - a A)^K) (theta - c)."""
    tasks, params = draw(), start()
    matrix, centre = tasks.support
    shrink = torch.linalg.matrix_power(torch.eye(D) - LR * matrix, K)
    offset = flat(params) - centre
    expected = (offset - torch.einsum("nde,ne->nd", shrink, offset)).mean(0)
    found = meta_gradient(Reptile(params, rule=sgd(LR), num_steps=K), tasks)
    assert torch.allclose(of_theta(found), expected, rtol=1e-12, atol=1e-12)


def test_the_last_step_counts() -> None:
    """With one step theta - phi_1 = a grad l(theta); the published code's theta - phi_0 is 0."""
    tasks, params = draw(), start()
    matrix, centre = tasks.support
    gradient = torch.einsum("nde,ne->nd", matrix, flat(params) - centre).mean(0)
    found = of_theta(meta_gradient(Reptile(params, rule=sgd(LR), num_steps=1), tasks))
    assert torch.allclose(found, LR * gradient, rtol=1e-12, atol=0)
    unit = of_theta(meta_gradient(Reptile(params, rule=sgd(LR), num_steps=1, scale=1 / LR), tasks))
    assert torch.allclose(unit, gradient, rtol=1e-12, atol=0)


def test_on_a_network_it_is_that_of_a_plain_loop() -> None:
    problem = regression()
    params = problem.init()
    loss = plain_loss(problem)
    total = {n: torch.zeros_like(p) for n, p in params.items()}
    for support, _ in each_task(problem):
        begin = {n: p.clone().requires_grad_() for n, p in params.items()}
        end = plain_sgd(loss, begin, support, LR, K, set(params))
        total = {n: t + (params[n] - end[n].detach()) / problem.num_tasks for n, t in total.items()}
    learner = Reptile(params, rule=sgd(LR), num_steps=K)
    list(learner.meta_gradients(problem))
    found = {n: learner.params[f"fast.{n}"].grad for n in params}
    assert relative_error(found, total) < 1e-12  # type: ignore[arg-type]


def test_gradient_descent_on_it_interpolates() -> None:
    tasks, params = draw(), start()
    learner = Reptile(params, rule=adam(0.1), num_steps=K)
    end = flat({n: p.mean(0) for n, p in learner.adapt(tasks, K).items()})
    optimiser = torch.optim.SGD(learner.params.values(), lr=0.25)
    for _ in learner.meta_gradients(tasks):
        optimiser.step()
    assert torch.allclose(flat(learner.fast), 0.75 * flat(params) + 0.25 * end)


def test_serial_tasks_follow_one_another() -> None:
    """Algorithm 1 by hand: theta <- theta + eps (phi_K^i - theta), i = 1, 2, ..."""
    tasks, params = draw(), start()
    epsilon, theta = 0.5, flat(params)
    for matrix, centre in zip(*tasks.support, strict=True):
        shrink = torch.linalg.matrix_power(torch.eye(D) - LR * matrix, K)
        theta = theta + epsilon * (centre + shrink @ (theta - centre) - theta)

    learner = Reptile(params, rule=sgd(LR), num_steps=K, schedule="serial")
    optimiser = torch.optim.SGD(learner.params.values(), lr=epsilon)
    num_yields = 0
    for metrics in learner.meta_gradients(tasks):
        assert metrics["support_loss"].shape == (1,)
        optimiser.step()
        optimiser.zero_grad()
        num_yields += 1
    assert num_yields == tasks.num_tasks
    assert torch.allclose(flat(learner.fast), theta, rtol=1e-12, atol=1e-12)


def test_serial_and_batch_agree_on_one_task() -> None:
    tasks, params = draw(1), start()
    serial = Reptile(params, rule=sgd(LR), num_steps=K, schedule="serial")
    batch = Reptile(params, rule=sgd(LR), num_steps=K)
    assert torch.equal(
        of_theta(meta_gradient(serial, tasks)), of_theta(meta_gradient(batch, tasks))
    )


@pytest.mark.parametrize("rule", [sgd(LR), sgd(LR, 0.9), adam(0.1)])
def test_leap_with_the_energy_of_the_parameters_is_twice_reptile(rule: object) -> None:
    tasks, params = draw(), start()
    metric = LeapMetric("energy", loss=False, stabiliser=False)
    leap = Leap(params, rule=rule, num_steps=K, metric=metric)  # type: ignore[arg-type]
    reptile = Reptile(params, rule=rule, num_steps=K)  # type: ignore[arg-type]
    twice = 2 * of_theta(meta_gradient(reptile, tasks))
    assert torch.allclose(of_theta(meta_gradient(leap, tasks)), twice, rtol=1e-12, atol=1e-12)


def test_no_query_is_read_and_slow_parameters_get_no_gradient() -> None:
    tasks, params = draw(), start()
    nowhere = torch.full_like(tasks.query[1], torch.nan)
    blind = replace(tasks, query=(tasks.query[0], nowhere))
    learner = Reptile(params, rule=sgd(LR), num_steps=K, slow=("body",))
    found = meta_gradient(learner, blind)
    assert found.keys() == {"fast.head"}
    assert found["fast.head"].isfinite().all()


def test_a_scale_that_means_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scale must be finite and above 0, got 0\.0"):
        Reptile(start(), rule=sgd(LR), num_steps=K, scale=0.0)
