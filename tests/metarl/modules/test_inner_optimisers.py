"""PyTorch's optimisers as rules, and step sizes and momenta that are learned."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import metarl
from metarl.modules.torch_rules import LearnedMomentum, rule_of, state_of
from tests.metarl.modules.wrapped import mlp, some_data

MAKERS: dict[str, Any] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1),
    "momentum": lambda p: torch.optim.SGD(p, 0.1, 0.9, weight_decay=0.1),
    "nesterov": lambda p: torch.optim.SGD(p, 0.1, 0.9, nesterov=True),
    "dampening": lambda p: torch.optim.SGD(p, 0.1, 0.9, dampening=0.3, weight_decay=0.1),
    "dampening alone": lambda p: torch.optim.SGD(p, 0.1, dampening=0.3),
    "groups": lambda p: torch.optim.SGD(
        [{"params": [q], "lr": 0.1 / (i + 1)} for i, q in enumerate(p)], 1.0, 0.9
    ),
    "adamw": lambda p: torch.optim.AdamW(p, 0.03, (0.8, 0.95), 1e-4, weight_decay=0.1),
    "decoupled": lambda p: torch.optim.Adam(p, 0.03, weight_decay=0.1, decoupled_weight_decay=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01, 0.9, 1e-4, weight_decay=0.1),
    "rmsprop centered": lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.9, centered=True),
    "adam": lambda p: torch.optim.Adam(p, 0.03, (0.8, 0.95), 1e-4, weight_decay=0.1),
}


@pytest.mark.parametrize("name", MAKERS)
def test_from_every_point_the_rule_takes_the_optimisers_step(name: str) -> None:
    model, (x, y) = mlp(), some_data()
    fast = dict(model.named_parameters())
    optimiser = MAKERS[name](model.parameters())
    for k in range(4):
        rule = rule_of(optimiser, fast)
        state = {n: s[None] for n, s in state_of(rule, fast, k, optimiser).items()}
        optimiser.zero_grad()
        F.mse_loss(model(x), y).backward()
        grads = {n: p.grad[None] for n, p in fast.items() if p.grad is not None}
        expected, _ = rule.step({n: p.detach()[None] for n, p in fast.items()}, grads, state)
        optimiser.step()
        for n, p in fast.items():
            assert torch.allclose(expected[n][0], p, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.Adagrad(p, 0.1),
        lambda p: torch.optim.LBFGS(p, 0.1),
        lambda p: torch.optim.Adam(p, 0.1, amsgrad=True),
        lambda p: torch.optim.SGD(p, 0.1, maximize=True),
        lambda p: torch.optim.SGD([{"params": [q], "momentum": 0.1 * i} for i, q in enumerate(p)]),
    ],
)
def test_other_optimisers_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="no update rule is known"):
        model = mlp()
        rule_of(make(model.parameters()), dict(model.named_parameters()))


def test_an_optimiser_of_other_parameters_is_refused() -> None:
    warp = metarl.Warp(mlp(), "0", "2", metarl.DualUpdater(nn.MSELoss()))
    with pytest.raises(ValueError, match=r"does not step on 0\.weight, 0\.bias"):
        warp.register_optimizer(torch.optim.SGD(warp.model.parameters(), 0.1))


def learning(momentum: float, objective: Any) -> tuple[metarl.Warp, list[dict[str, Tensor]]]:
    """Two steps with learned step sizes; the gradients of the meta-steps."""
    updater = metarl.DualUpdater(
        nn.MSELoss(), warp_objective=objective, init_objective="none", batch_size=None
    )
    parameters = metarl.OptimizerParameters(0.1, momentum)
    warp = metarl.Warp(mlp(), "0", "2", updater, optimizer_parameters=parameters)
    x, y = some_data()
    warp.register_task([(x, y)])
    warp.init_adaptation()
    optimiser = torch.optim.SGD(warp.optimizer_parameter_groups())
    warp.register_optimizer(optimiser)
    for _ in range(2):
        optimiser.zero_grad()
        F.mse_loss(warp(x), y).backward()
        optimiser.step()
    found: list[dict[str, Tensor]] = []
    warp.backward(
        lambda: found.append({n: p.grad for n, p in warp.named_parameters() if p.grad is not None})
    )
    return warp, found


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("objective", ["exact", "first_order", "replay"])
def test_step_sizes_learn_with_any_momentum_and_objective(momentum: float, objective: Any) -> None:
    warp, (found,) = learning(momentum, objective)
    names = {f"learned.{n}" for n, _ in warp.named_optimizer_parameters()}
    assert len(names) == (4 if momentum else 2)
    learned = {n for n in found if n.startswith("learned.")}
    assert learned == (set() if objective == "replay" else names)
    assert all(found[n].abs().sum() > 0 for n in learned)


def test_learned_step_sizes_have_the_closed_form() -> None:
    """D l(theta - beta alpha m - alpha g) by log alpha and logit beta, at both points."""
    warp, (found,) = learning(0.9, "exact")
    model, (x, y) = warp.model, some_data()
    log_lr = torch.full((2,), math.log(0.1), dtype=torch.float64, requires_grad=True)
    logit = torch.full((2,), math.log(9.0), dtype=torch.float64, requires_grad=True)

    def loss(w: Tensor, b: Tensor) -> Tensor:
        return F.mse_loss(F.linear(torch.tanh(F.linear(x, w, b)), *model[2].parameters()), y)

    theta = [p.detach().clone().requires_grad_() for p in model[0].parameters()]
    momenta = [torch.zeros_like(p) for p in theta]
    total = torch.zeros((), dtype=torch.float64)
    for _ in range(2):
        g = torch.autograd.grad(loss(*theta), theta)
        after = [logit[i].sigmoid() * momenta[i] + g[i] for i in range(2)]
        ahead = [theta[i] - log_lr[i].exp() * after[i] for i in range(2)]
        total = total + loss(*ahead) / 2
        theta = [p.detach().requires_grad_() for p in ahead]
        momenta = [m.detach() for m in after]
    lr_grads, logit_grads = torch.autograd.grad(total, (log_lr, logit))
    for i, name in enumerate(("weight", "bias")):
        assert torch.allclose(found[f"learned.1.log_lr.0.{name}"], lr_grads[i], rtol=1e-9)
        assert torch.allclose(found[f"learned.0.logit.0.{name}"], logit_grads[i], rtol=1e-9)


def test_groups_follow_what_is_learned() -> None:
    warp, _ = learning(0.9, "exact")
    with torch.no_grad():
        for p in warp.optimizer_parameters():
            p.add_(0.5)
    for group, p in zip(warp.optimizer_parameter_groups(), warp.adapt_parameters(), strict=True):
        assert group["params"] == [p]
        assert group["lr"] == pytest.approx(0.1 * math.exp(0.5))
        assert group["momentum"] == pytest.approx(1 / (1 + math.exp(-math.log(9) - 0.5)))


def test_a_learned_momentum_lies_between_0_and_1() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        LearnedMomentum(1.0)
