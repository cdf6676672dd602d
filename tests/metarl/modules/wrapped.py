"""The networks of `tests.metarl.meta.problems` as ordinary modules, and loops over their tasks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from metarl.modules import MAML
from metarl.modules.functional import NamedTree
from metarl.nn import Network
from tests.metarl.meta.problems import Data, Problem, each_task


class Wrapped(nn.Module):
    """One network with parameters of its own."""

    def __init__(self, network: Network, params: dict[str, Tensor]) -> None:
        super().__init__()
        self.network = network
        self.tree = NamedTree(params)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, ...]`` in, ``[B, D]`` out."""
        params = {n: p.unsqueeze(0) for n, p in self.tree.named_parameters()}
        return self.network(params, x.unsqueeze(0))[0]


def wrapped(problem: Problem) -> Wrapped:
    return Wrapped(problem.network, problem.init())


def loss_of(problem: Problem) -> Callable[[Callable[[Tensor], Tensor], Data], Tensor]:
    """The loss of one task for anything that maps inputs to outputs."""
    return lambda f, data: problem.criterion(f(data[0])[None], data[1][None])[0]


def meta_gradient(maml: MAML, problem: Problem, num_steps: int) -> dict[str, Tensor]:
    """What the loop of a user gives, the mean over tasks, by the names of ``maml``."""
    loss = loss_of(problem)
    maml.zero_grad()
    for support, query in each_task(problem):
        clone = maml.clone()
        for _ in range(num_steps):
            clone.adapt(loss(clone, support))
        (loss(clone, query) / problem.num_tasks).backward()
    return {n: p.grad for n, p in maml.named_parameters() if p.grad is not None}


def small_net(seed: int = 0) -> nn.Sequential:
    """Convolutions, batch norm with running statistics, a head; float64."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 2)
    ).double()


def mlp(seed: int = 0) -> nn.Sequential:
    """A tanh network from 2 to 1; float64."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1)).double()


def some_data(seed: int = 0, num: int = 6) -> Data:
    """Inputs ``[num, 2]`` and targets ``[num, 1]``."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(num, 2, generator=g, dtype=torch.float64)
    return x, torch.randn(num, 1, generator=g, dtype=torch.float64)
