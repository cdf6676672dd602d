"""DAML: a learned loss without labels, by hand, beside a plain loop, and as MAML."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from metarl.core import Params, sgd
from metarl.meta import DAML, MAML
from metarl.nn import MLP
from tests.metarl.meta.problems import (
    Data,
    Problem,
    each_task,
    plain_loss,
    plain_mlp,
    regression,
    relative_error,
)
from tests.metarl.meta.quadratics import D, draw, flat, meta_gradient, of_theta, start

LR, K = 0.1, 2


def linear_objective(params: Params, features: Tensor) -> Tensor:
    return features @ params["w"]


def test_on_a_quadratic_it_is_the_closed_form() -> None:
    """g_psi(theta - c) = W^T (theta - c) with D' outputs.

    L_psi = |W^T e|^2 / D' with e = theta - c, so phi_1 = theta - a (2 / D') W W^T e. With
    q = A' (phi_1 - c'): the gradient of theta is (I - a (2 / D') W W^T) q, and that of W
    -a (2 / D') (q e^T + e q^T) W.
    """
    tasks = draw()
    w = torch.randn(D, 3, generator=torch.Generator().manual_seed(1)).double()
    learner = DAML(
        start(), objective=linear_objective, objective_params={"w": w}, rule=sgd(LR), num_steps=1
    )
    e, factor = flat(start()) - tasks.support[1], LR * 2 / 3
    q = torch.einsum(
        "nde,ne->nd", tasks.query[0], flat(start()) - factor * e @ w @ w.T - tasks.query[1]
    )
    outer = torch.einsum("nd,ne->nde", q, e)
    found = meta_gradient(learner, tasks)
    assert torch.allclose(of_theta(found), (q - factor * q @ w @ w.T).mean(0), rtol=1e-12)
    of_w = (-factor * (outer + outer.mT) @ w).mean(0)
    assert torch.allclose(found["slow.objective.w"], of_w, rtol=1e-12)


@dataclass(frozen=True)
class Showing(Problem):
    """The regression problem, which shows inputs beside predictions."""

    def features(self, fast: Params, slow: Params, batch: Data) -> Tensor:
        return torch.cat([batch[0], self.network({**fast, **slow}, batch[0])], -1)


@dataclass(frozen=True)
class Telling(Problem):
    """It gives the labels away: residuals."""

    def features(self, fast: Params, slow: Params, batch: Data) -> Tensor:
        return self.network({**fast, **slow}, batch[0]) - batch[1]


OBJECTIVE = MLP((3, 4, 2), activation="tanh")


def problem() -> Showing:
    base = regression()
    return Showing(base.network, base.criterion, base.support, base.query)


def objective_params() -> dict[str, Tensor]:
    params = OBJECTIVE.init(torch.Generator().manual_seed(6))
    return {n: 2 * p.double() for n, p in params.items()}


def make(tasks: Problem, **options: object) -> DAML:
    return DAML(
        tasks.init(),
        objective=OBJECTIVE,
        objective_params=objective_params(),
        rule=sgd(LR),
        num_steps=K,
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("checkpoint", [False, True])
def test_on_a_network_it_is_that_of_a_plain_loop(checkpoint: bool) -> None:
    tasks = problem()
    learner = make(tasks, checkpoint=checkpoint)
    list(learner.meta_gradients(tasks))
    loss, params, psi = plain_loss(tasks), tasks.init(), objective_params()
    theta = {n: p.clone().requires_grad_() for n, p in params.items()}
    psi = {n: p.requires_grad_() for n, p in psi.items()}
    total: Tensor = torch.zeros(())
    for (x, _), query in each_task(tasks):
        phi: dict[str, Tensor] = theta
        for _ in range(K):
            seen = torch.cat([x, plain_mlp(phi, x)], -1)
            hidden = torch.tanh(seen @ psi["layers.0.weight"] + psi["layers.0.bias"])
            said = hidden @ psi["layers.1.weight"] + psi["layers.1.bias"]
            grads = torch.autograd.grad(said.square().mean(), list(phi.values()), create_graph=True)
            phi = {n: p - LR * g for (n, p), g in zip(phi.items(), grads, strict=True)}
        total = total + loss(phi, query) / tasks.num_tasks
    total.backward()
    expected = {f"fast.{n}": p.grad for n, p in theta.items()}
    expected |= {f"slow.objective.{n}": p.grad for n, p in psi.items()}
    found = {n: p.grad for n, p in learner.params.items()}
    assert relative_error(found, expected) < 1e-9  # type: ignore[arg-type]


def test_told_the_residuals_it_is_maml() -> None:
    base = regression()
    tasks = Telling(base.network, base.criterion, base.support, base.query)
    learner = DAML(
        tasks.init(),
        objective=lambda _, features: features,
        objective_params={"unused": torch.zeros(1)},
        rule=sgd(LR),
        num_steps=K,
    )
    maml = MAML(base.init(), rule=sgd(LR), num_steps=K)
    list(learner.meta_gradients(tasks))
    list(maml.meta_gradients(base))
    found = {n: learner.params[n].grad for n in maml.params}
    assert relative_error(found, {n: p.grad for n, p in maml.params.items()}) < 1e-12  # type: ignore[arg-type]


def test_no_label_of_the_source_domain_is_read() -> None:
    tasks = problem()
    unlabelled = replace(
        tasks, support=(tasks.support[0], torch.full_like(tasks.support[1], torch.nan))
    )
    learner = make(tasks)
    expected, found = learner.adapt(tasks, 3), learner.adapt(unlabelled, 3)
    assert all(torch.equal(found[n], expected[n]) for n in found)
    assert not any(torch.equal(found[n][0], learner.fast[n]) for n in found)
    list(learner.meta_gradients(unlabelled))
    assert all(p.grad.isfinite().all() for p in learner.params.values() if p.grad is not None)


@dataclass(frozen=True)
class Twins:
    """Task i: the target's constant is twice the mean of the source's inputs, which are all it has.

    The model is a constant, ``body``; features are an input beside the constant.
    """

    inputs: Tensor

    @property
    def num_tasks(self) -> int:
        return len(self.inputs)

    def sample(self, fast: Params, slow: Params, split: str) -> Tensor:
        return self.inputs if split == "support" else 2 * self.inputs.mean(1)

    def loss(self, fast: Params, slow: Params, batch: Tensor) -> Tensor:
        return (fast["body"] - batch).square().mean(1)

    def features(self, fast: Params, slow: Params, batch: Tensor) -> Tensor:
        return torch.cat([batch, fast["body"].unsqueeze(1).expand_as(batch)], -1)


def query_loss(*, learn_objective: bool) -> float:
    """Of new tasks, after training with the objective learned or (broken) frozen."""
    g = torch.Generator().manual_seed(0)

    def tasks() -> Twins:
        centre = torch.randn(16, 1, 1, generator=g, dtype=torch.float64)
        return Twins(centre + 0.05 * torch.randn(16, 5, 1, generator=g, dtype=torch.float64))

    w = {"w": torch.tensor([[0.3], [0.3]], dtype=torch.float64)}
    learner = DAML(
        {"body": torch.ones(1, dtype=torch.float64)},
        objective=linear_objective,
        objective_params=w,
        rule=sgd(0.5),
    )
    trained = [p for n, p in learner.params.items() if learn_objective or "objective" not in n]
    optimiser = torch.optim.Adam(trained, lr=0.05)
    for _ in range(150):
        optimiser.zero_grad()
        list(learner.meta_gradients(tasks()))
        optimiser.step()
    new = tasks()
    fast = learner.adapt(new, 1)
    return float(new.loss(fast, {}, new.sample(fast, {}, "query")).mean())


def test_it_learns_what_to_do_without_labels() -> None:
    """The best constant leaves a loss of 4, the variance of the targets."""
    assert query_loss(learn_objective=True) < 0.1
    assert query_loss(learn_objective=False) > 2.0
