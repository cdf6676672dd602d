"""Kernels of memories that are no vectors: the eager core's function, and the way back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metarl.native import kernels, using
from metarl.nn import AssociativeMemory, LinearAttention, RecurrentCore, Transformer
from metarl.nn.native_core import NativeTrace
from tests.metarl.nn.gradients import gradients, random_inputs, stacked_params

pytestmark = pytest.mark.skipif(kernels("associative") is None, reason="no native kernels here")

Shape = tuple[int, int, int]
CORES = [
    *(AssociativeMemory(*sizes) for sizes in ((1, 1, 1, 1), (5, 4, 3, 2), (17, 33, 19, 9))),
    *(AssociativeMemory(*sizes, True) for sizes in ((5, 4, 3, 2), (9, 16, 16, 8), (3, 20, 5, 40))),
    LinearAttention(1, 1, layers=1, heads=1, widening=1),
    LinearAttention(5, 7, layers=2, heads=3),
    LinearAttention(17, 33, layers=1, heads=4, widening=3),
    LinearAttention(9, 16, layers=3, heads=2),
    LinearAttention(3, 20, layers=1, heads=1),
    Transformer(1, 1, layers=1, heads=1, widening=1),
    Transformer(5, 7, layers=2, heads=3),
    Transformer(17, 33, layers=1, heads=4, widening=3),
    Transformer(9, 16, layers=3, heads=2),
    Transformer(3, 20, layers=1, heads=1),
]
SMALL = [
    AssociativeMemory(5, 7, 3, 4),
    LinearAttention(5, 7, layers=2, heads=3),
    Transformer(5, 7, layers=2, heads=3),
]
small = pytest.mark.parametrize("core", SMALL, ids=lambda core: type(core).__name__)
SHAPES = [(1, 1, 1), (2, 5, 3), (1, 23, 29), (3, 2, 50), (1, 61, 2)]

State = tuple[Tensor, ...] | None


def native_trace(core: RecurrentCore, shape: Shape, like: Tensor) -> NativeTrace:
    trace = core.new_trace(shape, like)
    assert isinstance(trace, NativeTrace)
    return trace


def begun(core: RecurrentCore, shape: Shape) -> tuple[State, Tensor]:
    """Some state, if the kernel goes on from one, and starts, of which one is at the first step."""
    generator = torch.Generator().manual_seed(6)
    starts = torch.rand(shape, generator=generator) < 0.2
    starts[0, 0, 0] = True
    if core.grows:
        return None, starts
    empty = core.initial_state(core.fuse(stacked_params(core, shape[0])), shape[2])
    state = tuple(0.5 * torch.randn(s.shape, generator=generator).double() for s in empty)
    return state, starts


@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("core", CORES, ids=str)
def test_outputs_and_gradients_are_those_of_the_equations(
    core: RecurrentCore, shape: Shape, goes_on: bool
) -> None:
    normed = isinstance(core, LinearAttention)
    params = stacked_params(core, shape[0], noise=0.1 if normed else 0.3)
    inputs = random_inputs(core, shape)
    state, starts = begun(core, shape) if goes_on else (None, None)
    trace = native_trace(core, shape, inputs)
    native = core.once(params, inputs, state, starts, trace)
    wanted = core.unrolled(params, inputs, state, starts)
    torch.testing.assert_close(native, wanted, rtol=1e-12, atol=1e-12)
    expected = moved = gradients(wanted, params, inputs)
    if normed:  # lengths near 0 are divided by: what weights' last bits do to the equations
        other = {n: (p * (1 + 2**-50)).detach().requires_grad_() for n, p in params.items()}
        moved = gradients(core.unrolled(other, inputs, state, starts), other, inputs)
    for name, found in gradients(native, params, inputs).items():
        allowed = 1e-12 * (1 + float(expected[name].abs().max()))
        allowed += 10 * float((moved[name] - expected[name]).abs().max())
        torch.testing.assert_close(found, expected[name], rtol=0, atol=allowed)
    outputs = core.new_outputs(shape, inputs)
    core.record(core.fuse(params), inputs, state, starts, outputs)
    assert torch.equal(outputs["h"], trace["h"])


@small
def test_single_precision_is_the_equations_too(core: RecurrentCore) -> None:
    """Activations are polynomials there: gradients are near those of float64."""
    shape = 2, 23, 5
    params, inputs = stacked_params(core, shape[0]), random_inputs(core, shape)
    wanted = core.unrolled(params, inputs)
    expected = gradients(wanted, params, inputs)
    single = {n: p.detach().float().requires_grad_() for n, p in params.items()}
    x = inputs.detach().float().requires_grad_()
    native = core.once(single, x, None, None, native_trace(core, shape, x))
    torch.testing.assert_close(native.double(), wanted, rtol=1e-4, atol=1e-5)
    for name, found in gradients(native.double(), single, x).items():
        scale = float(expected[name].abs().max())
        torch.testing.assert_close(found.double(), expected[name], rtol=0, atol=1e-4 * (1 + scale))


@small
def test_outputs_alone_are_not_gone_back_through(core: RecurrentCore) -> None:
    shape = 2, 5, 3
    params, inputs = stacked_params(core, shape[0]), random_inputs(core, shape)
    trace = core.new_outputs(shape, inputs)
    assert isinstance(trace, NativeTrace)
    core.record(core.fuse(params), inputs, trace=trace)
    found = gradients(core.sequence(params, inputs, trace=trace), params, inputs)
    expected = gradients(core.unrolled(params, inputs), params, inputs)
    for name, wanted in expected.items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(("num_hidden", "key_size"), [(40, 1), (64, 1), (64, 8)])
def test_outputs_are_found_where_they_are_at_every_size(
    num_hidden: int, key_size: int, kept: bool
) -> None:
    """Where those of a step before the first would be, there is something else's memory."""
    for num_steps in (1, 2, 3):
        core, shape = AssociativeMemory(3, num_hidden, key_size, 1), (1, num_steps, 1)
        params, inputs = stacked_params(core, 1), random_inputs(core, shape).detach()
        weights = core.fuse(params)
        trace = (core.new_trace if kept else core.new_outputs)(shape, inputs)
        assert isinstance(trace, NativeTrace)
        outputs, state = [], core.initial_state(weights, 1)
        with torch.no_grad():
            for x, slot in zip(inputs.unbind(1), trace.slots, strict=True):
                output, state = core.step(weights, x, state, slot)
                outputs.append(output)
        wanted = core.unrolled(params, inputs)
        torch.testing.assert_close(torch.stack(outputs, 1), wanted, rtol=1e-12, atol=1e-12)
        starts = torch.ones(shape, dtype=torch.bool)
        core.record(weights, inputs, None, starts, trace)
        wanted = core.unrolled(params, inputs, None, starts)
        torch.testing.assert_close(trace["h"], wanted, rtol=1e-12, atol=1e-12)


def test_any_number_of_layers_has_a_state_each() -> None:
    core, shape = LinearAttention(2, 2, layers=70, heads=1, widening=1), (1, 2, 3)
    params, inputs = stacked_params(core, 1), random_inputs(core, shape)
    trace = native_trace(core, shape, inputs)
    native = core.once(params, inputs, None, None, trace)
    torch.testing.assert_close(native, core.unrolled(params, inputs), rtol=1e-11, atol=1e-11)
    assert len(trace.run.states(1)) == 70


@pytest.mark.parametrize("core", SMALL[:2], ids=lambda core: type(core).__name__)
def test_gradients_by_the_state_before_the_first_step(core: RecurrentCore) -> None:
    shape = 2, 6, 3
    params, inputs = stacked_params(core, 2), random_inputs(core, shape)
    state, starts = begun(core, shape)
    assert state is not None
    state = tuple(s.requires_grad_() for s in state)
    outputs = core.unrolled(params, inputs, state, starts)
    wanted = torch.autograd.grad(outputs, state, torch.ones_like(outputs))
    trace = native_trace(core, shape, inputs)
    core.record(core.fuse(params), inputs, state, starts, trace)
    grad = torch.ones_like(outputs)
    _, _, found = trace.run.backward(core.fuse(params), starts, grad, states=True)
    for got, want in zip(found, wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    eager = core.sequence(params, inputs, state, starts, trace)  # a gradient goes by the state
    torch.testing.assert_close(eager, outputs, rtol=1e-12, atol=1e-12)
    assert torch.autograd.grad(eager.sum(), state[-1])[0].any()


@small
def test_steps_one_by_one_are_the_sequence_whatever_the_company(core: RecurrentCore) -> None:
    shape = 1, 6, 53
    params = {n: p.detach().float() for n, p in stacked_params(core, 1).items()}
    inputs, weights = random_inputs(core, shape).detach().float(), core.fuse(params)
    recorded = core.record(weights, inputs)
    trace, state = native_trace(core, shape, inputs), core.initial_state(weights, 53)
    for t, x in enumerate(inputs.unbind(1)):
        h, state = core.step(weights, x, tuple(s.view_as(s) for s in state), trace.slots[t])
        assert torch.equal(h, recorded["h"][:, t])
    assert torch.equal(trace["h"], recorded["h"])
    alone = core.record(weights, inputs[:, :, 40:])
    assert torch.equal(alone["h"], recorded["h"][:, :, 40:])
    with using("off"):
        eager = core.initial_state(weights, 53)
        for x in inputs.unbind(1):
            h, eager = core.step(weights, x, eager)
    for native, wanted in zip((recorded["h"][:, -1], *state), (h, *eager), strict=True):
        torch.testing.assert_close(native, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@small
def test_what_is_not_finite_is_seen_and_does_not_outlive_its_sequence(
    core: RecurrentCore, value: float
) -> None:
    shape = 1, 6, 3
    params, inputs = stacked_params(core, 1), random_inputs(core, shape)
    broken = inputs.detach().clone()
    broken[0, 2, 1, 3] = value
    broken.requires_grad_()
    trace = native_trace(core, shape, inputs)
    native = core.once(params, broken, None, None, trace)
    wanted = RecurrentCore.unrolled(core, params, broken)  # step by step: nothing goes back in time
    torch.testing.assert_close(native, wanted, equal_nan=True, rtol=1e-11, atol=1e-11)
    found, expected = (gradients(outputs, params, broken) for outputs in (native, wanted))
    for name, want in expected.items():
        assert torch.equal(found[name].isfinite(), want.isfinite()), name
    again = gradients(core.once(params, inputs, None, None, trace), params, inputs)
    fresh = native_trace(core, shape, inputs)
    clean = gradients(core.once(params, inputs, None, None, fresh), params, inputs)
    assert all(torch.equal(again[name], want) for name, want in clean.items())


@small
def test_a_recorded_sequence_is_differentiated_once_and_any_other_at_will(
    core: RecurrentCore,
) -> None:
    shape = 1, 3, 2
    params, inputs = stacked_params(core, 1), random_inputs(core, shape)
    trace = core.record(core.fuse(params), inputs)
    loss = core.sequence(params, inputs, trace=trace).square().sum()
    (grad,) = torch.autograd.grad(loss, next(iter(params.values())), create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()
    at_will = core.unrolled if core.grows else core.sequence
    loss = at_will(params, inputs).square().sum()
    (grad,) = torch.autograd.grad(loss, next(iter(params.values())), create_graph=True)
    grad.sum().backward()


def test_an_eager_trace_has_no_outputs_to_be_taken_for_recorded_ones() -> None:
    core = AssociativeMemory(3, 4, 3, 2)
    with using("off"):
        for trace in (
            core.new_trace((1, 3, 2), torch.zeros(1)),
            core.new_outputs((1, 3, 2), torch.zeros(1)),
        ):
            assert "h" not in trace


CACHED = Transformer(5, 7, layers=2, heads=3)


def cached(
    params: dict[str, Tensor], inputs: Tensor, starts: Tensor, copies: bool = False
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Outputs of steps one by one, of which some begin a trial, and the state after them."""
    num_tasks, num_steps, batch_size = inputs.shape[:3]
    weights = CACHED.fuse(params)
    trace = native_trace(CACHED, (num_tasks, num_steps, batch_size), inputs)
    empty = state = CACHED.initial_state(weights, batch_size)
    for t, x in enumerate(inputs.unbind(1)):
        state = CACHED.emptied(state, empty, starts[:, t])
        state = tuple(s.clone() for s in state) if copies else state
        _, state = CACHED.step(weights, x, state, trace.slots[t])
    return trace["h"], state


@pytest.mark.parametrize("copies", [False, True])
def test_a_cache_by_steps_is_that_of_whole_sequences(copies: bool) -> None:
    """Whether its entries are where the kernel has written them, or copies that are put there."""
    shape = 2, 9, 3
    params = {n: p.detach() for n, p in stacked_params(CACHED, 2).items()}
    inputs, (_, starts) = random_inputs(CACHED, shape).detach(), begun(CACHED, shape)
    outputs, state = cached(params, inputs, starts, copies)
    weights = CACHED.fuse(params)
    empty = CACHED.initial_state(weights, 3)
    native = CACHED.advanced(weights, inputs, empty, starts)
    eager = CACHED.eager_advanced(weights, inputs, empty, starts)
    wanted = CACHED.unrolled(params, inputs, None, starts)
    torch.testing.assert_close(outputs, wanted, rtol=1e-12, atol=1e-12)
    for found in (state, native):
        assert CACHED.fits(found, empty)
        for one, other in zip(found, eager, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    part = CACHED.unrolled(params, inputs[:, :4], native)  # goes on eagerly
    torch.testing.assert_close(part, CACHED.unrolled(params, inputs[:, :4], eager))


def test_a_trial_that_has_begun_goes_on_eagerly() -> None:
    shape = 1, 6, 2
    params, inputs = stacked_params(CACHED, 1), random_inputs(CACHED, shape)
    weights = CACHED.fuse(params)
    state = CACHED.advanced(weights, inputs, CACHED.initial_state(weights, 2))
    late = (*CACHED.initial_state(weights, 2)[:-1], state[-1])  # positions alone
    trace = native_trace(CACHED, shape, inputs)
    for before in (state, late):
        assert not CACHED.takes(before)
        found = CACHED.once(params, inputs, before, None, trace)
        wanted = CACHED.unrolled(params, inputs, before)
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
        with pytest.raises(ValueError, match="begins with an empty cache"):
            CACHED.record(weights, inputs, before, None, trace)
    with torch.no_grad(), pytest.raises(ValueError, match=r"caches of the shape .* 1, 4\), got"):
        _, after = CACHED.step(
            weights, inputs[:, 0], CACHED.initial_state(weights, 2), trace.slots[0]
        )
        CACHED.step(weights, inputs[:, 1], state, trace.slots[1])
    for wrong in (-1, 2):
        with torch.no_grad(), pytest.raises(ValueError, match=f"0 to 1 of them, got {wrong} to"):
            CACHED.step(weights, inputs[:, 1], (*after[:-1], after[-1] * 0 + wrong), trace.slots[1])


def test_a_trial_of_another_sequence_or_before_gets_nothing_of_what_is_not_finite() -> None:
    shape = 1, 40, 2
    params = stacked_params(CACHED, 1)
    inputs = random_inputs(CACHED, shape).detach().clone()
    starts = torch.zeros(shape, dtype=torch.bool)
    starts[:, [11, 30], 0] = True
    inputs[0, 15, 0, 2] = torch.nan
    inputs.requires_grad_()
    trace = native_trace(CACHED, shape, inputs)
    outputs = CACHED.once(params, inputs, None, starts, trace)
    (grad,) = torch.autograd.grad(outputs.sum(), inputs)
    for found in (outputs, grad):
        finite = found.detach().isfinite().all(-1)[0]
        assert finite[:, 1].all()
        assert finite[:11, 0].all()
        assert finite[30:, 0].all()
        assert not finite[15:30, 0].any()
