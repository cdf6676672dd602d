"""What may be wrapped and selected, what is refused, and the small methods of a `Warp`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import metarl
from tests.metarl.modules.warp_loop import sgd
from tests.metarl.modules.wrapped import mlp, some_data


def updater() -> metarl.DualUpdater:
    return metarl.DualUpdater(nn.MSELoss(), metarl.sgd(0.1))


def warp_of(model: nn.Module | None = None, **options: Any) -> metarl.Warp:
    return metarl.Warp(model or mlp(), "0", "2", updater(), **options)


REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: metarl.MAML(torch.tanh, 0.1), TypeError, "instance of torch.nn.Module, got builtin"),  # type: ignore[arg-type]
    (lambda: metarl.MAML(nn.Tanh, 0.1), TypeError, "got the class Tanh"),  # type: ignore[arg-type]
    (lambda: metarl.Warp({}, "0", "2", updater()), TypeError, "torch.nn.Module, got dict"),  # type: ignore[arg-type]
    (lambda: metarl.Warp(mlp(), "0", "2", "x"), TypeError, "must be a DualUpdater.*got 'x'"),  # type: ignore[arg-type]
    (lambda: metarl.ANIL(mlp(), 0.1, head=2), TypeError, "selects parameters, got 2"),  # type: ignore[arg-type]
    (lambda: metarl.ANIL(mlp(), 0.1, head=["2", 0]), TypeError, "selects parameters, got 0"),  # type: ignore[list-item]
    (
        lambda: metarl.Warp(mlp(), nn.ModuleList([nn.Linear(2, 1)]), "2", updater()),
        ValueError,
        "Linear is no module of the model",
    ),
    (
        lambda: metarl.Warp(
            mlp(), "0", "2", metarl.DualUpdater(nn.MSELoss(), metarl.sgd(0.1, learned="element"))
        ),
        ValueError,
        "give Warp OptimizerParameters",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED)
def test_what_cannot_be_wrapped_is_named(
    make: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_list_of_modules_means_its_modules() -> None:
    model = mlp()
    warp = metarl.Warp(model, nn.ModuleList([model[0]]), nn.ModuleList([model[2]]), updater())
    assert [n for n, _ in warp.named_adapt_parameters()] == ["0.weight", "0.bias"]
    assert [n for n, _ in warp.named_warp_parameters()] == ["2.weight", "2.bias"]


def test_meta_parameters_have_names() -> None:
    warp = warp_of(optimizer_parameters=metarl.OptimizerParameters(0.1))
    names = [n for n, _ in warp.named_meta_parameters()]
    assert names == [
        *("0.log_lr.0.weight", "0.log_lr.0.bias"),
        *("0.weight", "0.bias", "2.weight", "2.bias"),
    ]
    named = [p for _, p in warp.named_meta_parameters()]
    assert all(p is q for p, q in zip(named, warp.meta_parameters(), strict=True))


def test_gradients_are_zeroed_on_one_side_at_a_time() -> None:
    warp = warp_of()
    x, _ = some_data()
    sides = [list(warp.meta_parameters()), list(warp.adapt_parameters())]
    for clear, i in ((warp.zero_meta_grads, 0), (warp.zero_task_grads, 1)):
        warp.model(x).sum().backward()
        warp(x).sum().backward()
        clear()
        assert all(p.grad is None for p in sides[i])
        assert all(p.grad is not None for p in sides[1 - i])


def test_an_optimiser_that_was_unregistered_is_forgotten() -> None:
    """The rule serves again: the steps of both are told apart in the path."""
    warp = metarl.Warp(mlp(), "0", "2", metarl.DualUpdater(nn.MSELoss(), metarl.sgd(0.1)))
    x, y = some_data()
    warp.register_task([(x, y)])
    warp.init_adaptation()
    other = torch.optim.SGD(warp.adapt_parameters(), 0.3)
    warp.register_optimizer(other)
    for optimiser in (other, sgd(warp.adapt_parameters())):
        optimiser.zero_grad()
        F.mse_loss(warp(x), y).backward()
        optimiser.step()
        warp.unregister_optimizer()
    (path,) = warp._recorder.paths
    assert path.rules == [metarl.sgd(0.3), metarl.sgd(0.1)]
