"""Activation checkpointing in a user's module: refused, since it recomputes the wrong thing."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import metarl
from metarl.core import sgd
from metarl.meta import MAML
from tests.metarl.meta.problems import regression
from tests.metarl.modules.wrapped import some_data


class Checkpointed(nn.Module):
    """A block that is computed anew in the backward pass, in training mode."""

    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.first, self.block, self.last = nn.Linear(2, 4), nn.Linear(4, 4), nn.Linear(4, 1)
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x))
        if self.training:
            h = checkpoint(self.block, h, use_reentrant=self.reentrant)
        else:
            h = self.block(h)
        return self.last(h)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("first_order", [False, True])
def test_checkpointing_inside_a_clone_is_refused(reentrant: bool, first_order: bool) -> None:
    """Also where evaluation mode, which does not checkpoint, was seen first."""
    model, (x, y) = Checkpointed(reentrant=reentrant).double(), some_data()
    maml = metarl.MAML(model, 0.1, first_order=first_order)
    clone = maml.eval().clone()
    clone.adapt(F.mse_loss(clone(x), y))
    maml.train()
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"torch\.utils\.checkpoint.*Switch it off"):
            maml.clone()(x)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_inside_a_warp_is_refused(reentrant: bool) -> None:
    model, (x, _) = Checkpointed(reentrant=reentrant).double(), some_data()
    updater = metarl.DualUpdater(nn.MSELoss(), metarl.sgd(0.1))
    warp = metarl.Warp(model, ["first", "last"], ["block"], updater)
    with pytest.raises(RuntimeError, match=r"Switch it off"):
        warp(x)


def test_checkpointing_around_a_clone_is_refused() -> None:
    """It would call the clone again after the clone has moved on."""
    model, (x, _) = nn.Linear(2, 1).double(), some_data()
    with pytest.raises(RuntimeError, match=r"around a clone"):
        checkpoint(metarl.MAML(model, 0.1).clone(), x, use_reentrant=False)


def test_hooks_are_allowed_again_afterwards_and_nothing_is_recomputed_without_gradients() -> None:
    model, (x, _) = Checkpointed(reentrant=False).double(), some_data()
    with torch.no_grad():
        metarl.MAML(model, 0.1).clone()(x)
    model(x).sum().backward()
    assert model.block.weight.grad is not None


def test_the_packages_own_checkpointing_takes_no_hooks() -> None:
    """Steps taken anew on the way back, by the learner itself."""
    problem = regression()
    learner = MAML(problem.init(), rule=sgd(0.1), num_steps=2, checkpoint=True)
    with torch.autograd.graph.disable_saved_tensors_hooks("no hooks"):
        list(learner.meta_gradients(problem))
    assert all(p.grad is not None for p in learner.params.values())
