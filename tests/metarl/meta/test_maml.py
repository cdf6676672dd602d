"""MAML's gradient is that of a plain loop over tasks, to float64, however it is executed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from metarl.core import Chain, Execution, StepSize, adam, chain, prefixed, sgd
from metarl.meta import MAML, Proximal
from metarl.nn import ConvNet
from tests.metarl.meta.problems import (
    Problem,
    classification,
    each_task,
    plain_loss,
    plain_sgd,
    regression,
    relative_error,
)


def pooled() -> Problem:
    return classification(
        network=ConvNet(3, filters=4, num_blocks=2, image_size=8, reduction="pool")
    )


def pooled_first() -> Problem:
    network = ConvNet(3, filters=4, num_blocks=2, image_size=8, reduction="pool", pool_first=True)
    return classification(network=network)


def rectified() -> Problem:
    return regression(activation="relu")


PROBLEMS = [regression, rectified, classification, pooled, pooled_first]


def meta_gradient(learner: MAML, problem: Problem) -> dict[str, Tensor]:
    for p in learner.params.values():
        p.grad = None
    list(learner.meta_gradients(problem))
    return {n: p.grad for n, p in learner.params.items() if p.grad is not None}


def plain_gradient(
    problem: Problem,
    params: dict[str, Tensor],
    num_steps: int,
    *,
    adapted: set[str] | None = None,
    first_order: bool = False,
    lr: float = 0.1,
) -> dict[str, Tensor]:
    loss = plain_loss(problem)
    total = {n: torch.zeros_like(p) for n, p in params.items()}
    for support, query in each_task(problem):
        start = {n: p.clone().requires_grad_() for n, p in params.items()}
        end = plain_sgd(loss, start, support, lr, num_steps, adapted or set(params))
        wrt = start
        if first_order:
            end = wrt = {n: p.detach().requires_grad_() for n, p in end.items()}
        grads = torch.autograd.grad(loss(end, query), list(wrt.values()))
        for n, g in zip(wrt, grads, strict=True):
            total[n] += g / problem.num_tasks
    return total


@pytest.mark.parametrize("make", PROBLEMS)
@pytest.mark.parametrize("num_steps", [1, 3])
@pytest.mark.parametrize("first_order", [False, True])
def test_the_gradient_is_that_of_a_plain_loop(
    make: Callable[[], Problem], num_steps: int, first_order: bool
) -> None:
    problem = make()
    params = problem.init()
    learner = MAML(params, rule=sgd(0.1), num_steps=num_steps, first_order=first_order)
    expected = plain_gradient(problem, params, num_steps, first_order=first_order)
    assert relative_error(meta_gradient(learner, problem), prefixed(expected, "fast")) < 1e-9


@pytest.mark.parametrize("make", PROBLEMS)
def test_first_order_is_not_second_order(make: Callable[[], Problem]) -> None:
    problem = make()
    params = problem.init()
    second = plain_gradient(problem, params, 2)
    first = plain_gradient(problem, params, 2, first_order=True)
    assert relative_error(first, second) > 1e-3


@pytest.mark.parametrize("make", [regression, classification])
@pytest.mark.parametrize(
    "options",
    [
        {"execution": Execution(chunk_size=1)},
        {"execution": Execution(chunk_size=2)},
        {"execution": Execution(chunk_size=1, num_threads=2)},
        {"checkpoint": True},
    ],
    ids=["one-by-one", "uneven-chunks", "threads", "checkpoint"],
)
@pytest.mark.parametrize(
    "rule",
    [
        sgd(0.1),
        sgd(0.1, 0.9, nesterov=True, learned="element"),
        adam(0.05, eps=1e-3, learned="parameter"),
    ],
    ids=["sgd", "learned-nesterov", "learned-adam"],
)
def test_execution_does_not_change_the_gradient(
    make: Callable[[], Problem], options: dict[str, object], rule: Chain
) -> None:
    problem = make()
    params = problem.init()
    slow = ("layers.0.*",) if make is regression else ("blocks.0.*",)
    whole = MAML(params, rule=rule, num_steps=3, slow=slow)
    parts = MAML(params, rule=rule, num_steps=3, slow=slow, **options)  # type: ignore[arg-type]
    error = relative_error(meta_gradient(parts, problem), meta_gradient(whole, problem))
    assert error < 1e-9


@pytest.mark.parametrize("checkpoint", [False, True])
def test_slow_parameters_learn_from_loss_and_inner_gradient(checkpoint: bool) -> None:
    problem = regression()
    params = problem.init()
    head = {"layers.2.weight", "layers.2.bias"}
    learner = MAML(
        params,
        rule=sgd(0.1),
        num_steps=3,
        slow=("layers.0.*", "layers.1.*"),
        checkpoint=checkpoint,
    )
    plain = plain_gradient(problem, params, 3, adapted=head)
    expected = {("fast." if n in head else "slow.") + n: g for n, g in plain.items()}
    assert relative_error(meta_gradient(learner, problem), expected) < 1e-9


def test_learned_step_sizes_follow_the_chain_rule() -> None:
    """One step: d l_query / d log_lr = -lr <grad l_query(phi_1), grad l_support(theta)>."""
    problem = regression()
    params = problem.init()
    learner = MAML(params, rule=Chain((StepSize(0.1, "element"),)))
    found = meta_gradient(learner, problem)
    loss = plain_loss(problem)
    expected = {n: torch.zeros_like(p) for n, p in params.items()}
    for support, query in each_task(problem):
        theta = {n: p.clone().requires_grad_() for n, p in params.items()}
        g0 = torch.autograd.grad(loss(theta, support), list(theta.values()))
        phi = {
            n: (p - 0.1 * g).detach().requires_grad_()
            for (n, p), g in zip(theta.items(), g0, strict=True)
        }
        g1 = torch.autograd.grad(loss(phi, query), list(phi.values()))
        for n, a, b in zip(params, g0, g1, strict=True):
            expected[n] += -0.1 * a * b / problem.num_tasks
    rule = {n.removeprefix("rule.0.log_lr."): g for n, g in found.items() if n.startswith("rule.")}
    assert relative_error(rule, expected) < 1e-9


def test_adaptation_leaves_the_learner_untouched_even_for_one_task() -> None:
    problem = regression(num_tasks=1)
    learner = MAML(problem.init(), rule=adam(0.1), num_steps=2)
    before = learner.state_dict()["params"]
    adapted = learner.adapt(problem, 5)
    list(learner.meta_gradients(problem))
    assert all(torch.equal(p, before[n]) for n, p in learner.params.items())
    assert not any(p.requires_grad for p in adapted.values())
    assert any(not torch.equal(adapted[n][0], before[f"fast.{n}"]) for n in adapted)


@pytest.mark.parametrize("truncate", [None, 2, 1])
def test_checkpoints_keep_what_the_first_state_of_a_rule_owes_to_the_start(
    truncate: int | None,
) -> None:
    problem, found = regression(), []
    for checkpoint in (False, True):
        rule = chain(Proximal(2.0), sgd(0.1, 0.9))
        options = {"truncate": truncate, "checkpoint": checkpoint}
        learner = MAML(problem.init(), rule=rule, num_steps=4, **options)  # type: ignore[arg-type]
        list(learner.meta_gradients(problem))
        found.append({n: p.grad for n, p in learner.params.items() if p.grad is not None})
    assert relative_error(*found) < 1e-12
