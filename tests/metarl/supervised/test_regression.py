"""Regression families, over the registry: ranges, functions, determinism."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from metarl.supervised.regression import (
    REGRESSION_FAMILIES,
    Logistic,
    PhaseSine,
    Sine,
    TwoDomainSine,
)
from metarl.supervised.tasks import mean_absolute_error, mean_squared_error

FAMILIES = pytest.mark.parametrize("family", REGRESSION_FAMILIES.values(), ids=REGRESSION_FAMILIES)
RANGES = {
    "sine": {"amplitude": (0.1, 5.0), "phase": (0.0, math.pi)},
    "sine-phase": {"phase": (0.0, math.pi)},
    "sine-domain": {"phase": (0.0, math.pi)},
    "logistic": {"maximum": (1.0, 10.0), "steepness": (1.0, 10.0), "midpoint": (-1.0, 1.0)},
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", REGRESSION_FAMILIES)
def test_parameters_fill_their_ranges(name: str) -> None:
    params = REGRESSION_FAMILIES[name].sample(4000, generator())
    assert params.keys() == RANGES[name].keys()
    for key, (low, high) in RANGES[name].items():
        values, width = params[key], high - low
        assert values.shape == (4000, 1, 1)
        assert low <= values.min() < low + 0.01 * width
        assert high - 0.01 * width < values.max() <= high + 1e-6
        assert abs(values.mean() - (low + high) / 2) < 0.03 * width


@FAMILIES
def test_inputs_fill_their_range(family) -> None:
    x = family.sample_inputs(20, 200, generator())
    low, high = family.inputs
    assert x.shape == (20, 200, 1)
    assert low <= x.min() < low + 0.01 * (high - low)
    assert high - 0.01 * (high - low) < x.max() <= high


@FAMILIES
def test_a_function_is_its_own_tasks(family) -> None:
    """Stacked evaluation equals one task at a time."""
    params = family.sample(5, generator())
    x = family.sample_inputs(5, 7, generator())
    y = family.function(params, x)
    for n in range(5):
        alone = family.function({k: v[n : n + 1] for k, v in params.items()}, x[n : n + 1])
        torch.testing.assert_close(y[n : n + 1], alone)


@FAMILIES
def test_tasks_have_different_points_of_the_same_function(family) -> None:
    batch = family.sample_tasks(6, 4, 9, generator())
    assert batch.support.inputs.shape == batch.support.targets.shape == (6, 4, 1)
    assert batch.query.inputs.shape == batch.query.targets.shape == (6, 9, 1)
    params = family.sample(6, generator())
    if isinstance(family, TwoDomainSine):  # shows inputs of another domain, and no targets
        assert batch.support.targets.isnan().all()
    else:
        assert torch.equal(batch.support.targets, family.function(params, batch.support.inputs))
    assert torch.equal(batch.query.targets, family.function(params, batch.query.inputs))
    assert not torch.isin(batch.query.inputs, batch.support.inputs).any()


@FAMILIES
def test_the_same_seed_gives_the_same_tasks(family) -> None:
    first, again, other = (family.sample_tasks(3, 2, 2, generator(s)) for s in (1, 1, 2))
    assert torch.equal(first.query.targets, again.query.targets)
    assert not torch.equal(first.query.targets, other.query.targets)


def test_the_functions_at_points_worked_out_by_hand() -> None:
    x = torch.tensor([[[0.0], [math.pi / 2]]])

    def param(value: float) -> torch.Tensor:
        return torch.full((1, 1, 1), value)

    sine = Sine().function({"amplitude": param(2.0), "phase": param(math.pi / 2)}, x)
    torch.testing.assert_close(sine, torch.tensor([[[-2.0], [0.0]]]), atol=1e-6, rtol=0)
    opposite = PhaseSine().function({"phase": param(math.pi)}, x)
    torch.testing.assert_close(opposite, torch.tensor([[[0.0], [-1.0]]]), atol=1e-6, rtol=0)
    curve = {"maximum": param(6.0), "steepness": param(2.0), "midpoint": param(0.5)}
    y = Logistic().function(curve, torch.tensor([[[0.5], [0.5 + math.log(2) / 2]]]))
    torch.testing.assert_close(y, torch.tensor([[[3.0], [4.0]]]))


def test_the_phase_is_one_of_two_and_both_occur() -> None:
    phase = PhaseSine().sample(4000, generator())["phase"]
    assert sorted(set(phase.flatten().tolist())) == pytest.approx([0.0, math.pi])
    assert 0.45 < (phase > 0).float().mean() < 0.55


def test_the_source_domain_tells_the_phase_by_its_sign_alone() -> None:
    family = TwoDomainSine()
    params = family.sample(300, generator())
    z = family.sample_source(params, 5, generator(1))
    assert z.shape == (300, 5, 1)
    assert torch.equal(z < 0, (params["phase"] > 0).expand_as(z))
    assert z.abs().min() >= math.pi / 4
    assert z.abs().max() <= math.pi / 2
    # The size is drawn alike for both phases.
    flipped = family.sample_source({"phase": math.pi - params["phase"]}, 5, generator(1))
    assert torch.equal(flipped, -z)


def test_the_signal_can_be_one_of_two_numbers() -> None:
    family = replace(TwoDomainSine(), signal=(1.0, 1.0))
    z = family.sample_source(family.sample(50, generator()), 1, generator())
    assert set(z.flatten().tolist()) == {1.0, -1.0}


def test_each_family_names_its_criterion_and_its_points() -> None:
    expected = {
        "sine": (mean_squared_error, 10),
        "sine-phase": (mean_absolute_error, 4),
        "sine-domain": (mean_absolute_error, 4),
        "logistic": (mean_squared_error, 10),
    }
    found = {n: (f.criterion, f.num_points) for n, f in REGRESSION_FAMILIES.items()}
    assert found == expected


@FAMILIES
def test_a_range_upside_down_is_refused(family) -> None:
    with pytest.raises(ValueError, match=r"inputs must be \(low, high\).*got \(2.0, 1.0\)"):
        replace(family, inputs=(2.0, 1.0))


def test_other_ranges_are_checked_too() -> None:
    with pytest.raises(ValueError, match="amplitude must be"):
        Sine(amplitude=(0.1, math.inf))
    with pytest.raises(ValueError, match="midpoint must be"):
        Logistic(midpoint=(1.0, -1.0))
    with pytest.raises(ValueError, match="signal must begin above 0"):
        TwoDomainSine(signal=(0.0, 1.0))


@pytest.mark.gpu
@FAMILIES
def test_a_gpu_gets_the_same_tasks(family) -> None:
    here, there = (family.sample_tasks(3, 2, 2, generator(), d) for d in ("cpu", "cuda"))
    torch.testing.assert_close(there.to("cpu").query.targets, here.query.targets)
