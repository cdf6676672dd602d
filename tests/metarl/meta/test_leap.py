"""Leap: eq. 8 by hand and by finite differences, its metrics, and the faults of published code."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from metarl.core import InnerStep, Params, inner_steps, sgd, share
from metarl.meta import (
    SIMPLIFIED,
    EndPoint,
    Leap,
    LeapMetric,
    LeapObjective,
    MetaLearner,
    OnlineWarpGrad,
    leap_gradient,
)
from tests.metarl.meta.problems import (
    Data,
    each_task,
    plain_loss,
    plain_sgd,
    regression,
    relative_error,
)
from tests.metarl.meta.quadratics import D, Quadratics, draw, flat, meta_gradient, of_theta, start

LR, K = 0.2, 5
METRICS = [
    LeapMetric(distance, loss=loss, stabiliser=stabiliser)  # type: ignore[arg-type]
    for distance, loss, stabiliser in itertools.product(
        ("length", "energy"), (True, False), (True, False)
    )
]


def path(tasks: Quadratics, params: Params, lr: float = LR) -> tuple[Tensor, Tensor, Tensor]:
    """phi_k ``[K + 1, N, D]``, l(phi_k) and grad l(phi_k): phi_k = c + (I - a A)^k (theta - c)."""
    matrix, centre = tasks.support
    shrink = torch.eye(D) - lr * matrix
    offsets = [flat(params) - centre]
    for _ in range(K):
        offsets.append(torch.einsum("nde,ne->nd", shrink, offsets[-1]))
    offset = torch.stack(offsets)
    grads = torch.einsum("nde,kne->knd", matrix, offset)
    return centre + offset, 0.5 * (offset * grads).sum(-1), grads


@pytest.mark.parametrize("metric", METRICS, ids=str)
@pytest.mark.parametrize("include_final", [True, False])
def test_on_a_quadratic_it_is_eq_8(metric: LeapMetric, include_final: bool) -> None:
    """-p sum_k (dl_k g_k + dphi_k) n_k^(p - 2), written out over the closed-form path."""
    tasks, params = draw(), start()
    lr = 0.9  # so long that some steps lead uphill
    phi, loss, grads = path(tasks, params, lr)
    assert loss.diff(dim=0).gt(0).any()
    assert loss.diff(dim=0).lt(0).any()
    if not include_final:
        phi, loss = phi[:-1], loss[:-1]
    d_phi, d_loss = phi.diff(dim=0), loss.diff(dim=0)
    p = 1 if metric.distance == "length" else 2
    norm = (d_phi.square().sum(-1) + (d_loss.square() if metric.loss else 0)).sqrt()
    slope = -d_loss.abs() if metric.stabiliser else d_loss
    pull = d_phi + (slope[..., None] * grads[: len(d_phi)] if metric.loss else 0)
    expected = -p * (pull * norm[..., None] ** (p - 2)).sum(0).mean(0)
    learner = Leap(params, rule=sgd(lr), num_steps=K, metric=metric, include_final=include_final)
    assert torch.allclose(of_theta(meta_gradient(learner, tasks)), expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("distance", ["length", "energy"])
@pytest.mark.parametrize("loss", [True, False])
def test_on_a_network_it_is_the_derivative_of_the_frozen_distance(
    distance: str, loss: bool
) -> None:
    """Autograd of sum_k ||sg(gamma_{k+1}) - gamma_k||^p with d phi_k / d theta = I, by task."""
    problem = regression()
    params = problem.init()
    loss_of = plain_loss(problem)
    power = 1 if distance == "length" else 2
    total = {n: torch.zeros_like(p) for n, p in params.items()}
    for support, _ in each_task(problem):
        points = plain_points(loss_of, params, support)
        shift = {n: torch.zeros_like(p, requires_grad=True) for n, p in params.items()}
        far: Tensor = torch.zeros(())
        for here, there in itertools.pairwise(points):
            moved = {n: p + shift[n] for n, p in here.items()}
            square = sum((there[n] - moved[n]).square().sum() for n in params)
            if loss:
                ahead = loss_of(there, support).detach()
                square = square + (ahead - loss_of(moved, support)).square()
            far = far + torch.as_tensor(square) ** (power / 2)
        for n, g in zip(shift, torch.autograd.grad(far, list(shift.values())), strict=True):
            total[n] += g / problem.num_tasks
    metric = LeapMetric(distance, loss=loss, stabiliser=False, eps=0.0)  # type: ignore[arg-type]
    learner = Leap(params, rule=sgd(LR), num_steps=K, metric=metric)
    list(learner.meta_gradients(problem))
    found = {n: learner.params[f"fast.{n}"].grad for n in params}
    assert relative_error(found, total) < 1e-9  # type: ignore[arg-type]


def plain_points(
    loss: Callable[[Params, Data], Tensor], params: Params, data: Data
) -> list[dict[str, Tensor]]:
    """phi_0 ... phi_K of one task."""
    begin = {n: p.clone().requires_grad_() for n, p in params.items()}
    ends = [plain_sgd(loss, begin, data, LR, k, set(params)) for k in range(K + 1)]
    return [{n: p.detach() for n, p in end.items()} for end in ends]


def test_the_simplified_form_is_the_sum_of_unit_increments() -> None:
    tasks, params = draw(), start()
    increments = -path(tasks, params)[0].diff(dim=0)
    expected = (increments / increments.norm(dim=-1, keepdim=True)).sum(0).mean(0)
    learner = Leap(params, rule=sgd(LR), num_steps=K, metric=SIMPLIFIED)
    assert torch.allclose(of_theta(meta_gradient(learner, tasks)), expected, rtol=1e-7, atol=1e-8)


def test_the_stabiliser_matters_only_uphill() -> None:
    """Steps of 1.9 over the curvature jump across the valley but go down; of 2.1, up."""
    one = torch.ones(1, 1, 1, dtype=torch.float64) * torch.eye(D, dtype=torch.float64)
    centre = torch.zeros(1, D, dtype=torch.float64)
    tasks = Quadratics((one, centre), (one, centre), torch.arange(1))
    for lr, differs in ((1.9, False), (2.1, True)):
        found = [
            of_theta(
                meta_gradient(
                    Leap(
                        start(), rule=sgd(lr), num_steps=2, metric=LeapMetric(stabiliser=stabiliser)
                    ),
                    tasks,
                )
            )
            for stabiliser in (False, True)
        ]
        assert torch.equal(*found) is not differs


def test_a_path_that_stands_still_has_gradient_zero() -> None:
    """Begun at the minimum nothing moves: 0 / 0 is taken for 0."""
    tasks = draw(1)
    tasks = replace(tasks, support=(tasks.support[0], flat(start())[None]))
    learner = Leap(start(), rule=sgd(LR), num_steps=3)
    assert of_theta(meta_gradient(learner, tasks)).eq(0).all()


def test_the_length_of_a_short_path_pulls_with_force_one() -> None:
    """Eq. 8 for p = 1 without the loss: the gradient is a unit vector, however near the end."""
    far, near = ({"w": torch.tensor([[x, 0.0]], dtype=torch.float64)} for x in (1e-9, 0.0))
    points = [EndPoint(p, torch.zeros(1, dtype=torch.float64)) for p in (far, near)]
    pull = leap_gradient(points, LeapMetric(loss=False))["w"]
    torch.testing.assert_close(pull, torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    published = leap_gradient(points, LeapMetric(loss=False, eps=1e-9))["w"]
    assert published[0, 0] == pytest.approx(0.5)


@pytest.mark.parametrize("scale", [1e-9, 1e-30, 1e-100, 1e-200])
@pytest.mark.parametrize("through", ["leap", "warp"])
def test_near_convergence_the_gradient_is_that_of_the_path_magnified(
    scale: float, through: str
) -> None:
    """Around the minimum 0 all paths are alike, and so are their unit increments, however short.

    The loss falls with the square of the scale: with it as a coordinate the limit is the same.
    """
    tasks = draw()
    tasks = replace(tasks, support=(tasks.support[0], torch.zeros_like(tasks.support[1])))
    increments = -path(tasks, start())[0].diff(dim=0)
    expected = (increments / increments.norm(dim=-1, keepdim=True)).sum(0).mean(0)
    params = {n: scale * p for n, p in start().items()}
    for metric in (SIMPLIFIED, LeapMetric()):
        common = {"rule": sgd(LR), "num_steps": K}
        if through == "leap":
            learner: MetaLearner = Leap(params, metric=metric, **common)  # type: ignore[arg-type]
        else:
            objective = LeapObjective(metric)
            learner = OnlineWarpGrad(params, slow=(), initialisation=objective, **common)  # type: ignore[arg-type]
        found = of_theta(meta_gradient(learner, tasks))
        assert torch.allclose(found, expected, rtol=1e-8 if metric.loss else 1e-12, atol=0)


def test_no_graph_is_kept() -> None:
    tasks = draw()
    learner = Leap(start(), rule=sgd(LR), num_steps=K)
    with torch.enable_grad():
        grads, metrics = learner.task_gradients(tasks)
    assert not any(t.requires_grad for t in [*grads.values(), *metrics.values()])
    fast = {n: p.requires_grad_() for n, p in share(start(), tasks.num_tasks).items()}
    steps = inner_steps(tasks, fast, {}, sgd(LR), K, create_graph=True)
    assert not any(g.requires_grad for g in leap_gradient(steps, LeapMetric()).values())


def test_any_trajectory_will_do() -> None:
    """A stored path, as a replay buffer keeps it, gives what the running loop gives."""
    tasks, params = draw(), start()
    fast = share(params, tasks.num_tasks)
    steps: list[InnerStep[object]] = list(inner_steps(tasks, fast, {}, sgd(LR), K))  # type: ignore[arg-type]
    end = EndPoint(steps[-1].next_fast, tasks.loss(steps[-1].next_fast, {}, tasks.support))
    stored = leap_gradient([*steps, end], LeapMetric())
    found = meta_gradient(Leap(params, rule=sgd(LR), num_steps=K), tasks)
    assert torch.allclose(flat({n: g.mean(0) for n, g in stored.items()}), of_theta(found))
    published = leap_gradient(steps, LeapMetric())
    without = meta_gradient(Leap(params, rule=sgd(LR), num_steps=K, include_final=False), tasks)
    assert torch.allclose(flat({n: g.mean(0) for n, g in published.items()}), of_theta(without))


def test_a_path_of_one_point_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two points"):
        leap_gradient([EndPoint(share(start(), 2), torch.zeros(2))], LeapMetric())
    with pytest.raises(ValueError, match="num_steps must be at least 2"):
        Leap(start(), rule=sgd(LR), num_steps=1, include_final=False)
