"""Where a `Warp` draws from: few-shot tasks of the package, and tasks that are acted in."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

import metarl
from metarl.core import Split
from metarl.modules.module_task import Batch, ModuleTask, Policy, TaskSource, modes_of
from metarl.supervised import TaskDataset
from tests.metarl.modules.warp_loop import LR, gradients_due, sgd
from tests.metarl.modules.wrapped import mlp

CONTEXT = torch.tensor([[0.3, -0.7]], dtype=torch.float64)


def test_a_task_of_a_task_dataset_keeps_support_and_query_apart() -> None:
    g = torch.Generator().manual_seed(0)
    inputs = torch.randn(60, 2, generator=g, dtype=torch.float64)
    task = TaskDataset((inputs, torch.arange(60) % 6), 5, 1, 2)[0]
    model = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 5)).double()
    sizes = []

    def criterion(outputs: Tensor, targets: Tensor) -> Tensor:
        sizes.append(len(outputs))
        return F.cross_entropy(outputs, targets)

    warp = metarl.Warp(
        model, ["0"], ["2"], metarl.DualUpdater(criterion, metarl.sgd(LR), init_objective="none")
    )
    warp.register_task(task)
    warp.init_adaptation()
    optimiser = sgd(warp.adapt_parameters())
    for _ in range(3):
        optimiser.zero_grad()
        F.cross_entropy(warp(task.support.inputs), task.support.targets).backward()
        optimiser.step()
    gradients_due(warp)
    assert sizes == [5, 10] * 3


def policy_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)).double()


class Bandit:
    """Three arms, all of them counted: the loss's gradient is exact at the policy that acts."""

    rewards = torch.tensor([1.0, -0.5, 0.2], dtype=torch.float64)

    def experience(self, logits: Tensor) -> Batch:
        p = logits.softmax(-1)[0]
        return CONTEXT, p * (self.rewards - p @ self.rewards)

    def sample(self, split: Split, policy: Policy) -> Batch:
        return self.experience(policy(CONTEXT))


def surrogate(logits: Tensor, weights: Tensor) -> Tensor:
    """-sum_a w_a log pi(a); w_a = pi(a) A(a) of the acting policy makes its gradient exact."""
    return -(logits.log_softmax(-1)[0] * weights).sum()


def expected(
    model: nn.Module, points: list[dict[str, Tensor]], rewards: Tensor
) -> dict[str, Tensor]:
    """Eq. 12 by hand: the exact gradient of the expected reward at theta'_k, mean over k."""
    total: dict[str, Tensor] = {}
    slow = {f"1.{n}": getattr(model[1], n).detach().requires_grad_() for n in ("weight", "bias")}
    for point in points:
        fast = {n: p.clone().requires_grad_() for n, p in point.items()}
        value = functional_call(model, {**fast, **slow}, (CONTEXT,)).softmax(-1)[0] @ rewards
        up = torch.autograd.grad(value, list(fast.values()))
        ahead = {n: (p + LR * g).detach() for (n, p), g in zip(fast.items(), up, strict=True)}
        value = functional_call(model, {**ahead, **slow}, (CONTEXT,)).softmax(-1)[0] @ rewards
        for n, g in zip(slow, torch.autograd.grad(value, list(slow.values())), strict=True):
            total[n] = total.get(n, torch.zeros_like(g)) - g / len(points)
    return total


def bandit_gradient(task: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What `Warp` finds on a task, and what is right."""
    updater = metarl.DualUpdater(
        surrogate, metarl.sgd(LR), "first_order", init_objective="none", batch_size=None
    )
    model = policy_net()
    warp = metarl.Warp(model, ["0", "3"], ["1"], updater)
    bandit = Bandit()
    warp.register_task(task)
    warp.init_adaptation()
    optimiser = sgd(warp.adapt_parameters())
    for _ in range(4):
        optimiser.zero_grad()
        logits = warp(CONTEXT)
        surrogate(logits, bandit.experience(logits.detach())[1]).backward()
        optimiser.step()
    points = [warp.buffer[key].fast for key in warp.buffer]
    (found,) = gradients_due(warp)
    return found, expected(model, points, Bandit.rewards)


def error(found: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    assert {f"model.{n}" for n in right} == set(found)
    return max(float((found[f"model.{n}"] - g).norm() / g.norm()) for n, g in right.items())


def test_a_task_that_is_acted_in_is_played_by_the_recorded_policy() -> None:
    assert error(*bandit_gradient(Bandit())) < 1e-9


def test_experience_of_another_policy_would_not_do() -> None:
    """The negative control: ``sample(split)`` can only play the model as it was wrapped."""
    base = policy_net()

    class Stale(Bandit):
        def sample(self, split: Split) -> Batch:  # type: ignore[override]
            return self.experience(base(CONTEXT).detach())

    assert error(*bandit_gradient(Stale())) > 1e-3


def test_who_acts_is_called_like_the_model_and_has_no_graph() -> None:
    class Task:
        def sample(self, split: Split, act: Policy) -> Batch:
            with torch.enable_grad():
                assert not act(input=CONTEXT).requires_grad
            return act, act

    class Optional:
        def sample(self, split: Split, number: int = 3) -> Batch:
            return number, number

    class Named:
        def sample(self, split: Split, policy: Policy | None = None) -> Batch:
            return policy, policy

    model = mlp()
    device = torch.device("cpu")
    assert TaskSource(Optional()).draw("query", device, model)[0] == 3
    assert TaskSource(Named()).draw("query", device, model)[0] is model
    warp = metarl.Warp(nn.Linear(2, 1).double(), "*", [], metarl.DualUpdater(nn.MSELoss()))
    warp.register_task(Task())
    (path,) = warp._recorder.paths
    task = ModuleTask(warp.model, nn.MSELoss(), path.source, modes_of(warp.model))
    fast = {n: torch.ones_like(p)[None] for n, p in warp.model.named_parameters()}
    act, _ = task.sample(fast, {}, "support")
    assert torch.allclose(act(CONTEXT), CONTEXT.sum() + 1)
