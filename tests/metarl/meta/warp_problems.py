"""Small warped problems in float64, and WarpGrad's objectives written out for one task at a time.

Nothing here uses the package's inner loop or update rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from metarl.nn import MLP, ConvNet, WarpConvNet, WarpMLP
from metarl.supervised.tasks import cross_entropy, mean_squared_error
from tests.metarl.meta.problems import Data, PlainLoss, Problem, each_task

Params = dict[str, Tensor]
LR = 0.1


def warped_regression(kind: Literal["linear", "tanh"] = "tanh", num_tasks: int = 3) -> Problem:
    g = torch.Generator().manual_seed(1)
    data = [torch.randn(num_tasks, 5, d, generator=g).double() for d in (2, 1, 2, 1)]
    network = WarpMLP(MLP((2, 6, 5, 1), activation="tanh"), kind)
    return Problem(network, mean_squared_error, (data[0], data[1]), (data[2], data[3]))


def linear_regression() -> Problem:
    return warped_regression("linear")


POOLED = ConvNet(3, filters=4, num_blocks=2, image_size=8, reduction="pool", pool_first=True)
STRIDED = ConvNet(3, filters=4, num_blocks=2, image_size=8)


def warped_images(network: WarpConvNet) -> Problem:
    """Images of noise through a warped convolution net."""
    g = torch.Generator().manual_seed(2)
    images = [torch.randn((3, 6, 1, 8, 8), generator=g).double() for _ in range(2)]
    labels = torch.arange(6).remainder(3).expand(3, 6)
    return Problem(network, cross_entropy, (images[0], labels), (images[1], labels))


def warped_classification() -> Problem:
    """Tanh warps with batch norm and a residual."""
    return warped_images(
        WarpConvNet(POOLED, "1x1", activation="tanh", residual=True, batch_norm=True)
    )


WARPED_NETS = {
    "3x3": WarpConvNet(POOLED),
    "3x3-strided": WarpConvNet(STRIDED),
    "pool-last": WarpConvNet(replace(POOLED, pool_first=False)),
    "scaling": WarpConvNet(POOLED, "scaling"),
    "scaling-residual": WarpConvNet(STRIDED, "scaling", residual=True),
    "stack": WarpConvNet(STRIDED, num_layers=2, filters=3, activation="leaky_relu"),
    "stack-with-skip": WarpConvNet(
        POOLED, num_layers=2, filters=3, activation="sigmoid", residual=True, batch_norm=True
    ),
    "warped-head": WarpConvNet(STRIDED, "1x1", activation="relu", warped_head=True),
}
"""Every way to build the layers, at least once."""


def plain_loss(problem: Problem) -> PlainLoss:
    """The loss of one task on unstacked parameters."""
    net = problem.network
    if isinstance(net, WarpMLP):
        tanh = net.kind == "tanh"
        return lambda params, data: F.mse_loss(_plain_mlp(params, data[0], tanh), data[1])
    assert isinstance(net, WarpConvNet)
    return lambda params, data: F.cross_entropy(_plain_conv(net, params, data[0]), data[1])


def _plain_mlp(p: dict[str, Tensor], h: Tensor, tanh: bool) -> Tensor:
    for i in range(2):
        h = torch.tanh(h @ p[f"layers.{i}.weight"] + p[f"layers.{i}.bias"])
        z = h @ p[f"warp.{i}.weight"] + p[f"warp.{i}.bias"]
        h = h + z.tanh() if tanh else z
    return h @ p["layers.2.weight"] + p["layers.2.bias"]


PLAIN_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda h: h,
    "relu": lambda h: h.clamp(min=0),
    "leaky_relu": lambda h: torch.where(h > 0, h, 0.01 * h),
    "sigmoid": lambda h: 1 / (1 + (-h).exp()),
    "tanh": lambda h: h.tanh(),
}


def _plain_conv(net: WarpConvNet, p: dict[str, Tensor], h: Tensor) -> Tensor:
    """One task, ordinary convolutions; which layers there are is read from the names."""
    pool, first = net.base.reduction == "pool", net.base.pool_first
    for i in range(2):
        weight, bias = p[f"blocks.{i}.conv.weight"], p[f"blocks.{i}.conv.bias"]
        h = F.conv2d(h, weight, bias, stride=1 if pool else 2, padding=1)
        h = F.max_pool2d(h, 2) if pool and first else h
        h = _plain_norm(p, f"blocks.{i}.norm", h).clamp(min=0)
        h = F.max_pool2d(h, 2) if pool and not first else h
        for j in range(net.num_layers):
            h = _plain_warp(net, p, f"warp.{i}.{j}", h)
    h = h.flatten(1) if pool else h.mean((2, 3))
    h = h @ p["head.weight"] + p["head.bias"]
    return h @ p["warp.head.weight"] + p["warp.head.bias"] if "warp.head.bias" in p else h


def _plain_warp(net: WarpConvNet, p: dict[str, Tensor], name: str, h: Tensor) -> Tensor:
    weight, bias = p[f"{name}.conv.weight"], p[f"{name}.conv.bias"]
    x = _plain_norm(p, f"{name}.norm_in", h)
    if weight.dim() == 1:
        x = x * weight.view(-1, 1, 1) + bias.view(-1, 1, 1)
    else:
        x = F.conv2d(x, weight, bias, padding="same")
    x = PLAIN_ACTIVATIONS[net.activation](x)
    if not net.residual:
        return x
    if f"{name}.skip.weight" in p:
        h = F.conv2d(h, p[f"{name}.skip.weight"], p[f"{name}.skip.bias"])
    return _plain_norm(p, f"{name}.norm_out", h + x)


def _plain_norm(p: dict[str, Tensor], name: str, h: Tensor) -> Tensor:
    """Batch norm by hand, where it has parameters."""
    if f"{name}.weight" not in p:
        return h
    mean = h.mean((0, 2, 3), keepdim=True)
    h = (h - mean) / ((h - mean).square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()
    return h * p[f"{name}.weight"].view(-1, 1, 1) + p[f"{name}.bias"].view(-1, 1, 1)


def sides(params: Params) -> tuple[Params, Params]:
    """Fast and slow, by name."""
    fast = {n: p for n, p in params.items() if not n.startswith("warp.")}
    return fast, {n: p for n, p in params.items() if n.startswith("warp.")}


Optimiser = Callable[[list[Tensor]], torch.optim.Optimizer]


def trajectory(
    loss: PlainLoss, params: Params, support: Data, num_steps: int, make: Optimiser
) -> list[Params]:
    """theta_0 .. theta_K of one task under an optimiser of torch."""
    fast, slow = sides(params)
    fast = {n: p.clone().requires_grad_() for n, p in fast.items()}
    optimiser = make(list(fast.values()))
    points = [{n: p.detach().clone() for n, p in fast.items()}]
    for _ in range(num_steps):
        optimiser.zero_grad()
        loss({**fast, **slow}, support).backward()
        optimiser.step()
        points.append({n: p.detach().clone() for n, p in fast.items()})
    return points


def sgd(params: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, LR)


def objective(
    loss: PlainLoss, kind: str, theta: Params, phi: Params, support: Data, query: Data
) -> Tensor:
    """Eq. 11, eq. 12 or the task loss at one theta; ``phi`` requires grad."""
    theta = {n: p.clone().requires_grad_() for n, p in theta.items()}
    inner = loss({**theta, **phi}, support)
    if kind == "replay":
        return inner
    grads = torch.autograd.grad(inner, list(theta.values()), create_graph=True)
    ahead = {n: p - LR * g for (n, p), g in zip(theta.items(), grads, strict=True)}
    if kind == "first_order":
        ahead = {n: p.detach() for n, p in ahead.items()}
    return loss({**ahead, **phi}, query)


def mean_objective(
    problem: Problem, kind: str, phi: Params, points: list[list[Params]], num_steps: int
) -> Tensor:
    """The mean over tasks and theta_0 .. theta_{K-1}."""
    loss = plain_loss(problem)
    parts = [
        objective(loss, kind, theta, phi, support, query)
        for path, (support, query) in zip(points, each_task(problem), strict=True)
        for theta in path[:num_steps]
    ]
    return torch.stack(parts).mean()


def all_points(
    problem: Problem, params: Params, num_steps: int, make: Optimiser = sgd
) -> list[list[Params]]:
    """The trajectories of every task."""
    loss = plain_loss(problem)
    return [trajectory(loss, params, support, num_steps, make) for support, _ in each_task(problem)]


def plain_gradient(problem: Problem, params: Params, kind: str, num_steps: int) -> Params:
    """The slow gradient, by the learner's names."""
    points = all_points(problem, params, num_steps)
    phi = {n: p.clone().requires_grad_() for n, p in sides(params)[1].items()}
    total = mean_objective(problem, kind, phi, points, num_steps)
    grads = torch.autograd.grad(total, list(phi.values()))
    return {f"slow.{n}": g for n, g in zip(phi, grads, strict=True)}
