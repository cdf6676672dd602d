"""Stacked agents step as each would alone, to the last bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metarl.core import OptimiserSettings, clip_gradients
from metarl.meta.stacked_optimiser import StackedOptimiser

N, STEPS = 3, 4
SHAPES = {"bias": (5,), "weight": (7, 13), "one": (), "long": (101,)}
"""Counts that do not fill the registers of a processor: the rest is rounded in another way."""
OPTIMISERS = {
    "adam": OptimiserSettings(lr=0.01),
    "decay": OptimiserSettings(lr=0.01, weight_decay=0.1),
    "rmsprop": OptimiserSettings("rmsprop", lr=0.01, beta1=0.5),
    "sgd": OptimiserSettings("sgd", lr=0.01, beta1=0.5),
}


def drawn(seed: int) -> dict[str, Tensor]:
    """Of N agents, ``[N, ...]``."""
    g = torch.Generator().manual_seed(seed)
    return {name: torch.randn(N, *shape, generator=g) for name, shape in SHAPES.items()}


def of_agent(params: dict[str, Tensor], i: int) -> dict[str, Tensor]:
    return {name: p[i : i + 1].clone() for name, p in params.items()}


@pytest.mark.parametrize("settings", OPTIMISERS.values(), ids=OPTIMISERS)
@pytest.mark.parametrize("skipping", [False, True])
def test_agents_step_as_each_would_alone(settings: OptimiserSettings, skipping: bool) -> None:
    params = {name: p.requires_grad_() for name, p in drawn(0).items()}
    alone = [{n: p.requires_grad_() for n, p in of_agent(drawn(0), i).items()} for i in range(N)]
    together = StackedOptimiser(settings, params)
    each = [StackedOptimiser(settings, own) for own in alone]
    for step in range(STEPS):
        gradients = drawn(1 + step)
        skips = torch.tensor([skipping and step == i for i in range(N)])
        together.step(clip_gradients(list(gradients.values()), 4.0)[0], skips)
        for i in range(N):
            own = list(of_agent(gradients, i).values())
            each[i].step(clip_gradients(own, 4.0)[0], skips[i : i + 1])
    for i in range(N):
        assert all(torch.equal(params[n][i], p[0]) for n, p in alone[i].items())
        one, other = together.agent_state(i), each[i].agent_state(0)
        for name, entries in one.items():
            assert entries.keys() == other[name].keys()
            assert all(torch.equal(value, other[name][key]) for key, value in entries.items())


@pytest.mark.parametrize("settings", OPTIMISERS.values(), ids=OPTIMISERS)
def test_what_is_kept_of_agents_can_be_taken_elsewhere(settings: OptimiserSettings) -> None:
    params, again = drawn(0), drawn(0)
    there, here = StackedOptimiser(settings, params), StackedOptimiser(settings, again)
    there.step(list(drawn(1).values()))
    for name, p in again.items():
        p.copy_(params[name])
    here.load_agent_states([there.agent_state(i) for i in range(N)])
    for optimiser in (there, here):
        optimiser.step(list(drawn(2).values()))
    assert all(torch.equal(again[name], p) for name, p in params.items())


def test_who_kept_activations_sees_that_weights_have_been_written() -> None:
    params = {"w": torch.ones(N, 2, requires_grad=True)}
    loss = params["w"].square().sum()
    StackedOptimiser(OptimiserSettings(), params).step([torch.ones(N, 2)])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
