"""An optimiser that steps by another rule than the replay's is found on a task's first steps."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

import metarl
from metarl.modules.step_watch import num_watches
from tests.metarl.modules.wrapped import mlp, some_data

Make = Callable[[Iterator[Tensor]], Optimizer]


def warp_of(**options: Any) -> metarl.Warp:
    parameters = options.pop("optimizer_parameters", None)
    options = {"rule": metarl.sgd(0.1), **options}
    updater = metarl.DualUpdater(nn.MSELoss(), **options)
    return metarl.Warp(mlp(), "0", "2", updater, optimizer_parameters=parameters)


def play(warp: metarl.Warp, optimiser: Optimizer, num_steps: int = 3, clip: float = 1e9) -> None:
    """Adapt to a task, as users do."""
    x, y = some_data()
    warp.register_task([(x, y)])
    warp.init_adaptation()
    for _ in range(num_steps):
        optimiser.zero_grad()
        F.mse_loss(warp(x), y).backward()
        nn.utils.clip_grad_norm_(list(warp.adapt_parameters()), clip)
        optimiser.step()
    warp.no_collect()


OTHERS: dict[str, Make] = {
    "SGD\\(lr=0.05\\) moved": lambda p: SGD(p, 0.05),
    "SGD\\(lr=0.1, momentum=0.9\\) .* in step 2": lambda p: SGD(p, 0.1, momentum=0.9),
    "SGD\\(lr=0.1, weight_decay=0.1\\)": lambda p: SGD(p, 0.1, weight_decay=0.1),
    "Adam\\(lr=0.1": lambda p: Adam(p, 0.1),
    "AdamW\\(lr=0.1": lambda p: AdamW(p, 0.1),
}


@pytest.mark.parametrize("message", OTHERS)
@pytest.mark.parametrize("objective", ["exact", "first_order"])
def test_an_optimiser_with_another_rule_is_refused(message: str, objective: Any) -> None:
    warp = warp_of(warp_objective=objective)
    with pytest.raises(ValueError, match=f"{message}.*StepSize\\(lr=0.1.*DualUpdater"):
        play(warp, OTHERS[message](warp.adapt_parameters()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_rules_own_optimiser_passes_with_clipped_gradients_too(dtype: torch.dtype) -> None:
    warp = warp_of()
    warp.to(dtype)
    x, y = (t.to(dtype) for t in some_data())
    for lr, decay in ((0.1, 0.0), (torch.tensor(0.1), 0.0)):
        warp.register_task([(x, y)])
        warp.init_adaptation()
        optimiser = SGD(warp.adapt_parameters(), lr, weight_decay=decay)
        for _ in range(3):
            optimiser.zero_grad()
            F.mse_loss(warp(x), y).backward()
            nn.utils.clip_grad_norm_(list(warp.adapt_parameters()), 0.01)
            optimiser.step()
    assert len(warp.buffer) == 6


def test_a_registered_optimiser_needs_no_rule_and_is_not_compared() -> None:
    warp = warp_of(rule=None)
    x, y = some_data()
    warp.register_task([(x, y)])
    warp.init_adaptation()
    optimiser = Adam(warp.adapt_parameters(), 0.1)
    warp.register_optimizer(optimiser)
    for _ in range(3):
        optimiser.zero_grad()
        F.mse_loss(warp(x), y).backward()
        optimiser.step()
    assert set(warp.backward(lambda: None)) == {"support_loss", "query_loss"}


def test_an_optimiser_may_be_registered_after_the_first_pass() -> None:
    """Before its first step, in place of the rule that `DualUpdater` has."""
    warp = warp_of()
    x, y = some_data()
    warp.register_task([(x, y)])
    warp.init_adaptation()
    loss = F.mse_loss(warp(x), y)
    optimiser = SGD(warp.adapt_parameters(), 0.3)
    warp.register_optimizer(optimiser)
    loss.backward()
    optimiser.step()
    assert not torch.equal(next(warp.adapt_parameters()), next(warp.init_parameters()))


def test_where_no_step_is_taken_again_any_optimiser_will_do() -> None:
    warp = warp_of(warp_objective="replay")
    play(warp, AdamW(warp.adapt_parameters(), 0.3))
    warp.backward(lambda: None)


def test_learned_step_sizes_are_those_of_the_optimiser() -> None:
    parameters = metarl.OptimizerParameters(0.1)
    warp = warp_of(optimizer_parameters=parameters)
    optimiser = SGD(warp.optimizer_parameter_groups())
    play(warp, optimiser)
    with torch.no_grad():
        next(warp.optimizer_parameters()).add_(1.0)  # a meta-step
    with pytest.raises(ValueError, match="a new one for every task"):
        play(warp, optimiser)


def test_optimisers_of_something_else_are_no_concern() -> None:
    warp, other = warp_of(), torch.ones(3, requires_grad=True)
    x, y = some_data()
    warp.register_task([(x, y)])
    warp.init_adaptation()
    F.mse_loss(warp(x), y).backward()
    other.sum().backward()
    SGD([other], 7.0).step()
    assert torch.equal(other, torch.full((3,), -6.0))


def test_nothing_watches_once_a_task_is_over_or_the_warp_is_gone() -> None:
    gc.collect()  # of the tests before
    before = num_watches()
    warp = warp_of()
    play(warp, SGD(warp.adapt_parameters(), 0.1))
    assert num_watches() == before
    x, y = some_data()
    warp.register_task([(x, y)])
    warp.init_adaptation()
    warp(x)
    assert num_watches() == before + 1
    del warp
    gc.collect()
    assert num_watches() == before
