"""Small supervised problems in float64, and a plain loop over tasks to compare learners with.

The loop knows nothing of the package's inner loop: one task at a time, `torch.func.functional_call`
free, ordinary autograd on unstacked parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from metarl.core import Params, Split
from metarl.nn import MLP, ConvNet, Network
from metarl.supervised.tasks import cross_entropy, mean_squared_error

Data = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Problem:
    """N tasks with fixed support and query examples."""

    network: Network
    criterion: Callable[[Tensor, Tensor], Tensor]
    support: Data
    query: Data

    @property
    def num_tasks(self) -> int:
        return len(self.support[0])

    def sample(self, fast: Params, slow: Params, split: Split) -> Data:
        return self.support if split == "support" else self.query

    def loss(self, fast: Params, slow: Params, batch: Data) -> Tensor:
        return self.criterion(self.network({**fast, **slow}, batch[0]), batch[1])

    def select(self, tasks: slice) -> Problem:
        def cut(data: Data) -> Data:
            return data[0][tasks], data[1][tasks]

        return replace(self, support=cut(self.support), query=cut(self.query))

    def init(self, seed: int = 0) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        params = self.network.init(generator)
        # Away from zeros and ones, so that no gradient vanishes by accident.
        return {
            n: p.double() + 0.1 * torch.randn(p.shape, generator=generator).double()
            for n, p in params.items()
        }


def regression(
    num_tasks: int = 3, seed: int = 1, activation: Literal["relu", "tanh"] = "tanh"
) -> Problem:
    """A tanh network, smooth to all orders; or of another activation."""
    g = torch.Generator().manual_seed(seed)
    data = [torch.randn(num_tasks, 5, d, generator=g).double() for d in (2, 1, 2, 1)]
    network = MLP((2, 6, 5, 1), activation)
    return Problem(network, mean_squared_error, (data[0], data[1]), (data[2], data[3]))


def classification(num_tasks: int = 3, seed: int = 2, network: ConvNet | None = None) -> Problem:
    """Images of noise through a small convolution network with affine batch norm."""
    network = network or ConvNet(3, filters=4, num_blocks=2, image_size=8)
    g = torch.Generator().manual_seed(seed)
    shape = (num_tasks, 6, network.in_channels, network.image_size, network.image_size)
    images = [torch.randn(shape, generator=g).double() for _ in range(2)]
    labels = torch.arange(6).remainder(network.num_outputs).expand(num_tasks, 6)
    return Problem(network, cross_entropy, (images[0], labels), (images[1], labels))


def plain_mlp(params: Params, x: Tensor, relu: bool = False) -> Tensor:
    """The tanh (or relu) network on ``[B, I]``, written out."""
    h = x @ params["layers.0.weight"] + params["layers.0.bias"]
    h = h.clamp(min=0) if relu else h.tanh()
    h = h @ params["layers.1.weight"] + params["layers.1.bias"]
    h = h.clamp(min=0) if relu else h.tanh()
    return h @ params["layers.2.weight"] + params["layers.2.bias"]


def plain_conv(params: Params, x: Tensor, pool: bool = False, pool_first: bool = False) -> Tensor:
    """The convolution network on ``[B, C, h, w]``, normalised by hand."""
    for i in range(sum(name.endswith("conv.weight") for name in params)):
        p = {n.removeprefix(f"blocks.{i}."): t for n, t in params.items()}
        x = F.conv2d(x, p["conv.weight"], p["conv.bias"], stride=1 if pool else 2, padding=1)
        x = F.max_pool2d(x, 2) if pool and pool_first else x
        mean = x.mean((0, 2, 3), keepdim=True)
        variance = (x - mean).square().mean((0, 2, 3), keepdim=True)
        x = (x - mean) / (variance + 1e-5).sqrt()
        x = x * p["norm.weight"].view(-1, 1, 1) + p["norm.bias"].view(-1, 1, 1)
        x = x.clamp(min=0)
        x = F.max_pool2d(x, 2) if pool and not pool_first else x
    x = x.flatten(1) if pool else x.mean((2, 3))
    return x @ params["head.weight"] + params["head.bias"]


PlainLoss = Callable[[Params, Data], Tensor]


def plain_loss(problem: Problem) -> PlainLoss:
    """The loss of one task on unstacked parameters."""
    net = problem.network
    if isinstance(net, MLP):
        relu = net.activation == "relu"
        return lambda params, data: F.mse_loss(plain_mlp(params, data[0], relu), data[1])
    assert isinstance(net, ConvNet)
    pool = net.reduction == "pool"
    return lambda params, data: F.cross_entropy(
        plain_conv(params, data[0], pool, net.pool_first), data[1]
    )


def each_task(problem: Problem) -> list[tuple[Data, Data]]:
    """Support and query examples of one task after the other."""
    return [
        ((problem.support[0][i], problem.support[1][i]), (problem.query[0][i], problem.query[1][i]))
        for i in range(problem.num_tasks)
    ]


def plain_sgd(
    loss: PlainLoss, params: Params, data: Data, lr: float, num_steps: int, adapted: set[str]
) -> dict[str, Tensor]:
    """K differentiable steps of gradient descent on the parameters named in ``adapted``."""
    params = dict(params)
    for _ in range(num_steps):
        names = sorted(adapted)
        grads = torch.autograd.grad(
            loss(params, data), [params[n] for n in names], create_graph=True
        )
        for name, gradient in zip(names, grads, strict=True):
            params[name] = params[name] - lr * gradient
    return params


def relative_error(a: Params, b: Params) -> float:
    """Largest difference over the largest entry of ``b``, over all names."""
    assert a.keys() == b.keys(), a.keys() ^ b.keys()
    largest = max(t.abs().max() for t in b.values())
    return float(max((a[n] - b[n]).abs().max() for n in b) / largest)
