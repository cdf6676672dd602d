"""Fused attention has no second derivative: the remedy is named, and it is one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import metarl


def tokens() -> Tensor:
    return torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(0))


def layer() -> nn.Module:
    torch.manual_seed(0)
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)


def objective(outputs: Tensor, targets: object = None) -> Tensor:
    return outputs.square().mean() + outputs[..., 0].mean()


def outer(maml: metarl.MAML, num_steps: int) -> None:
    clone, x = maml.clone(), tokens()
    for _ in range(num_steps):
        clone.adapt(objective(clone(x)))
    objective(clone(x)).backward()


@pytest.mark.parametrize("num_steps", [1, 2])
def test_second_order_through_fused_attention_names_the_remedy(num_steps: int) -> None:
    maml = metarl.MAML(layer(), 0.1)
    with pytest.raises(NotImplementedError, match=r"sdpa_kernel.*MATH.*first order"):
        outer(maml, num_steps)
    with sdpa_kernel(SDPBackend.MATH):
        outer(maml, num_steps)
    assert all(p.grad is not None for p in maml.parameters())


def test_what_needs_no_second_derivative_of_attention_goes_through() -> None:
    """First order, adaptation that is only evaluated, and a head behind the attention."""
    outer(metarl.MAML(layer(), 0.1, first_order=True), 2)
    clone = metarl.MAML(layer(), 0.1).clone()
    clone.adapt(objective(clone(tokens())))
    outer(metarl.ANIL(nn.Sequential(layer(), nn.Linear(8, 3)), 0.1, head="1"), 2)


@pytest.mark.parametrize("choice", ["exact", "maml"])
def test_the_look_ahead_of_a_warp_names_the_remedy(choice: str) -> None:
    model = nn.Sequential(nn.Linear(8, 8), layer(), nn.Linear(8, 2))
    if choice == "exact":
        updater = metarl.DualUpdater(objective, metarl.sgd(0.1))
    else:
        updater = metarl.DualUpdater(objective, metarl.sgd(0.1), "none", "maml")
    warp = metarl.Warp(model, ["0", "2"], ["1"], updater)
    x = tokens()
    warp.register_task([(x, x)])
    warp.init_adaptation()
    optimiser = torch.optim.SGD(warp.adapt_parameters(), 0.1)
    objective(warp(x)).backward()
    optimiser.step()
    with pytest.raises(NotImplementedError, match=r"sdpa_kernel.*MATH"):
        warp.backward(lambda: None, retain_trajectories=True)
    with sdpa_kernel(SDPBackend.MATH):
        warp.backward(lambda: None)
