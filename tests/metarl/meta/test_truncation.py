"""Truncated back-propagation, and what rules learn to first order: by hand, in both kinds of MAML.

A step of first order is ``phi' = phi + u(sg[g])``: written out here in plain loops, one task at a
time, with gradients that are cut by hand.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import metarl
from metarl import meta
from metarl.core import Chain, Params, prefixed, scope
from tests.metarl.live_tensors import LiveTensors
from tests.metarl.meta.problems import (
    Problem,
    each_task,
    plain_loss,
    plain_sgd,
    regression,
    relative_error,
)
from tests.metarl.meta.quadratics import Watching, draw, start
from tests.metarl.meta.test_maml import meta_gradient
from tests.metarl.modules.wrapped import meta_gradient as gradient_of_clones
from tests.metarl.modules.wrapped import wrapped

K = 4
RULES: dict[str, Chain] = {
    "sgd": metarl.sgd(0.1),
    "metasgd": metarl.sgd(0.1, learned="element"),
    "by-step": metarl.sgd([0.1, 0.2, 0.05], learned="parameter"),
    "momentum": metarl.sgd(0.1, 0.9, learned="parameter"),
    "adam": metarl.adam(0.05, eps=1e-3, learned="element"),
    "curvature": metarl.meta_curvature(0.1, learned="parameter"),
}


def detached_by_hand(problem: Problem, params: Params, exact: int) -> dict[str, Tensor]:
    """The gradient where only the last steps have a graph, and theta is reached as if by it."""
    loss = plain_loss(problem)
    total = {n: torch.zeros_like(p) for n, p in params.items()}
    for support, query in each_task(problem):
        theta = {n: p.clone().requires_grad_() for n, p in params.items()}
        early = plain_sgd(loss, theta, support, 0.1, K - exact, set(params))
        phi = {n: p + (early[n] - p).detach() for n, p in theta.items()}
        end = plain_sgd(loss, phi, support, 0.1, exact, set(params))
        found = torch.autograd.grad(loss(end, query), list(theta.values()))
        for n, g in zip(theta, found, strict=True):
            total[n] += g / problem.num_tasks
    return total


@pytest.mark.parametrize("exact", range(K + 1))
@pytest.mark.parametrize("checkpoint", [False, True])
def test_it_is_the_loop_that_is_detached_by_hand(exact: int, checkpoint: bool) -> None:
    problem = regression()
    params = problem.init()
    learner = meta.MAML(
        params, rule=metarl.sgd(0.1), num_steps=K, truncate=exact, checkpoint=checkpoint
    )
    expected = prefixed(detached_by_hand(problem, params, exact), "fast")
    assert relative_error(meta_gradient(learner, problem), expected) < 1e-12
    others = [detached_by_hand(problem, params, e) for e in range(K + 1) if e != exact]
    assert all(relative_error(prefixed(o, "fast"), expected) > 1e-4 for o in others)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_it_lies_between_first_order_and_the_whole(rule: Chain) -> None:
    problem = regression()

    def found(**options: Any) -> dict[str, Tensor]:
        return meta_gradient(meta.MAML(problem.init(), rule=rule, num_steps=K, **options), problem)

    assert relative_error(found(truncate=0), found(first_order=True)) == 0
    assert relative_error(found(truncate=K), found()) == 0
    assert relative_error(found(truncate=K + 3), found()) == 0
    between = found(truncate=2)
    assert relative_error(found(truncate=2, checkpoint=True), between) < 1e-12
    assert relative_error(between, found()) > 1e-4
    assert relative_error(between, found(first_order=True)) > 1e-4


@pytest.mark.parametrize("exact", [0, 2, K])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_clones_and_the_batched_learner_are_alike(rule: Chain, exact: int) -> None:
    """What the rule has learned among the rest."""
    problem = regression()
    learner = meta.MAML(problem.init(), rule=rule, num_steps=K, truncate=exact)
    batched = meta_gradient(learner, problem)
    maml = metarl.MAML(wrapped(problem), rule=rule)
    for (x, y), (query_x, query_y) in each_task(problem):
        clone = maml.clone()
        for k in range(K):
            clone.adapt(F.mse_loss(clone(x), y), first_order=k < K - exact)
        (F.mse_loss(clone(query_x), query_y) / problem.num_tasks).backward()
    found = {n: p.grad for n, p in maml.named_parameters() if p.grad is not None}
    expected = {}
    for name, g in batched.items():
        side, rest = name.split(".", 1)
        if side == "rule":
            link, kind, parameter = rest.split(".", 2)
            rest = f"{link}.{kind}.tree.{parameter}"
        expected[f"learned.{rest}" if side == "rule" else f"model.tree.{rest}"] = g
    assert relative_error(found, expected) < 1e-12


@pytest.mark.parametrize("name", ["metasgd", "by-step"])
def test_step_sizes_learn_to_first_order_from_constant_gradients(name: str) -> None:
    """D l(phi_K) / d log alpha_k = -alpha_k g_k grad l(phi_K), summed over the steps it serves."""
    problem = regression()
    params, rule = problem.init(), RULES[name]
    learner = meta.MAML(params, rule=rule, num_steps=K, first_order=True)
    found = scope(meta_gradient(learner, problem), "rule")
    loss = plain_loss(problem)
    sizes = [0.1] * K if name == "metasgd" else [0.1, 0.2, 0.05, 0.05]
    expected = {n: torch.zeros_like(p) for n, p in found.items()}
    for support, query in each_task(problem):
        phi, seen = {n: p.clone().requires_grad_() for n, p in params.items()}, []
        for size in sizes:
            found_here = torch.autograd.grad(loss(phi, support), list(phi.values()))
            seen.append(dict(zip(phi, found_here, strict=True)))
            phi = {n: (p - size * seen[-1][n]).detach().requires_grad_() for n, p in phi.items()}
        last = torch.autograd.grad(loss(phi, query), list(phi.values()))
        for n, g in zip(phi, last, strict=True):
            for k, size in enumerate(sizes):
                product = -size * seen[k][n] * g / problem.num_tasks
                if name == "metasgd":
                    expected[f"0.log_lr.{n}"] += product
                else:
                    expected[f"0.log_lr.{n}"][min(k, 2)] += product.sum()
    assert relative_error(found, expected) < 1e-12


@pytest.mark.parametrize("rule", [metarl.sgd(0.1), metarl.sgd(0.1, learned="parameter")])
def test_slow_parameters_see_the_last_steps_alone(rule: Chain) -> None:
    problem = regression()
    head = ("layers.2.*",)

    def found(exact: int, checkpoint: bool = False) -> dict[str, Tensor]:
        learner = meta.ANIL(
            problem.init(), head=head, rule=rule, num_steps=K, truncate=exact, checkpoint=checkpoint
        )
        return meta_gradient(learner, problem)

    assert relative_error(found(2, checkpoint=True), found(2)) < 1e-12
    assert relative_error(found(2), found(K)) > 1e-4
    maml = metarl.ANIL(wrapped(problem), rule=rule, head="tree.layers.2.*")
    for (x, y), (query_x, query_y) in each_task(problem):
        clone = maml.clone()
        for k in range(K):
            clone.adapt(F.mse_loss(clone(x), y), first_order=k < K - 2)
        (F.mse_loss(clone(query_x), query_y) / problem.num_tasks).backward()
    own = {n: p.grad for n, p in maml.model.named_parameters()}
    for name, g in found(2).items():
        side, rest = name.split(".", 1)
        if side != "rule":
            torch.testing.assert_close(own[f"tree.{rest}"], g, rtol=1e-12, atol=1e-13)


def test_the_batched_meta_sgd_has_a_first_order_form() -> None:
    problem = regression()
    learner = meta.MetaSGD(problem.init(), lr=0.1, num_steps=3, first_order=True)
    maml = metarl.MetaSGD(wrapped(problem), 0.1, first_order=True)
    expected = {
        n.replace("fast.", "model.tree.").replace("rule.0.log_lr.", "learned.0.log_lr.tree."): g
        for n, g in meta_gradient(learner, problem).items()
    }
    assert relative_error(gradient_of_clones(maml, problem, 3), expected) < 1e-12


@pytest.mark.parametrize("learned", ["no", "parameter"])
def test_the_memory_does_not_grow_with_the_steps_before(learned: str) -> None:
    def peak(num_steps: int, truncate: int | None) -> int:
        rule = metarl.sgd(0.1, learned=learned)  # type: ignore[arg-type]
        learner = meta.MAML(start(), rule=rule, num_steps=num_steps, truncate=truncate)
        with LiveTensors() as live:
            list(learner.meta_gradients(Watching(draw(), live)))  # type: ignore[arg-type]
        return live.most

    whole, truncated = (peak(40, t) - peak(20, t) for t in (None, 2))
    assert truncated <= (0 if learned == "no" else 0.75 * whole)


@pytest.mark.parametrize("options", [{"truncate": -1}, {"truncate": 2, "first_order": True}])
def test_what_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="truncate must be at least 0"):
        meta.MAML(start(), rule=metarl.sgd(0.1), **options)


def test_a_detached_clone_goes_on_from_where_it_stands() -> None:
    problem = regression()
    rule = metarl.sgd(0.1, 0.9, learned="parameter")
    maml = metarl.MAML(wrapped(problem), rule=rule)
    (x, y), _ = each_task(problem)[0]
    clone = maml.clone()
    for _ in range(2):
        clone.adapt(F.mse_loss(clone(x), y))
    cut = clone.detach()
    assert cut.num_steps == 2
    for one in (clone, cut):
        one.adapt(F.mse_loss(one(x), y))
    pairs = zip(clone.parameters(), cut.parameters(), strict=True)
    assert all(torch.equal(p, q) for p, q in pairs)
    F.mse_loss(cut(x), y).backward()
    assert all(p.grad is None for p in maml.model.parameters())
    assert all(p.grad.abs().sum() > 0 for p in maml.learned.parameters())
