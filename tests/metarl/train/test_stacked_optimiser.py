"""Stacked agents step as each would alone, to the last bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metarl.core import OptimiserSettings, clip_gradients
from metarl.core.optimisers import StackedOptimiser

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


def clipped(gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    return dict(zip(gradients, clip_gradients(list(gradients.values()), 4.0)[0], strict=True))


@pytest.mark.parametrize("settings", OPTIMISERS.values(), ids=OPTIMISERS)
def test_one_agent_steps_as_with_torch_and_goes_on_from_its_state(
    settings: OptimiserSettings,
) -> None:
    """Also where a parameter has no gradient at times; states of version 0.1 are torch's own."""
    params = {name: p[0].clone() for name, p in drawn(0).items()}
    ours, other = ({n: p.clone()[None] for n, p in params.items()} for _ in range(2))
    ours_steps = StackedOptimiser(settings, ours)
    torch_steps = settings.build(params.values())
    for step in range(STEPS):
        gradients = {n: g for n, g in of_agent(drawn(1 + step), 0).items() if step or n != "one"}
        if step == STEPS - 1:
            other_steps = StackedOptimiser(settings, other)
            other_steps.load_agent_states([torch_steps.state_dict()])
            for name, p in other.items():
                p[0] = params[name]
            other_steps.step(gradients)
        ours_steps.step(gradients)
        for name, p in params.items():
            p.grad = gradients[name][0] if name in gradients else None
        torch_steps.step()
    for name, p in params.items():
        assert torch.equal(ours[name][0], p)
        assert torch.equal(other[name][0], p)


def test_the_state_of_other_parameters_is_refused() -> None:
    settings = OptimiserSettings()
    state = settings.build([torch.ones(2), torch.ones(3)]).state_dict()
    with pytest.raises(ValueError, match="of 2 parameters, here are 1"):
        StackedOptimiser(settings, {"w": torch.ones(1, 2)}).load_agent_states([state])


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
        together.step(clipped(gradients), skips)
        for i in range(N):
            each[i].step(clipped(of_agent(gradients, i)), skips[i : i + 1])
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
    there.step(drawn(1))
    for name, p in again.items():
        p.copy_(params[name])
    here.load_agent_states([there.agent_state(i) for i in range(N)])
    for optimiser in (there, here):
        optimiser.step(drawn(2))
    assert all(torch.equal(again[name], p) for name, p in params.items())


def test_who_kept_activations_sees_that_weights_have_been_written() -> None:
    params = {"w": torch.ones(N, 2, requires_grad=True)}
    loss = params["w"].square().sum()
    StackedOptimiser(OptimiserSettings(), params).step({"w": torch.ones(N, 2)})
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
