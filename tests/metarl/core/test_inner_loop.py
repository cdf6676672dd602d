"""The inner loop: its steps, its graph or the lack of one, and what it leaves alone."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from metarl.core import Params, Split, adam, inner_step, inner_steps, sgd
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
