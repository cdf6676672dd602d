"""Update rules take the steps of `torch.optim`, task by task, and can be differentiated through."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from metarl.core import Adam, Chain, Momentum, Params, StepSize, WeightDecay, adam, sgd

N, LR, K = 3, 0.05, 6
Optimiser = Callable[[list[Tensor]], torch.optim.Optimizer]


def start() -> dict[str, Tensor]:
    """Parameters of N tasks."""
    g = torch.Generator().manual_seed(0)
    shapes = {"weight": (N, 2, 3), "bias": (N, 3), "scale": (N,)}
    return {n: torch.randn(s, generator=g, dtype=torch.float64) for n, s in shapes.items()}


def loss(params: Params) -> Tensor:
    """A smooth function that is no sum over its arguments, ``[N]``."""
    flat = [p.reshape(len(p), -1) for p in params.values()]
    whole = torch.cat(flat, 1)
    return (whole.sin().sum(1) + whole.square().sum(1).add(1).log()) * (1 + whole[:, 0].square())


def follow(rule: Chain, fast: Params, num_steps: int, learned: Params | None = None) -> Params:
    """Steps on `loss`, differentiable."""
    state = rule.init(fast)
    for _ in range(num_steps):
        grads = torch.autograd.grad(loss(fast).sum(), list(fast.values()), create_graph=True)
        named = dict(zip(fast, grads, strict=True))
        fast, state = rule.step(fast, named, state, learned or {})
    return fast


PAIRS: dict[str, tuple[Chain, Optimiser]] = {
    "sgd": (sgd(LR), lambda p: torch.optim.SGD(p, LR)),
    "momentum": (sgd(LR, 0.9), lambda p: torch.optim.SGD(p, LR, 0.9)),
    "nesterov": (
        sgd(LR, 0.9, nesterov=True),
        lambda p: torch.optim.SGD(p, LR, 0.9, nesterov=True),
    ),
    "decay": (
        Chain((WeightDecay(0.1), Momentum(0.8), StepSize(LR))),
        lambda p: torch.optim.SGD(p, LR, 0.8, weight_decay=0.1),
    ),
    "adam": (
        adam(LR, (0.8, 0.95), 1e-6),
        lambda p: torch.optim.Adam(p, LR, (0.8, 0.95), 1e-6),
    ),
    "adam-decay": (
        Chain((WeightDecay(0.1), Adam(), StepSize(LR))),
        lambda p: torch.optim.Adam(p, LR, weight_decay=0.1),
    ),
    "adam-without-second-derivative": (
        adam(LR, detach_second_moment=True),
        lambda p: torch.optim.Adam(p, LR),
    ),
    "learned": (sgd(LR, 0.9, learned="element"), lambda p: torch.optim.SGD(p, LR, 0.9)),
    "learned-adam": (adam(LR, learned="parameter"), lambda p: torch.optim.Adam(p, LR)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_rule_takes_the_steps_of_torchs_optimiser_on_each_task(name: str) -> None:
    """State must be carried: Adam without memory would step by lr * sign(g), at every step."""
    rule, build = PAIRS[name]
    fast = {n: p.requires_grad_() for n, p in start().items()}
    learned = rule.parameters({n: p[0] for n, p in fast.items()})
    found = follow(rule, fast, K, learned)
    for i in range(N):
        alone = {n: p[i : i + 1].clone().requires_grad_() for n, p in start().items()}
        optimiser = build(list(alone.values()))
        for _ in range(K):
            optimiser.zero_grad()
            loss(alone).sum().backward()
            optimiser.step()
        for n, p in alone.items():
            assert torch.allclose(found[n][i], p[0], rtol=1e-12, atol=1e-12)


def test_adams_second_step_is_no_sign_descent() -> None:
    """The published rules lost their moments: both steps moved by exactly lr."""
    rule = adam(LR)
    fast = {n: p.requires_grad_() for n, p in start().items()}
    one, two = follow(rule, fast, 1), follow(rule, fast, 2)
    first = torch.cat([(one[n] - fast[n]).flatten() for n in fast]).abs()
    second = torch.cat([(two[n] - one[n]).flatten() for n in fast]).abs()
    assert torch.allclose(first, torch.full_like(first, LR), rtol=1e-4)
    assert (second / LR - 1).abs().max() > 1e-2


def test_nothing_is_written_in_place() -> None:
    for rule, _ in PAIRS.values():
        fast = start()
        grads = {n: p + 1 for n, p in fast.items()}
        state = {n: v + 0.5 for n, v in rule.init(fast).items()}
        learned = rule.parameters({n: p[0] for n, p in fast.items()})
        given = [fast, grads, state, learned]
        copies = [{n: t.clone() for n, t in g.items()} for g in given]
        rule.step(fast, grads, state, learned)
        for group, copy in zip(given, copies, strict=True):
            assert all(torch.equal(group[n], copy[n]) for n in copy)


@pytest.mark.parametrize("name", [n for n in PAIRS if n != "adam-without-second-derivative"])
def test_three_steps_pass_central_differences(name: str) -> None:
    """Of where the steps end, with respect to where they begin and what the rule has learned."""
    rule, _ = PAIRS[name]
    fast = {n: p.requires_grad_() for n, p in start().items()}
    learned = rule.parameters({n: p[0].detach() for n, p in fast.items()})
    learned = {n: p.requires_grad_() for n, p in learned.items()}
    inputs = {**{f"fast.{n}": p for n, p in fast.items()}, **learned}
    g = torch.Generator().manual_seed(1)
    way = {n: torch.randn(p.shape, generator=g, dtype=p.dtype) for n, p in inputs.items()}
    end = follow(rule, fast, 3, learned)
    grads = torch.autograd.grad(loss(end).sum(), list(inputs.values()))
    slope = sum(float((d * v).sum()) for d, v in zip(grads, way.values(), strict=True))

    def value(step: float) -> float:
        at = {n: p.detach() + step * way[n] for n, p in inputs.items()}
        begin = {n: at[f"fast.{n}"].requires_grad_() for n in fast}
        ends = follow(rule, begin, 3, {n: at[n] for n in learned})
        return float(loss(ends).sum().detach())

    eps = 1e-4  # fourth order: the error is of eps^4 and of rounding over eps
    numeric = (8 * (value(eps) - value(-eps)) - (value(2 * eps) - value(-2 * eps))) / (12 * eps)
    assert abs(numeric / slope - 1) < 1e-9


def test_a_detached_second_moment_changes_the_derivative_and_not_the_steps() -> None:
    fast = {n: p.requires_grad_() for n, p in start().items()}
    ends = [follow(adam(LR, eps=1e-2, detach_second_moment=d), fast, 3) for d in (False, True)]
    grads = [torch.autograd.grad(loss(e).sum(), fast["weight"])[0] for e in ends]
    assert all(torch.equal(ends[0][n], ends[1][n]) for n in fast)
    assert not torch.allclose(grads[0], grads[1], rtol=1e-3)


@pytest.mark.parametrize("num_zeros", [1, 2])
def test_adam_has_finite_derivatives_at_gradient_zero(num_zeros: int) -> None:
    """A dead unit's gradient is 0: sqrt(v) has no derivative there."""
    rule = adam(LR)
    fast = {"w": torch.ones(N, 2, dtype=torch.float64, requires_grad=True)}
    alive = torch.tensor([0.0, 1.0], dtype=torch.float64)
    state, here = rule.init(fast), dict(fast)
    for _ in range(num_zeros):
        here, state = rule.step(here, {"w": alive * here["w"].square()}, state)
    (gradient,) = torch.autograd.grad(here["w"].sum(), fast["w"])
    assert gradient.isfinite().all()
    assert torch.equal(here["w"][:, 0], fast["w"][:, 0])
    assert not torch.equal(here["w"][:, 1], fast["w"][:, 1])


@pytest.mark.parametrize(
    ("learned", "shapes"),
    [
        ("no", {}),
        ("parameter", {"weight": (), "bias": (), "scale": ()}),
        ("element", {"weight": (2, 3), "bias": (3,), "scale": ()}),
    ],
)
def test_learned_step_sizes_begin_at_lr(learned: str, shapes: dict[str, tuple[int, ...]]) -> None:
    params = sgd(LR, 0.9, learned=learned).parameters(  # type: ignore[arg-type]
        {n: p[0] for n, p in start().items()}
    )
    assert {n: tuple(p.shape) for n, p in params.items()} == {
        f"1.log_lr.{n}": s for n, s in shapes.items()
    }
    assert all(torch.allclose(p.exp(), torch.full_like(p, LR)) for p in params.values())


@pytest.mark.parametrize("lr", [0.0, -1.0, math.nan, math.inf])
def test_a_step_size_without_a_logarithm_is_refused(lr: float) -> None:
    with pytest.raises(ValueError, match="inner lr must be above 0"):
        sgd(lr)


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(ValueError, match="momentum above 0"):
        sgd(LR, nesterov=True)


@pytest.mark.parametrize("factor", [0.25, 2.0])
def test_later_steps_are_scaled_and_the_first_is_not(factor: float) -> None:
    fast = {n: p.requires_grad_() for n, p in start().items()}
    expected = follow(sgd(LR * factor), follow(sgd(LR), fast, 1), K - 1)
    got = follow(sgd(LR, later=factor), fast, K)
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-12, atol=1e-12)


def test_later_steps_of_factor_1_are_left_out() -> None:
    assert sgd(LR, later=1.0) == sgd(LR)
    assert adam(LR, later=1.0) == adam(LR)


@pytest.mark.parametrize("factor", [0.0, -0.5, math.inf])
def test_later_steps_refuse_to_turn_around(factor: float) -> None:
    with pytest.raises(ValueError, match="later steps must be above 0"):
        sgd(LR, later=factor)
