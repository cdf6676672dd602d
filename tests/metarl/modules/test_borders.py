"""What cannot be wrapped, adapted or registered is named with a remedy; the rest is right."""

from __future__ import annotations

import copy
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import metarl
from tests.metarl.modules.wrapped import mlp, some_data


def meta_gradient(model: nn.Module, x: Tensor, y: Tensor, **options: Any) -> list[Tensor]:
    maml = metarl.MAML(model, **(options or {"lr": 0.1}))
    clone = maml.clone()
    for _ in range(2):
        clone.adapt((clone(x) - y).abs().square().mean())
    (clone(x) - y).abs().square().mean().backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("kind", ["script", "trace", "data parallel"])
def test_scripted_traced_and_parallel_modules_are_as_the_module(kind: str) -> None:
    x, y = some_data()
    plain = mlp()
    wrap = {
        "script": torch.jit.script,
        "trace": lambda m: torch.jit.trace(m, x),
        "data parallel": nn.DataParallel,
    }[kind]
    other: Any = wrap(copy.deepcopy(plain))
    before = [p.detach().clone() for p in other.parameters()]
    expected, found = meta_gradient(plain, x, y), meta_gradient(other, x, y)
    assert all(
        torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in zip(found, expected, strict=True)
    )
    assert all(torch.equal(a, b) for a, b in zip(before, other.parameters(), strict=True))


def test_complex_parameters_step_as_torch_does_and_adam_is_named() -> None:
    torch.manual_seed(0)
    model = nn.Linear(2, 1, dtype=torch.complex128)
    x, y = (t.to(torch.complex128) for t in some_data())
    twin = copy.deepcopy(model)
    optimiser = torch.optim.SGD(twin.parameters(), 0.1)
    clone = metarl.MAML(model, 0.1).clone()
    for _ in range(2):
        clone.adapt((clone(x) - y).abs().square().mean())
        optimiser.zero_grad()
        (twin(x) - y).abs().square().mean().backward()
        optimiser.step()
    assert torch.allclose(clone(x), twin(x), rtol=0, atol=1e-12)
    for rule in (metarl.adam(0.1), metarl.rmsprop(0.1)):
        with pytest.raises(ValueError, match=r"complex parameter, 'weight'.*view_as_real"):
            metarl.MAML(model, rule=rule).clone()
    with pytest.raises(ValueError, match="a real one"):
        clone.adapt(clone(x).mean())


def test_modules_that_cannot_adapt_are_named() -> None:
    for lazy in (
        nn.LazyLinear(2),
        nn.Sequential(nn.LazyBatchNorm1d(affine=False), nn.Linear(2, 1)),
    ):
        with pytest.raises(ValueError, match="no shape yet: call the model once"):
            metarl.MAML(lazy, 0.1)
    with pytest.raises(ValueError, match="Tanh has no parameters"):
        metarl.MAML(nn.Tanh(), 0.1)
    with pytest.raises(ValueError, match="Tanh has no parameters"):
        metarl.Warp(nn.Tanh(), "*", [], metarl.DualUpdater(nn.MSELoss()))


class Counting(nn.Module):
    """Has a parameter of whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = nn.Parameter(torch.arange(2), requires_grad=False)
        self.linear = nn.Linear(2, 1, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(x * self.counts)
        return out


def test_whole_numbers_stand_still() -> None:
    assert len(meta_gradient(Counting(), *some_data())) == 2


Pair = namedtuple("Pair", "inputs targets")


@dataclass
class Sample:
    """A batch that is no pair."""

    x: Tensor
    y: Tensor


def learned(task: Any) -> dict[str, float]:
    x, y = some_data()
    warp = metarl.Warp(mlp(), "0", "2", metarl.DualUpdater(F.mse_loss))
    warp.register_task(task)
    warp.init_adaptation()
    optimiser = torch.optim.SGD(warp.adapt_parameters(), 0.1)
    F.mse_loss(warp(x), y).backward()
    optimiser.step()
    return warp.backward(lambda: None)


def test_batches_of_a_warp() -> None:
    x, y = some_data()
    expected = learned([(x, y)])
    for task in ([[x, y]], [Pair(x, y)], [({"input": x}, y)], [((x,), y)]):
        assert learned(task) == expected
    no_pairs: list[Any] = [[{"x": x, "y": y}], [Sample(x, y)]]
    for task in no_pairs:
        with pytest.raises(TypeError, match=r"pair.*sample\(split\)"):
            learned(task)
    no_tasks: list[Any] = [{"x": x, "y": y}, (x, y), x, Pair(x, y)]
    for task in no_tasks:
        with pytest.raises(TypeError, match=r"a task is.*\[\(inputs, targets\)\]"):
            learned(task)
