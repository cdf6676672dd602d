"""Implicit MAML against explicit Hessians, finite differences and a closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl.core import Execution, adam, sgd
from metarl.meta import (
    ConjugateGradient,
    ImplicitMAML,
    MetaLearner,
    NeumannSeries,
    linear_solvers,
)
from tests.metarl.meta import problems, quadratics
from tests.metarl.meta.problems import (
    Data,
    PlainLoss,
    Problem,
    each_task,
    plain_loss,
    regression,
    relative_error,
)
from tests.metarl.meta.warpgrad.test_online import Counting

Params = dict[str, Tensor]
EXACT = ConjugateGradient(400, 1e-14)
STRENGTH = 4.0


def meta_gradient(learner: MetaLearner, problem: Any) -> Params:
    for p in learner.params.values():
        p.grad = None
    list(learner.meta_gradients(problem))
    return {n: p.grad for n, p in learner.params.items() if p.grad is not None}


def solved(problem: Problem, params: Params | None = None, **options: Any) -> ImplicitMAML:
    options = {"rule": sgd(0.1), "num_steps": 100, "strength": STRENGTH, "solver": EXACT, **options}
    return ImplicitMAML(params or problem.init(), **options)


def proximal_solution(
    loss: PlainLoss, theta: Params, fixed: Params, data: Data, strength: float
) -> Params:
    """The minimum, by plain gradient descent."""
    phi = {n: p.clone() for n, p in theta.items()}
    for _ in range(100):
        here = {n: p.clone().requires_grad_() for n, p in phi.items()}
        total = loss({**here, **fixed}, data) + 0.5 * strength * sum(
            (here[n] - p).square().sum() for n, p in theta.items()
        )
        grads = torch.autograd.grad(total, list(here.values()))
        phi = {n: p - 0.1 * g for (n, p), g in zip(phi.items(), grads, strict=True)}
    return phi


def explicit_gradient(
    problem: Problem, params: Params, system: Callable[[Tensor], Tensor]
) -> Params:
    """``system(H)^-1 grad l_query`` with H written out, at the solution of each task."""
    loss, names = plain_loss(problem), list(params)
    sizes = [params[n].numel() for n in names]

    def named(flat: Tensor) -> Params:
        parts = torch.split(flat, sizes)
        return {n: x.reshape(params[n].shape) for n, x in zip(names, parts, strict=True)}

    total = torch.zeros(sum(sizes)).double()
    for support, query in each_task(problem):
        phi = proximal_solution(loss, params, {}, support, STRENGTH)
        flat = torch.cat([phi[n].flatten() for n in names])
        h = torch.autograd.functional.hessian(lambda x, d=support: loss(named(x), d), flat)
        g = torch.autograd.functional.jacobian(lambda x, d=query: loss(named(x), d), flat)
        total += torch.linalg.solve(system(h), g) / problem.num_tasks
    return {f"fast.{n}": g for n, g in named(total).items()}


def identity_plus(scale: float) -> Callable[[Tensor], Tensor]:
    return lambda h: torch.eye(len(h)).double() + h / scale


def test_the_gradient_is_that_of_an_explicit_hessian_at_the_solution() -> None:
    problem = regression()
    params = problem.init()
    found = meta_gradient(solved(problem), problem)
    assert relative_error(found, explicit_gradient(problem, params, identity_plus(STRENGTH))) < 1e-9
    published = explicit_gradient(
        problem, params, lambda h: 2.0 * torch.eye(len(h)).double() + h / (STRENGTH + 10)
    )
    assert relative_error(found, published) > 0.1


def test_the_neumann_series_finds_the_same() -> None:
    problem = regression()
    exact = meta_gradient(solved(problem), problem)
    series = NeumannSeries(2000, 1e-13, scale=0.3)
    assert relative_error(meta_gradient(solved(problem, solver=series), problem), exact) < 1e-9


def test_the_inner_steps_have_the_proximal_term() -> None:
    """At the end grad l + lambda (phi - theta) = 0: a published one pulls back once, at the end."""
    problem = regression()
    params = problem.init()
    adapted = solved(problem).adapt(problem, 130)
    loss = plain_loss(problem)
    for i, (support, _) in enumerate(each_task(problem)):
        phi = {n: p[i].clone().requires_grad_() for n, p in adapted.items()}
        grads = torch.autograd.grad(loss(phi, support), list(phi.values()))
        for (n, p), g in zip(phi.items(), grads, strict=True):
            assert (g + STRENGTH * (p.detach() - params[n])).abs().max() < 1e-9
        assert max(float(g.abs().max()) for g in grads) > 1e-2
        expected = proximal_solution(loss, params, {}, support, STRENGTH)
        assert relative_error({n: p.detach() for n, p in phi.items()}, expected) < 1e-9


def test_the_gradient_of_fast_and_slow_is_that_of_finite_differences() -> None:
    """The query loss at the solution, as a function of all that it depends on."""
    problem = regression()
    params = problem.init()
    head = ("layers.2.weight", "layers.2.bias")
    learner = solved(problem, slow=("layers.0.*", "layers.1.*"))
    found = meta_gradient(learner, problem)
    loss = plain_loss(problem)
    generator = torch.Generator().manual_seed(0)
    for side in ("fast", "slow"):
        names = [n.removeprefix(f"{side}.") for n in found if n.startswith(side)]
        way = {n: torch.randn(params[n].shape, generator=generator).double() for n in names}

        def at(distance: float, way: Params = way) -> float:
            moved = {n: p + distance * way[n] if n in way else p for n, p in params.items()}
            theta = {n: moved[n] for n in head}
            fixed = {n: p for n, p in moved.items() if n not in head}
            total = 0.0
            for support, query in each_task(problem):
                phi = proximal_solution(loss, theta, fixed, support, STRENGTH)
                total += float(loss({**phi, **fixed}, query)) / problem.num_tasks
            return total

        def slope(h: float, at: Callable[[float], float] = at) -> float:
            return (at(h) - at(-h)) / (2 * h)

        expected = (4 * slope(1e-3) - slope(2e-3)) / 3
        along = sum(float((found[f"{side}.{n}"] * way[n]).sum()) for n in names)
        assert along == pytest.approx(expected, rel=1e-8)


def test_a_quadratic_in_closed_form() -> None:
    """phi* = (A + lambda)^-1 (A c + lambda theta), g = lambda (A + lambda)^-1 B (phi* - d)."""
    tasks = quadratics.draw(4)
    params = quadratics.start()
    learner = ImplicitMAML(params, rule=sgd(0.1), num_steps=400, strength=STRENGTH, solver=EXACT)
    found = meta_gradient(learner, tasks)
    theta = torch.cat([params["body"], params["head"]])
    total = torch.zeros_like(theta)
    for a, c, b, d in zip(*tasks.support, *tasks.query, strict=True):
        inverse = torch.linalg.inv(a + STRENGTH * torch.eye(len(a)))
        phi = inverse @ (a @ c + STRENGTH * theta)
        total += STRENGTH * inverse @ b @ (phi - d) / 4
    flat = torch.cat([found["fast.body"], found["fast.head"]])
    assert (flat - total).abs().max() / total.abs().max() < 1e-9


def test_a_strong_pull_is_joint_training() -> None:
    problem = regression()
    params = {n: p.requires_grad_() for n, p in problem.init().items()}
    loss = plain_loss(problem)
    total = torch.stack([loss(params, query) for _, query in each_task(problem)]).mean()
    grads = torch.autograd.grad(total, list(params.values()))
    joint = {f"fast.{n}": g for n, g in zip(params, grads, strict=True)}
    errors = [
        relative_error(
            meta_gradient(solved(problem, strength=s, rule=sgd(0.5 / s), num_steps=60), problem),
            joint,
        )
        for s in (1e3, 1e6, 1e9)
    ]
    assert errors[0] > 1e-5 > errors[1] > 1e-8 > errors[2]


@pytest.mark.parametrize("make", [problems.regression, problems.classification])
@pytest.mark.parametrize("execution", [Execution(1), Execution(2), Execution(1, num_threads=2)])
def test_execution_does_not_change_the_gradient(
    make: Callable[[], Problem], execution: Execution
) -> None:
    """The proximal term under Adam too; and slow parameters."""
    problem = make()
    slow = ("layers.0.*",) if make is problems.regression else ("blocks.0.*",)
    options: dict[str, Any] = {
        "rule": adam(0.05, learned="parameter"),
        "num_steps": 4,
        "slow": slow,
        "strength": 20.0,
        "solver": ConjugateGradient(4),
    }
    whole = meta_gradient(solved(problem, **options), problem)
    parts = meta_gradient(solved(problem, execution=execution, **options), problem)
    assert relative_error(parts, whole) < 1e-9
    assert {n.split(".")[0] for n in whole} == {"fast", "slow"}


def test_memory_does_not_grow_with_the_number_of_steps() -> None:
    counts = []
    for num_steps in (1, 10, 100):
        plain = regression()
        problem = Counting(**{**vars(plain), "calls": [], "at": num_steps + 2})
        meta_gradient(solved(plain, num_steps=num_steps), problem)
        counts.append(problem.calls[-1])
    assert 0 < counts[0] <= counts[1] == counts[2]  # K = 1: first and last loss are one


def test_metrics_and_an_untouched_learner() -> None:
    problem = regression(num_tasks=1)
    learner = solved(problem, num_steps=5, solver=ConjugateGradient(1))
    before = learner.state_dict()["params"]
    (metrics,) = learner.meta_gradients(problem)
    learner.adapt(problem, 3)
    assert all(torch.equal(p, before[n]) for n, p in learner.params.items())
    assert {n: m.shape for n, m in metrics.items()} == dict.fromkeys(
        ("support_loss", "last_support_loss", "query_loss", "residual"), (1,)
    )
    assert metrics["residual"].item() > 1e-6
    with pytest.raises(ValueError, match="proximal strength"):
        solved(problem, strength=0.0)


def test_it_reaches_the_optimum_and_a_twin_without_the_inverse_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The twin takes phi* for theta plus a constant, as first-order MAML does."""
    tasks = quadratics.draw(4)
    learner = ImplicitMAML(quadratics.start(), rule=sgd(0.3), num_steps=25, strength=2.0)
    optimiser = torch.optim.SGD(learner.params.values(), 1.0)

    def largest_gradient(num: int) -> float:
        for _ in range(num):
            optimiser.zero_grad()
            meta_gradient(learner, tasks)
            optimiser.step()
        grads = meta_gradient(learner, tasks)
        return float(max(g.abs().max() for g in grads.values()))

    assert largest_gradient(30) < 1e-4
    with monkeypatch.context() as patch:
        patch.setattr(
            linear_solvers.ConjugateGradient,
            "solve",
            lambda self, product, b: linear_solvers.Solution(b, torch.zeros(len(b))),
        )
        largest_gradient(30)
    assert largest_gradient(0) > 1e-2


def test_second_derivatives_that_torch_has_wrong_are_refused() -> None:
    """Its Hessian is a second derivative too."""

    class Normed:
        num_tasks = 2

        def sample(self, fast: Params, slow: Params, split: str) -> Tensor:
            return torch.tensor([[1.0, 2.0], [-1.0, 0.5]], dtype=torch.float64)

        def loss(self, fast: Params, slow: Params, batch: Tensor) -> Tensor:
            weights = [
                torch._weight_norm(v[None], g, 0) for v, g in zip(fast["v"], fast["g"], strict=True)
            ]
            return (torch.stack(weights).squeeze(1) * batch).square().sum(1)

    params = {
        name: torch.ones(size, dtype=torch.float64) for name, size in {"v": 2, "g": 1}.items()
    }
    learner = ImplicitMAML(params, rule=sgd(0.1), num_steps=2)
    with pytest.raises(NotImplementedError, match=r"weight_norm.*keepdim"):
        list(learner.meta_gradients(Normed()))  # type: ignore[arg-type]
