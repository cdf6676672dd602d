"""The meta-gradients that are timed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from metarl.core import Execution, Params, Split
from metarl.nn import MLP, ConvNet, Network, conv_settings
from metarl.nn.conv_settings import ReducedConvNetSettings
from metarl.supervised.tasks import cross_entropy, mean_squared_error

Data = tuple[Tensor, Tensor]

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """N tasks with fixed support and query examples; a divisible task batch."""

    name: str
    kind: Literal["regression", "classification"]
    network: Network
    params: dict[str, Tensor]
    stacked: tuple[Data, Data]
    num_steps: int
    lr: float
    execution: Execution

    @property
    def num_tasks(self) -> int:
        return len(self.stacked[0][0])

    @property
    def tasks(self) -> list[tuple[Data, Data]]:
        (x, y), (qx, qy) = self.stacked
        return [((x[i], y[i]), (qx[i], qy[i])) for i in range(self.num_tasks)]

    def sample(self, fast: Params, slow: Params, split: Split) -> Data:
        return self.draw(split)

    def draw(self, split: Split) -> Data:
        return self.stacked[0] if split == "support" else self.stacked[1]

    @property
    def loss_identity(self) -> tuple[str, Network]:
        return self.kind, self.network

    def loss(self, fast: Params, slow: Params, batch: Data) -> Tensor:
        criterion = mean_squared_error if self.kind == "regression" else cross_entropy
        return criterion(self.network({**fast, **slow}, batch[0]), batch[1])

    def double(self) -> Case:
        """The same in float64."""
        (x, y), (qx, qy) = self.stacked
        y, qy = (t.double() if t.is_floating_point() else t for t in (y, qy))
        params = {n: p.double() for n, p in self.params.items()}
        return replace(self, params=params, stacked=((x.double(), y), (qx.double(), qy)))

    def eagerly(self) -> Case:
        """The same without native kernels, as many tasks at a time as suits that."""
        execution = Execution(native="off")
        if isinstance(self.network, ConvNet):
            settings = ReducedConvNetSettings(self.network.filters, self.network.reduction)
            asked = replace(execution, chunk_size="auto")
            execution = conv_settings.stacked(asked, CPU, self.stacked[0][0].shape[1], settings)
        return replace(self, execution=execution)

    def select(self, tasks: slice) -> Case:
        (x, y), (qx, qy) = self.stacked
        return replace(self, stacked=((x[tasks], y[tasks]), (qx[tasks], qy[tasks])))


def sine(num_steps: int) -> Case:
    """MLP 1-40-40-1, 25 tasks of 10 + 10 points."""
    g = torch.Generator().manual_seed(0)
    network = MLP((1, 40, 40, 1))
    x, y, qx, qy = (torch.randn(25, 10, 1, generator=g) for _ in range(4))
    name = f"MLP, {num_steps} step{'s' * (num_steps > 1)}"
    stacked = ((x, y), (qx, qy))
    return Case(name, "regression", network, network.init(g), stacked, num_steps, 0.01, Execution())


def images(
    reduction: Literal["stride", "pool"],
    num_steps: int,
    *,
    ways: int = 5,
    shots: int = 1,
    num_tasks: int = 32,
    filters: int = 64,
    execution: Execution | None = None,
) -> Case:
    """The Omniglot network, as many query images as support images."""
    g = torch.Generator().manual_seed(0)
    network = ConvNet(ways, filters=filters, reduction=reduction)
    x, qx = (torch.rand(num_tasks, ways * shots, 1, 28, 28, generator=g) for _ in range(2))
    y = torch.arange(ways).repeat(shots).expand(num_tasks, -1)
    name = f"{reduction} {filters}, {ways}-way {shots}-shot, {num_tasks} tasks, {num_steps} steps"
    params, stacked = network.init(g), ((x, y), (qx, y))
    settings = ReducedConvNetSettings(filters, reduction)
    # As many tasks at a time as the scripts work on.
    execution = execution or conv_settings.stacked(Execution("auto"), CPU, ways * shots, settings)
    return Case(name, "classification", network, params, stacked, num_steps, 0.4, execution)
