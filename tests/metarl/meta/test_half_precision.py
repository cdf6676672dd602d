"""Parameters in bfloat16 and float16: moments, norms and sums are kept in float32.

The reference is `torch.optim` in float64 on the same half-precision gradients, its parameters
rounded after every step: what is as good as parameters of that precision allow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import metarl
from metarl import core, meta
from metarl.core import Chain, Params, clip_gradients, gradient_norms
from metarl.meta import MetaLearner, OfflineWarpGrad, OnlineWarpGrad
from metarl.modules import OptimizerParameters
from metarl.modules.torch_rules import rule_of, state_of
from tests.metarl.meta.problems import Problem, regression, relative_error
from tests.metarl.modules.wrapped import mlp, some_data

HALVES = [torch.bfloat16, torch.float16]
Make = Callable[[Any], torch.optim.Optimizer]
OPTIM = torch.optim
RULES: dict[str, tuple[Chain, Make]] = {
    "sgd": (metarl.sgd(0.05), lambda p: OPTIM.SGD(p, 0.05)),
    "momentum": (
        metarl.sgd(0.05, 0.9, weight_decay=0.01),
        lambda p: OPTIM.SGD(p, 0.05, 0.9, weight_decay=0.01),
    ),
    "nesterov": (
        metarl.sgd(0.05, 0.9, nesterov=True),
        lambda p: OPTIM.SGD(p, 0.05, 0.9, nesterov=True),
    ),
    "adam": (metarl.adam(0.01), lambda p: OPTIM.Adam(p, 0.01)),
    "adamw": (metarl.adamw(0.01), lambda p: OPTIM.AdamW(p, 0.01)),
    "rmsprop": (
        metarl.rmsprop(0.01, momentum=0.5, centered=True),
        lambda p: OPTIM.RMSprop(p, 0.01, momentum=0.5, centered=True),
    ),
    "metasgd": (metarl.sgd(0.05, learned="element"), lambda p: OPTIM.SGD(p, 0.05)),
    "by-step": (metarl.adam([0.01] * 4, learned="parameter"), lambda p: OPTIM.Adam(p, 0.01)),
    "curvature": (metarl.meta_curvature(0.05), lambda p: OPTIM.SGD(p, 0.05)),
}


def rounded_path(
    model: nn.Module, make: Make, x: Tensor, y: Tensor, num_steps: int
) -> dict[str, Tensor]:
    """Where an optimiser in float64 leads parameters that are rounded after every step."""
    own = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters()}
    precise = {n: p.detach().double().requires_grad_() for n, p in own.items()}
    optimiser = make(precise.values())
    for _ in range(num_steps):
        loss = F.mse_loss(torch.func.functional_call(model, own, (x,)), y)
        for n, g in zip(own, torch.autograd.grad(loss, list(own.values())), strict=True):
            precise[n].grad = g.double()
        optimiser.step()
        with torch.no_grad():
            for n, p in own.items():
                p.copy_(precise[n])
                precise[n].copy_(p)
    return own


def half(dtype: torch.dtype) -> tuple[nn.Sequential, Tensor, Tensor]:
    x, y = some_data(num=16)
    return mlp().to(dtype), x.to(dtype), y.to(dtype)


def cast(problem: Problem, dtype: torch.dtype) -> Problem:
    (a, b), (c, d) = problem.support, problem.query
    return replace(problem, support=(a.to(dtype), b.to(dtype)), query=(c.to(dtype), d.to(dtype)))


def cast_params(params: Params, dtype: torch.dtype) -> dict[str, Tensor]:
    return {n: p.to(dtype) for n, p in params.items()}


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("name", RULES)
def test_clones_take_the_steps_of_an_optimiser_in_float64(name: str, dtype: torch.dtype) -> None:
    """But where float32 rounds to the other side of a tie: never more than a last bit."""
    rule, make = RULES[name]
    model, x, y = half(dtype)
    clone = metarl.MAML(model, rule=rule).clone()
    for num_steps in range(1, 11):
        clone.adapt(F.mse_loss(clone(x), y))
        expected = rounded_path(model, make, x, y, num_steps)
        bit = torch.finfo(dtype).eps
        for n, p in clone.named_parameters():
            assert p.dtype == dtype
            torch.testing.assert_close(p, expected[n], rtol=bit, atol=bit * 0.05)
    F.mse_loss(clone(x), y).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("name", [name for name in RULES if name != "rmsprop"])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_the_batched_learner_has_nearly_the_gradient_of_float64(
    name: str, dtype: torch.dtype, checkpoint: bool
) -> None:
    """Of theta and of what the rule has learned, which is kept in float32.

    Not so of centred RMSprop, whose variance near 0 makes as much of rounding as it will.
    """
    rule, problem = RULES[name][0], regression()
    params = cast_params(problem.init(), dtype)

    def gradient(dtype: torch.dtype) -> dict[str, Tensor]:
        learner = meta.MAML(
            cast_params(params, dtype), rule=rule, num_steps=3, checkpoint=checkpoint
        )
        list(learner.meta_gradients(cast(cast(problem, HALVES[0]), dtype)))
        for n, p in learner.params.items():
            precise = dtype if n.startswith("fast") else torch.promote_types(dtype, torch.float32)
            assert p.dtype == precise
            assert p.grad is not None
            assert p.grad.dtype == precise
        return {n: p.grad.double() for n, p in learner.params.items() if p.grad is not None}

    assert relative_error(gradient(dtype), gradient(torch.float64)) < 50 * torch.finfo(dtype).eps


def learners(params: Params) -> Iterator[MetaLearner]:
    """Those whose gradients are added up or normalised on the way."""
    rule = metarl.adam(0.01)
    common: dict[str, Any] = {"rule": rule, "num_steps": 3}
    yield meta.Reptile(params, **common)
    for distance in ("length", "energy"):
        metric = meta.LeapMetric(distance)  # type: ignore[arg-type]
        yield meta.Leap(params, metric=metric, **common)
    yield meta.ImplicitMAML(params, **common)
    yield meta.ANIL(params, head=("layers.2.*",), truncate=1, **common)
    slow = ("layers.1.*",)
    for initialisation in (meta.LeapObjective(), meta.ReptileObjective(), meta.MAMLObjective()):
        yield OnlineWarpGrad(params, slow=slow, initialisation=initialisation, **common)
        yield OfflineWarpGrad(params, slow=slow, initialisation=initialisation, **common)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_every_learner_learns_in_half_precision(dtype: torch.dtype) -> None:
    problem = cast(regression(), dtype)
    for learner in learners(cast_params(problem.init(), dtype)):
        seen: dict[str, Tensor] = {}
        for metrics in learner.meta_gradients(problem):
            assert all(m.isfinite().all() for m in metrics.values())
            seen |= {n: p.grad for n, p in learner.params.items() if p.grad is not None}
        assert seen.keys() == learner.params.keys()
        assert all(g.isfinite().all() and g.abs().sum() > 0 for g in seen.values())
        assert all(g.dtype == learner.params[n].dtype for n, g in seen.items())


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_many_chunks_are_summed_precisely(dtype: torch.dtype) -> None:
    """One after the other in bfloat16, 600 equal gradients would stop at half their mean."""
    x, y = torch.ones(600, 1, 1, dtype=dtype), torch.full((600, 1, 1), -0.5, dtype=dtype)
    problem = regression()
    tasks = replace(problem, network=scaled, support=(x, y), query=(x, y))
    params = {"w": torch.ones(1, dtype=dtype)}

    def gradient(chunk_size: int | None) -> Tensor:
        execution = core.Execution(chunk_size=chunk_size)
        learner = meta.MAML(params, rule=metarl.sgd(0.125), execution=execution)
        list(learner.meta_gradients(tasks))
        found = learner.params["fast.w"].grad
        assert found is not None
        return found

    torch.testing.assert_close(gradient(1), gradient(None), rtol=4 * torch.finfo(dtype).eps, atol=0)


def scaled(params: Params, x: Tensor) -> Tensor:
    """``w x`` for every task."""
    return x * params["w"].unsqueeze(-1)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_what_is_learned_stays_in_float32_when_the_model_is_cast(dtype: torch.dtype) -> None:
    """Begun at -4.605, the logarithm of 0.01 would be 1 % off in bfloat16, and stay there."""
    maml = metarl.MetaSGD(mlp().float(), 0.01).to(dtype)
    assert all(p.dtype == dtype for p in maml.model.parameters())
    assert all(p.dtype == torch.float32 for p in maml.learned.parameters())
    for sizes in maml.step_sizes().values():
        torch.testing.assert_close(sizes, torch.full_like(sizes, 0.01))
    assert all(p.dtype == torch.float64 for p in maml.double().parameters())
    x, y = (t.to(dtype) for t in some_data())
    clone = maml.to(dtype).clone()
    clone.adapt(F.mse_loss(clone(x), y))
    F.mse_loss(clone(x), y).backward()
    assert all(p.grad is not None and p.grad.dtype == p.dtype for p in maml.parameters())


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_what_a_rule_learns_stays_in_float32_when_a_learner_is_cast(dtype: torch.dtype) -> None:
    learner = meta.MetaSGD({"w": torch.ones(3)}, lr=0.01)
    learner.to(dtype)
    cast = meta.MetaSGD({"w": torch.ones(3, dtype=dtype)}, lr=0.01)
    assert {n: p.dtype for n, p in learner.params.items()} == {
        n: p.dtype for n, p in cast.params.items()
    }
    learner.to(torch.float64)
    assert {p.dtype for p in learner.params.values()} == {torch.float64}


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw", "rmsprop", "learned"])
@pytest.mark.parametrize("objective", ["leap", "maml"])
def test_warp_takes_the_steps_of_optimisers_in_half_precision_again(
    dtype: torch.dtype, name: str, objective: Any
) -> None:
    make = RULES["sgd" if name == "learned" else name][1]
    updater = metarl.DualUpdater(nn.MSELoss(), init_objective=objective, batch_size=None)
    learned = OptimizerParameters(0.05, 0.9) if name == "learned" else None
    model, x, y = half(dtype)
    warp = metarl.Warp(model, "0", "2", updater, optimizer_parameters=learned)
    warp.register_task([(x, y)])
    warp.init_adaptation()
    groups = warp.optimizer_parameter_groups() if learned else None
    optimiser = OPTIM.SGD(groups) if groups else make(list(warp.adapt_parameters()))
    warp.register_optimizer(optimiser)
    for _ in range(4):
        optimiser.zero_grad()
        F.mse_loss(warp(x), y).backward()
        optimiser.step()
    found: dict[str, Tensor] = {}
    warp.backward(
        lambda: found.update(
            {n: p.grad for n, p in warp.named_meta_parameters() if p.grad is not None}
        )
    )
    assert found.keys() == {n for n, _ in warp.named_meta_parameters()}
    assert all(g.isfinite().all() for g in found.values())


def test_an_optimisers_steps_are_counted_beyond_256() -> None:
    """As far as a counter in bfloat16 would go."""
    model, x, y = half(torch.bfloat16)
    optimiser, fast = OPTIM.Adam(model.parameters()), dict(model.named_parameters())
    for _ in range(259):
        F.mse_loss(model(x), y).backward()
        optimiser.step()
    state = state_of(rule_of(optimiser, fast), fast, 259, optimiser)
    assert float(state["0.t"]) == 259
    assert all(s.dtype == torch.float32 for s in state.values())


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_norms_of_half_precision_neither_overflow_nor_round(dtype: torch.dtype) -> None:
    large = [torch.full((2, 300), 30000.0, dtype=dtype), torch.ones(2, 1, dtype=dtype)]
    expected = torch.stack([t.double().square().sum(1) for t in large]).sum(0).sqrt().float()
    torch.testing.assert_close(gradient_norms(large), expected)
    torch.testing.assert_close(core.task_norms(large), expected)
    clipped, _ = clip_gradients(large, 1.0)
    assert all(g.dtype == dtype for g in clipped)
    torch.testing.assert_close(gradient_norms(clipped), torch.ones(2), rtol=0.01, atol=0)
