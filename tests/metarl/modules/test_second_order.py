"""Second derivatives that torch has wrong or not at all: right all the same, or named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import metarl
from tests.metarl.modules.wrapped import some_data


def query_loss(maml: metarl.MAML, x: Tensor, y: Tensor, num_steps: int = 2) -> Tensor:
    clone = maml.clone()
    for _ in range(num_steps):
        clone.adapt(F.mse_loss(clone(x), y))
    return F.mse_loss(clone(x), y)


def outer(model: nn.Module, x: Tensor, y: Tensor) -> None:
    query_loss(metarl.MAML(model, 0.1), x, y).backward()


def largest_error(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Of the meta-gradient against central differences, relative to the largest number."""
    maml, h = metarl.MAML(model.double(), 0.3), 1e-6
    query_loss(maml, x, y).backward()
    found, expected = [], []
    for p in model.parameters():
        assert p.grad is not None
        found.append(p.grad.flatten())
        flat = p.detach().view(-1)
        for i in range(p.numel()):
            ends = []
            for sign in (1, -1):
                flat[i] += sign * h
                ends.append(query_loss(maml, x, y).detach())
                flat[i] -= sign * h
            expected.append((ends[0] - ends[1]) / (2 * h))
    difference = torch.cat(found) - torch.stack(expected)
    return float(difference.abs().max() / torch.stack(expected).abs().max())


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("style", [nn.utils.weight_norm, parametrizations.weight_norm])
@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm_has_the_right_meta_gradient(
    style: Callable[..., nn.Module], dim: int | None
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(style(nn.Linear(2, 3), dim=dim), nn.Tanh(), nn.Linear(3, 1))
    assert largest_error(model, *some_data()) < 1e-6


def test_weight_norm_of_convolutions_and_recurrent_weights() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Unflatten(1, (1, 2)), parametrizations.weight_norm(nn.Conv1d(1, 2, 2)), nn.Tanh()
    )
    model.extend([nn.Flatten(), nn.Linear(2, 1)])
    assert largest_error(model, *some_data()) < 1e-6


class Fused(nn.Module):
    """Calls torch's kernel itself."""

    def __init__(self) -> None:
        super().__init__()
        self.v, self.g = nn.Parameter(torch.randn(1, 2)), nn.Parameter(torch.ones(1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x @ torch._weight_norm(self.v, self.g, 0).T


class Twice(torch.autograd.Function):
    """A function whose backward pass is not to be differentiated."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return 2 * grad


class Fourth(torch.autograd.Function):
    """The same of a function that is not linear, whose term torch leaves out without a word."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**4

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 4 * x**3 * grad


class Then(nn.Module):
    """A linear layer and a function."""

    def __init__(self, f: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.linear, self.f = nn.Linear(2, 3), f

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.f(self.linear(x)).mean(-1, keepdim=True)
        return out


WITHOUT: dict[str, Callable[[], nn.Module]] = {
    "weight_norm.*keepdim": Fused,
    "cdist.*norm": lambda: Then(lambda h: torch.cdist(h, h[:2] + 1)),
    "hardsigmoid.*clamp": lambda: Then(F.hardsigmoid),
    "torch.autograd.Function.*once_differentiable": lambda: Then(Twice.apply),
    "torch.autograd.Function.*once_diff": lambda: Then(Fourth.apply),
    "torch.compile.*uncompiled": lambda: torch.compile(nn.Linear(2, 1), backend="aot_eager"),  # type: ignore[dict-item, return-value]
}


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # Dynamo's
@pytest.mark.parametrize("message", WITHOUT)
def test_what_has_no_second_derivative_is_named_with_its_remedy(message: str) -> None:
    torch.manual_seed(0)
    model = WITHOUT[message]()
    x, y = (t.float() for t in some_data())
    with pytest.raises(NotImplementedError, match=rf"{message}.*first order"):
        outer(model, x, y)
    query_loss(metarl.MAML(model, 0.1, first_order=True), x, y).backward()


def test_it_is_named_where_the_loss_is_linear_in_what_the_function_returns() -> None:
    """There the gradient has no graph, and nothing in it shows what is missing."""
    torch.manual_seed(0)
    maml = metarl.MAML(Then(Fourth.apply), 0.1)
    x, _ = (t.float() for t in some_data())
    clone = maml.clone()
    with pytest.raises(NotImplementedError, match=r"once_differentiable.*first order"):
        clone.adapt(clone(x).mean())
    clone = metarl.MAML(Then(Fourth.apply), 0.1, first_order=True).clone()
    clone.adapt(clone(x).mean())


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # Dynamo's
@pytest.mark.parametrize("message", WITHOUT)
def test_it_is_named_in_the_look_ahead_of_a_warp(message: str) -> None:
    torch.manual_seed(0)
    x, y = (t.float() for t in some_data())
    model = nn.Sequential(nn.Linear(2, 2), WITHOUT[message](), nn.Linear(1, 1))
    warp = metarl.Warp(model, ["0", "1"], "2", metarl.DualUpdater(F.mse_loss, metarl.sgd(0.1)))
    warp.register_task([(x, y)])
    warp.init_adaptation()
    optimiser = torch.optim.SGD(warp.adapt_parameters(), 0.1)
    F.mse_loss(warp(x), y).backward()
    optimiser.step()
    with pytest.raises(NotImplementedError, match=rf"{message}.*first order"):
        warp.backward(lambda: None)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # Dynamo's
def test_a_body_that_stands_still_needs_no_second_derivative() -> None:
    x, y = (t.float() for t in some_data())
    for make in WITHOUT.values():
        model = nn.Sequential(make(), nn.Linear(1, 1))
        query_loss(metarl.ANIL(model, 0.1, head="1"), x, y).backward()


def test_embedding_bags_are_named_too() -> None:
    model = nn.Sequential(nn.EmbeddingBag(5, 3), nn.Linear(3, 1))
    with pytest.raises(NotImplementedError, match=r"embedding_bag.*nn\.Embedding.*first order"):
        outer(model, torch.zeros(4, 2, dtype=torch.int64), torch.zeros(4, 1))
