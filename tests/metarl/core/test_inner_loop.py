"""The inner loop: its steps, its graph or the lack of one, what it leaves alone, the way back.

Going back step by step gives what autograd gives through the whole graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from metarl.core import (
    Chain,
    Momentum,
    Params,
    Split,
    StepSize,
    WeightDecay,
    adam,
    gradients,
    inner_step,
    inner_steps,
    leaves,
    rewind,
    sgd,
    zeros_like,
)
from tests.metarl.core.toy_tasks import ToyTasks, toy
from tests.metarl.live_tensors import LiveTensors

LR, K = 0.1, 4


@dataclass
class Watching:
    """Tasks that count the tensors alive each time they are asked for something."""

    tasks: ToyTasks
    live: LiveTensors

    @property
    def num_tasks(self) -> int:
        return self.tasks.num_tasks

    def sample(self, fast: Params, slow: Params, split: Split) -> tuple[Tensor, Tensor]:
        self.live.watch(fast["w"])
        return self.tasks.sample(fast, slow, split)

    def loss(self, fast: Params, slow: Params, batch: tuple[Tensor, Tensor]) -> Tensor:
        self.live.watch(fast["w"])
        return self.tasks.loss(fast, slow, batch)


def most_alive(num_steps: int, *, create_graph: bool) -> int:
    tasks, fast, slow = toy()
    fast["w"].requires_grad_(create_graph)
    with LiveTensors() as live:
        watching = Watching(tasks, live)
        for _ in inner_steps(watching, fast, slow, adam(LR), num_steps, create_graph=create_graph):
            pass
    return live.most


def test_without_a_graph_memory_does_not_grow_with_the_steps() -> None:
    assert most_alive(3, create_graph=False) == most_alive(30, create_graph=False)


def test_with_a_graph_it_does() -> None:
    """Negative control of the count."""
    assert most_alive(30, create_graph=True) > 5 * most_alive(3, create_graph=True)


@pytest.mark.parametrize("create_graph", [False, True])
def test_the_steps_are_gradient_descent_and_chain(create_graph: bool) -> None:
    tasks, fast, slow = toy()
    expected = fast["w"]
    fast["w"] = fast["w"].requires_grad_(create_graph)
    after = fast
    for k, step in enumerate(inner_steps(tasks, fast, slow, sgd(LR), K, create_graph=create_graph)):
        here = expected.detach().requires_grad_()
        loss = tasks.loss({"w": here}, slow, (tasks.x[:, :4], tasks.y[:, :4]))
        (gradient,) = torch.autograd.grad(loss.sum(), here)
        assert step.index == k
        assert torch.allclose(step.loss, loss, rtol=1e-12)
        assert torch.allclose(step.grads["w"], gradient, rtol=1e-12)
        assert torch.equal(step.fast["w"], after["w"])
        expected, after = here - LR * gradient, step.next_fast
        assert torch.allclose(after["w"], expected, rtol=1e-12)
        assert after["w"].requires_grad is create_graph


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_the_callers_grad_mode_does_not_matter(mode: type) -> None:
    tasks, fast, slow = toy()
    *_, expected = inner_steps(tasks, fast, slow, adam(LR), K)
    if mode is torch.inference_mode:  # autograd is off altogether there: it must say so
        with mode(), pytest.raises(RuntimeError):
            list(inner_steps(tasks, fast, slow, adam(LR), K))
        return
    with mode():
        *_, found = inner_steps(tasks, fast, slow, adam(LR), K)
    assert torch.equal(found.next_fast["w"], expected.next_fast["w"])
    for tensor in (found.fast["w"], found.loss, found.grads["w"], found.next_fast["w"]):
        assert not tensor.requires_grad


def test_learned_step_sizes_and_slow_parameters_add_no_graph_unless_asked() -> None:
    tasks, fast, slow = toy()
    rule = sgd(LR, learned="element")
    learned = {n: p.requires_grad_() for n, p in rule.parameters({"w": fast["w"][0]}).items()}
    slow["s"].requires_grad_()
    *_, step = inner_steps(tasks, fast, slow, rule, K, rule_params=learned)
    assert not step.next_fast["w"].requires_grad
    *_, step = inner_steps(tasks, fast, slow, rule, K, rule_params=learned, create_graph=True)
    grads = torch.autograd.grad(step.next_fast["w"].sum(), [slow["s"], *learned.values()])
    assert all(g.abs().sum() > 0 for g in grads)


def test_a_task_does_not_notice_its_neighbours() -> None:
    tasks, fast, slow = toy()
    *_, whole = inner_steps(tasks, fast, slow, adam(LR), K)
    for i in range(tasks.num_tasks):
        one = slice(i, i + 1)
        alone_fast, alone_slow = {"w": fast["w"][one]}, {"s": slow["s"][one]}
        *_, alone = inner_steps(tasks.select(one), alone_fast, alone_slow, adam(LR), K)
        assert torch.allclose(alone.next_fast["w"], whole.next_fast["w"][one], rtol=1e-12)


def test_what_is_given_is_left_alone() -> None:
    tasks, fast, slow = toy()
    before = {"w": fast["w"].clone(), "s": slow["s"].clone()}
    list(inner_steps(tasks, fast, slow, sgd(LR, 0.9), K))
    assert torch.equal(fast["w"], before["w"])
    assert torch.equal(slow["s"], before["s"])
    assert not fast["w"].requires_grad


def test_no_steps_draw_nothing() -> None:
    tasks, fast, slow = toy()
    assert list(inner_steps(tasks, fast, slow, sgd(LR), 0)) == []


def test_a_single_step_takes_up_the_rules_state() -> None:
    """Two steps of the loop are one step, and another from the state it left."""
    tasks, fast, slow = toy()
    rule = adam(LR)
    first, second = inner_steps(tasks, fast, slow, rule, 2)
    again = inner_step(
        tasks, first.next_fast, slow, rule, state=first.next_state, batch=second.batch
    )
    assert torch.equal(again.next_fast["w"], second.next_fast["w"])
    anew = inner_step(tasks, first.next_fast, slow, rule, state=rule.init(fast), batch=second.batch)
    assert not torch.allclose(anew.next_fast["w"], second.next_fast["w"])


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


def test_the_callers_grad_mode_does_not_matter_on_the_way_back() -> None:
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
