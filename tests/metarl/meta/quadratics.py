"""Quadratic tasks, whose adaptation and meta-gradients can be written down, and a toy course.

Task i has parameters theta = (body, head), D numbers together, and

    l_i(theta) = 1/2 (theta - c_i)^T A_i (theta - c_i)

with A_i, c_i of its own for support and query. Gradient descent of step size a gives
``phi_K - c = (I - a A)^K (theta - c)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from metarl.core import Params, Split
from metarl.meta.learner import MetaLearner
from tests.metarl.live_tensors import LiveTensors

BODY, HEAD = 3, 2
D = BODY + HEAD


@dataclass(frozen=True)
class Quadratics:
    """N tasks: ``A [N, D, D]`` and ``c [N, D]`` for either split, and which tasks they are."""

    support: tuple[Tensor, Tensor]
    query: tuple[Tensor, Tensor]
    indices: Tensor
    thread_safe: ClassVar[bool] = True

    @property
    def num_tasks(self) -> int:
        return len(self.indices)

    def sample(self, fast: Params, slow: Params, split: Split) -> tuple[Tensor, Tensor]:
        return self.support if split == "support" else self.query

    def loss(self, fast: Params, slow: Params, batch: tuple[Tensor, Tensor]) -> Tensor:
        offset = self.features(fast, slow, batch).squeeze(1)
        return 0.5 * torch.einsum("nd,nde,ne->n", offset, batch[0], offset)

    def features(self, fast: Params, slow: Params, batch: tuple[Tensor, Tensor]) -> Tensor:
        """theta - c, one example ``[N, 1, D]``: what a learned loss may see."""
        params = {**fast, **slow}
        return (torch.cat([params["body"], params["head"]], 1) - batch[1]).unsqueeze(1)

    def select(self, tasks: slice) -> Quadratics:
        a, c = self.support
        b, d = self.query
        return replace(
            self,
            support=(a[tasks], c[tasks]),
            query=(b[tasks], d[tasks]),
            indices=self.indices[tasks],
        )


class Watching:
    """Tasks that count the tensors alive each time they are asked for something."""

    def __init__(self, tasks: Quadratics, live: LiveTensors) -> None:
        self.tasks, self.live = tasks, live

    def __getattr__(self, name: str) -> object:
        return getattr(self.tasks, name)

    def sample(self, fast: Params, slow: Params, split: Split) -> tuple[Tensor, Tensor]:
        self.live.watch(fast["body"])
        return self.tasks.sample(fast, slow, split)

    def loss(self, fast: Params, slow: Params, batch: tuple[Tensor, Tensor]) -> Tensor:
        self.live.watch(fast["body"])
        return self.tasks.loss(fast, slow, batch)


def draw(num_tasks: int = 4, seed: int = 0) -> Quadratics:
    """Tasks whose support and query have nothing in common."""
    g = torch.Generator().manual_seed(seed)

    def half() -> tuple[Tensor, Tensor]:
        root = torch.randn(num_tasks, D, D, generator=g, dtype=torch.float64)
        centre = torch.randn(num_tasks, D, generator=g, dtype=torch.float64)
        return root @ root.mT / D + 0.1 * torch.eye(D, dtype=torch.float64), centre

    return Quadratics(half(), half(), torch.arange(num_tasks))


def start(seed: int = 9) -> dict[str, Tensor]:
    """Where theta begins."""
    g = torch.Generator().manual_seed(seed)
    return {
        "body": torch.randn(BODY, generator=g, dtype=torch.float64),
        "head": torch.randn(HEAD, generator=g, dtype=torch.float64),
    }


def flat(params: Params) -> Tensor:
    """(body, head) ``[..., D]``."""
    return torch.cat([params["body"], params["head"]], -1)


def meta_gradient(learner: MetaLearner, tasks: Quadratics) -> dict[str, Tensor]:
    """What one meta-batch leaves in ``.grad``."""
    for p in learner.params.values():
        p.grad = None
    list(learner.meta_gradients(tasks))
    return {n: p.grad.clone() for n, p in learner.params.items() if p.grad is not None}


def of_theta(grads: Params, body: str = "fast") -> Tensor:
    """The gradient of theta ``[D]``."""
    return torch.cat([grads[f"{body}.body"], grads["fast.head"]])


def course(num_batches: int, seed: int = 0) -> Iterator[Quadratics]:
    """Meta-batches of a toy family: long narrow valleys, centred near (3, ..., 3).

    Curvatures are 2, 2, 0.1, 2, 0.1, so that plain gradient descent is slow along two axes and only
    a learner that finds the common centre, or those axes, adapts in a few steps.
    """
    g = torch.Generator().manual_seed(seed)
    matrix = torch.diag(torch.tensor([2.0, 2.0, 0.1, 2.0, 0.1], dtype=torch.float64)).expand(
        5, D, D
    )
    for _ in range(num_batches):
        centre = 3.0 + torch.randn(5, D, generator=g, dtype=torch.float64)
        yield Quadratics((matrix, centre), (matrix, centre), torch.arange(5))


def adapted_loss(learner: MetaLearner, num_steps: int = 3) -> float:
    """The query loss after adapting to tasks of the course that were never trained on."""
    losses = []
    for tasks in course(10, seed=999):
        fast = learner.adapt(tasks, num_steps)
        slow = {n: p.detach().expand(tasks.num_tasks, *p.shape) for n, p in learner.slow.items()}
        losses.append(tasks.loss(fast, slow, tasks.query).mean())
    return float(torch.stack(losses).mean())


def train(learner: MetaLearner, lr: float, num_batches: int = 60, *, broken: bool = False) -> float:
    """Meta-train with Adam (``broken`` climbs instead); the loss afterwards."""
    optimiser = torch.optim.Adam(learner.params.values(), lr=lr, maximize=broken)
    for tasks in course(num_batches):
        for _ in learner.meta_gradients(tasks):
            optimiser.step()
            optimiser.zero_grad()
    return adapted_loss(learner)
