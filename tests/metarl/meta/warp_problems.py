"""Small warped problems in float64, and WarpGrad's objectives written out for one task at a time.

Nothing here uses the package's inner loop or update rules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from metarl.fewshot.criteria import cross_entropy, mean_squared_error
from metarl.nn import MLP, ConvNet, WarpConvNet, WarpMLP
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


def warped_classification() -> Problem:
    """Images of noise; tanh warps with batch norm and a residual."""
    base = ConvNet(3, filters=4, num_blocks=2, image_size=8, reduction="pool", pool_first=True)
    network = WarpConvNet(base, "1x1", activation="tanh", residual=True, batch_norm=True)
    g = torch.Generator().manual_seed(2)
    images = [torch.randn((3, 6, 1, 8, 8), generator=g).double() for _ in range(2)]
    labels = torch.arange(6).remainder(3).expand(3, 6)
    return Problem(network, cross_entropy, (images[0], labels), (images[1], labels))


def plain_loss(problem: Problem) -> PlainLoss:
    """The loss of one task on unstacked parameters."""
    net = problem.network
    if isinstance(net, WarpMLP):
        tanh = net.kind == "tanh"
        return lambda params, data: F.mse_loss(_plain_mlp(params, data[0], tanh), data[1])
    return lambda params, data: F.cross_entropy(_plain_conv(params, data[0]), data[1])


def _plain_mlp(p: dict[str, Tensor], h: Tensor, tanh: bool) -> Tensor:
    for i in range(2):
        h = torch.tanh(h @ p[f"layers.{i}.weight"] + p[f"layers.{i}.bias"])
        z = h @ p[f"warp.{i}.weight"] + p[f"warp.{i}.bias"]
        h = h + z.tanh() if tanh else z
    return h @ p["layers.2.weight"] + p["layers.2.bias"]


def _plain_conv(p: dict[str, Tensor], h: Tensor) -> Tensor:
    def norm(h: Tensor, name: str) -> Tensor:
        mean = h.mean((0, 2, 3), keepdim=True)
        h = (h - mean) / ((h - mean).square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()
        return h * p[f"{name}.weight"].view(-1, 1, 1) + p[f"{name}.bias"].view(-1, 1, 1)

    for i in range(2):
        h = F.conv2d(h, p[f"blocks.{i}.conv.weight"], p[f"blocks.{i}.conv.bias"], padding=1)
        h = norm(F.max_pool2d(h, 2), f"blocks.{i}.norm").clamp(min=0)
        w = f"warp.{i}.0"
        a = F.conv2d(norm(h, f"{w}.norm_in"), p[f"{w}.conv.weight"], p[f"{w}.conv.bias"]).tanh()
        h = norm(h + a, f"{w}.norm_out")
    return h.flatten(1) @ p["head.weight"] + p["head.bias"]


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
