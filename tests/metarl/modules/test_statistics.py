"""Running statistics that nothing has moved are told of, once, where they would be used."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn

import metarl
from tests.metarl.modules.wrapped import some_data


def with_norm(norm: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 4), norm, nn.Linear(4, 1)).double()


NORMS: dict[str, Callable[[], nn.Module]] = {
    "batch": lambda: nn.BatchNorm1d(4),
    "no affine": lambda: nn.BatchNorm1d(4, affine=False),
    "instance": lambda: nn.Sequential(
        nn.Unflatten(1, (4, 1)),
        nn.InstanceNorm1d(4, track_running_stats=True),
        nn.Flatten(),
    ),
}


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("by", ["MAML", "Warp"])
def test_evaluation_with_unmoved_statistics_warns_once(name: str, by: str) -> None:
    model, (x, _) = with_norm(NORMS[name]()).eval(), some_data()
    if by == "MAML":
        wrapped = metarl.MAML(model, 0.1).clone()
    else:
        updater = metarl.DualUpdater(nn.MSELoss(), metarl.sgd(0.1))
        slow = [n for n, _ in model.named_parameters() if n.startswith("1.")]
        wrapped = metarl.Warp(model, ["0", "2"], slow, updater)  # type: ignore[assignment]
    with pytest.warns(UserWarning, match=r"never been moved.*track_running_stats=False"):
        wrapped(x)
    wrapped(x)  # warnings are errors here


def test_statistics_that_were_moved_or_are_not_used_are_no_matter() -> None:
    x, y = some_data()
    loss = nn.MSELoss()
    without = with_norm(nn.BatchNorm1d(4, track_running_stats=False)).eval()
    metarl.MAML(without, 0.1).clone()(x)
    metarl.MAML(with_norm(nn.LayerNorm(4)).eval(), 0.1).clone()(x)
    model = with_norm(nn.BatchNorm1d(4))
    clone = metarl.MAML(model, 0.1).clone()
    clone.adapt(loss(clone(x), y))
    model.eval()
    clone(x)  # its own statistics have moved
    model.load_state_dict(dict(clone.named_buffers()), strict=False)
    metarl.MAML(model, 0.1).clone()(x)


def test_the_remedy_keeps_accuracy() -> None:
    """Statistics of one task's clone, kept in the model: evaluation mode is near training mode."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(2, momentum=None), nn.Linear(2, 1)).double()
    x = torch.randn(500, 2, dtype=torch.float64) * 3 + 10
    maml = metarl.MAML(model, 0.1)
    clone = maml.clone()
    expected = clone(x)
    model.load_state_dict(dict(clone.named_buffers()), strict=False)
    model.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (maml.clone()(x) - expected).abs().max() < 0.01
