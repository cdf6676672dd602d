"""Multi-headed fine-tuning: real heads, joint gradients, a fresh head for a new task."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from metarl.core import sgd
from metarl.meta import FineTuning
from tests.metarl.meta.problems import each_task, plain_loss, regression, relative_error
from tests.metarl.meta.quadratics import BODY, Quadratics, draw, flat, meta_gradient, start

LR, M = 0.2, 6
INDICES = (4, 0, 4, 5)


def tasks_and_learner(**options: object) -> tuple[Quadratics, FineTuning]:
    """Four tasks, one of them twice, and heads that have moved apart."""
    tasks = replace(draw(), indices=torch.tensor(INDICES))
    learner = FineTuning(start(), head=("head",), num_heads=M, rule=sgd(LR), **options)  # type: ignore[arg-type]
    g = torch.Generator().manual_seed(8)
    with torch.no_grad():
        heads = learner.params["heads.head"]
        heads.add_(torch.randn(heads.shape, generator=g, dtype=heads.dtype))
    return tasks, learner


def test_on_quadratics_it_is_the_closed_form() -> None:
    """With theta_i = (body, head_i): A_i (theta_i - c_i) / N, each half where it belongs."""
    tasks, learner = tasks_and_learner()
    matrix, centre = tasks.support
    heads = learner.params["heads.head"].detach()
    theta = torch.cat([start()["body"].expand(4, BODY), heads[list(INDICES)]], 1)
    each = torch.einsum("nde,ne->nd", matrix, theta - centre) / 4
    of_heads = torch.zeros_like(heads)
    for i, index in enumerate(INDICES):
        of_heads[index] += each[i, BODY:]
    found = meta_gradient(learner, tasks)
    assert found.keys() == {"fast.body", "heads.head"}
    assert torch.allclose(found["fast.body"], each[:, :BODY].sum(0), rtol=1e-12)
    assert torch.allclose(found["heads.head"], of_heads, rtol=1e-12, atol=1e-14)


class Identified:
    """The regression problem, whose tasks have numbers."""

    indices = torch.tensor([1, 2, 0])

    def __init__(self) -> None:
        self.problem = regression()

    def __getattr__(self, name: str) -> object:
        return getattr(self.problem, name)


def test_on_a_network_it_is_that_of_a_plain_loop() -> None:
    tasks = Identified()
    problem, params = tasks.problem, tasks.problem.init()
    learner = FineTuning(params, head=problem.network.head, num_heads=3, rule=sgd(LR))
    loss = plain_loss(problem)
    body = {n: p.clone().requires_grad_() for n, p in params.items() if "layers.2" not in n}
    heads = [
        {n: p.clone().requires_grad_() for n, p in params.items() if "layers.2" in n}
        for _ in range(3)
    ]
    total: Tensor = torch.zeros(())
    for (support, _), index in zip(each_task(problem), (1, 2, 0), strict=True):
        total = total + loss({**body, **heads[index]}, support) / 3
    total.backward()
    expected = {f"fast.{n}": p.grad for n, p in body.items()}
    expected |= {f"heads.{n}": torch.stack([h[n].grad for h in heads]) for n in heads[0]}  # type: ignore[misc]
    list(learner.meta_gradients(tasks))  # type: ignore[arg-type]
    found = {n: p.grad for n, p in learner.params.items() if p.grad is not None}
    assert relative_error(found, expected) < 1e-12  # type: ignore[arg-type]


def test_a_meta_batch_is_as_many_joint_steps_as_inner_steps() -> None:
    tasks, learner = tasks_and_learner(num_steps=3)
    assert len(list(learner.meta_gradients(tasks))) == 3


def test_on_one_task_it_is_that_tasks_own_descent() -> None:
    tasks = replace(draw(1), indices=torch.tensor([2]))
    learner = FineTuning(start(), head=("head",), num_heads=M, rule=sgd(LR), num_steps=3)
    adapted = flat(learner.adapt(tasks, 3))[0]
    optimiser = torch.optim.SGD(learner.params.values(), lr=LR)
    for _ in learner.meta_gradients(tasks):
        optimiser.step()
        optimiser.zero_grad()
    joint = torch.cat([learner.params["fast.body"], learner.params["heads.head"][2]])
    assert torch.allclose(joint, adapted, rtol=1e-12)


def test_a_new_task_gets_the_fresh_head_and_adapts_everything() -> None:
    tasks, learner = tasks_and_learner()
    optimiser = torch.optim.SGD(learner.params.values(), lr=LR)
    for _ in learner.meta_gradients(tasks):
        optimiser.step()
    begin = learner.adapt(tasks, 0)
    assert torch.equal(begin["head"], start()["head"].expand(4, -1))
    assert not torch.equal(begin["body"], start()["body"].expand(4, -1))
    end = learner.adapt(tasks, 1)
    assert all((end[n] != begin[n]).all() for n in begin)


def test_heads_of_other_tasks_stay() -> None:
    tasks, learner = tasks_and_learner()
    before = learner.params["heads.head"].detach().clone()
    optimiser = torch.optim.SGD(learner.params.values(), lr=LR)
    for _ in learner.meta_gradients(tasks):
        optimiser.step()
    moved = (learner.params["heads.head"] != before).any(1)
    assert moved.tolist() == [i in INDICES for i in range(M)]


def test_slow_parameters_learn_jointly_and_do_not_adapt() -> None:
    tasks = draw()
    learner = FineTuning(start(), head=("head",), num_heads=M, rule=sgd(LR), slow=("body",))
    assert meta_gradient(learner, tasks)["slow.body"].abs().sum() > 0
    assert learner.adapt(tasks, 2).keys() == {"head"}


def test_heads_survive_saving() -> None:
    _, learner = tasks_and_learner()
    other = FineTuning(start(3), head=("head",), num_heads=M, rule=sgd(LR))
    other.load_state_dict(learner.state_dict())
    assert all(torch.equal(other.params[n], p) for n, p in learner.params.items())


def test_no_heads_are_refused() -> None:
    with pytest.raises(ValueError, match="num_heads must be at least 1, got 0"):
        FineTuning(start(), head=("head",), num_heads=0, rule=sgd(LR))
