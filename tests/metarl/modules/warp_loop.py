"""A warped module, and the loop of a user over a problem's tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

import metarl
from metarl.core import Split
from tests.metarl.meta.problems import Data, Problem, each_task
from tests.metarl.modules.wrapped import Wrapped, loss_of, wrapped

LR = 0.1
Make = Callable[[Iterator[Tensor]], torch.optim.Optimizer]


class FixedTask:
    """Support and query sets of one task; counts what is drawn."""

    def __init__(self, support: Data, query: Data) -> None:
        self.data = {"support": support, "query": query}
        self.num_draws = 0

    def sample(self, split: Split) -> Data:
        self.num_draws += 1
        return self.data[split]


def warp_of(problem: Problem, *, model: Wrapped | None = None, **options: Any) -> metarl.Warp:
    """A `Warp` with the problem's warp layers; ``options`` are the updater's."""
    warp_options = {n: options.pop(n) for n in ("buffer", "optimizer_parameters") if n in options}
    criterion = lambda outputs, targets: problem.criterion(outputs[None], targets[None])[0]  # noqa: E731
    updater = metarl.DualUpdater(criterion, **{"rule": metarl.sgd(LR), **options})
    slow = [f"tree.{pattern}" for pattern in problem.network.slow]
    model = model or wrapped(problem)
    fast = [n for n, _ in model.named_parameters() if not n.startswith("tree.warp.")]
    return metarl.Warp(model, fast, slow, updater, **warp_options)


def sgd(params: Iterator[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, LR)


def adapt(
    warp: metarl.Warp,
    problem: Problem,
    support: Data,
    num_steps: int,
    make: Make = sgd,
    *,
    register: bool = False,
) -> None:
    """K steps of an ordinary optimiser."""
    loss = loss_of(problem)
    optimiser = make(warp.adapt_parameters())
    if register:
        warp.register_optimizer(optimiser)
    for _ in range(num_steps):
        optimiser.zero_grad()
        loss(warp, support).backward()
        optimiser.step()


def collect(
    warp: metarl.Warp, problem: Problem, num_steps: int = 3, **options: Any
) -> list[FixedTask]:
    """Adapt to every task of the problem."""
    tasks = []
    for support, query in each_task(problem):
        tasks.append(FixedTask(support, query))
        warp.register_task(tasks[-1])
        warp.init_adaptation()
        adapt(warp, problem, support, num_steps, **options)
        warp.no_collect()
    return tasks


def gradients_due(warp: metarl.Warp) -> list[dict[str, Tensor]]:
    """The gradients of every meta-step, none of which is taken; by the model's names."""
    found: list[dict[str, Tensor]] = []

    def note() -> None:
        found.append({n: p.grad.clone() for n, p in warp.named_parameters() if p.grad is not None})

    warp.backward(note)
    return found
