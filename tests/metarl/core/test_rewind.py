"""Going back step by step gives what autograd gives through the whole graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from metarl.core import (
    Chain,
    Momentum,
    Params,
    StepSize,
    WeightDecay,
    adam,
    gradients,
    inner_steps,
    leaves,
    rewind,
    sgd,
    zeros_like,
)
from tests.metarl.core.toy_tasks import ToyTasks, toy

LR, K = 0.1, 4
RULES = {
    "sgd": sgd(LR),
    "learned-nesterov": sgd(LR, 0.9, nesterov=True, learned="element"),
    "learned-adam": adam(LR, eps=1e-3, learned="parameter"),
    "decay": Chain((WeightDecay(0.3), Momentum(0.5), StepSize(LR))),
}


def learned_by(rule: Chain, fast: Params) -> dict[str, Tensor]:
    params = rule.parameters({n: p[0].detach() for n, p in fast.items()})
    return {n: p.requires_grad_() for n, p in params.items()}


def through_the_graph(rule: Chain, num_steps: int) -> list[dict[str, Tensor]]:
    tasks, fast, slow = toy()
    for p in (*fast.values(), *slow.values()):
        p.requires_grad_()
    learned = learned_by(rule, fast)
    *_, last = inner_steps(
        tasks, fast, slow, rule, num_steps, rule_params=learned, create_graph=True
    )
    total = (last.next_fast["w"] * cotangent()["w"]).sum()
    groups: list[Params] = [fast, slow, learned]
    flat = {f"{i}.{n}": p for i, group in enumerate(groups) for n, p in group.items()}
    found = gradients(total, flat)
    return [{n: found[f"{i}.{n}"] for n in group} for i, group in enumerate(groups)]


def cotangent() -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(5)
    return {"w": torch.randn(3, 2, 3, generator=g, dtype=torch.float64)}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("num_steps", [1, K])
def test_it_is_the_gradient_through_the_whole_graph(name: str, num_steps: int) -> None:
    rule = RULES[name]
    tasks, fast, slow = toy()
    learned = learned_by(rule, fast)
    steps = list(inner_steps(tasks, fast, slow, rule, num_steps, rule_params=learned))
    found = rewind(tasks, steps, leaves(slow), rule, cotangent(), learned)
    for group, expected in zip(found, through_the_graph(rule, num_steps), strict=True):
        assert group.keys() == expected.keys()
        for n, g in group.items():
            assert torch.allclose(g, expected[n], rtol=1e-10, atol=1e-12)
            assert not g.requires_grad


def test_each_step_is_taken_anew_from_its_own_state() -> None:
    """Negative control: with each step's state forgotten the answer is another."""
    rule = RULES["learned-adam"]
    tasks, fast, slow = toy()
    learned = learned_by(rule, fast)
    steps = list(inner_steps(tasks, fast, slow, rule, K, rule_params=learned))
    forgetful = [replace(step, state=zeros_like(step.state)) for step in steps]
    right, _, _ = rewind(tasks, steps, slow, rule, cotangent(), learned)
    wrong, _, _ = rewind(tasks, forgetful, slow, rule, cotangent(), learned)
    assert not torch.allclose(right["w"], wrong["w"], rtol=1e-4)


def test_on_a_quadratic_it_is_the_power_of_the_jacobian() -> None:
    """l = 1/2 w^T A w: one step is (I - a A) w, so v comes back as (I - a A)^K v."""
    g = torch.Generator().manual_seed(3)
    root = torch.randn(2, 4, 4, generator=g, dtype=torch.float64)
    matrix = root @ root.mT
    tasks = Bowl(matrix)
    fast = {"w": torch.randn(2, 4, generator=g, dtype=torch.float64)}
    v = torch.randn(2, 4, generator=g, dtype=torch.float64)
    steps = list(inner_steps(tasks, fast, {}, sgd(LR), K))
    found, of_slow, of_rule = rewind(tasks, steps, {}, sgd(LR), {"w": v})
    power = torch.linalg.matrix_power(torch.eye(4) - LR * matrix, K)
    assert torch.allclose(found["w"], torch.einsum("nij,nj->ni", power, v), rtol=1e-12)
    assert (of_slow, of_rule) == ({}, {})


class Bowl:
    """1/2 w^T A w."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix, self.num_tasks = matrix, len(matrix)

    def sample(self, fast: Params, slow: Params, split: str) -> None:
        return None

    def loss(self, fast: Params, slow: Params, batch: None) -> Tensor:
        return 0.5 * torch.einsum("ni,nij,nj->n", fast["w"], self.matrix, fast["w"])


def test_the_callers_grad_mode_does_not_matter() -> None:
    tasks, fast, slow = toy()
    steps = list(inner_steps(tasks, fast, slow, sgd(LR), K))

    def go() -> Tensor:
        return rewind(tasks, steps, slow, sgd(LR), cotangent())[0]["w"]

    expected = go()
    with torch.no_grad():
        assert torch.equal(go(), expected)


def test_each_step_is_taken_anew_alone() -> None:
    """Memory of one step: no loss is computed from a phi that still has a past."""
    tasks, fast, slow = toy()
    steps = list(inner_steps(tasks, fast, slow, sgd(LR), K))
    pasts: list[bool] = []

    class Noting(ToyTasks):
        def loss(self, fast: Params, slow: Params, batch: tuple[Tensor, Tensor]) -> Tensor:
            pasts.append(fast["w"].grad_fn is not None)
            return super().loss(fast, slow, batch)

    noting: Callable[..., ToyTasks] = Noting
    rewind(noting(tasks.x, tasks.y), steps, slow, sgd(LR), cotangent())
    assert pasts == [False] * K
