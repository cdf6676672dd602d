"""Recurrent kernels: the function of the eager core at every size, and nothing else read."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from metarl.native import kernels, using
from metarl.native.mode import recorded
from metarl.nn import FusedCore, Trace
from metarl.nn.fused import Past
from metarl.nn.native_core import NativeTrace
from tests.metarl.nn.gradients import FUSED, random_inputs, stacked_params

MakeCore = Callable[[int, int], FusedCore]
NATIVE = {name: make for name, make in FUSED.items() if vars(type(make(1, 1))).get("native")}

pytestmark = pytest.mark.skipif(kernels("lstm") is None, reason="no native kernels here")


@pytest.fixture(params=NATIVE.values(), ids=NATIVE.keys())
def make_core(request: pytest.FixtureRequest) -> MakeCore:
    return request.param


def cast(params: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: p.detach().to(dtype) for name, p in params.items()}


def passes(
    core: FusedCore,
    trace: Trace,
    params: dict[str, Tensor],
    inputs: Tensor,
    grad: Tensor,
) -> list[Tensor]:
    """Outputs, gradients by the weights and by the inputs, in memory of their own."""
    weights = core.fuse(params)
    core.record(weights, inputs, trace=trace)
    outputs = trace["h"].clone()
    with torch.no_grad():
        grads, by_inputs = core.backward(weights, trace, Past(), grad, inputs=True)
    assert by_inputs is not None
    return [outputs, *grads, by_inputs]


def both(
    core: FusedCore, params: dict[str, Tensor], inputs: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """The same natively and eagerly."""
    generator = torch.Generator().manual_seed(9)
    size = *inputs.shape[:3], core.hidden_size
    grad = torch.randn(size, generator=generator, dtype=torch.double).to(inputs.dtype)
    native = core.new_trace(tuple(size[:3]), inputs)
    assert isinstance(native, NativeTrace)
    with using("off"):
        eager = core.new_trace(tuple(size[:3]), inputs)
    assert not isinstance(eager, NativeTrace)
    return (
        passes(core, native, params, inputs, grad),
        passes(core, eager, params, inputs, grad),
    )


@pytest.mark.parametrize("sizes", [(1, 1), (3, 4), (5, 7), (17, 33), (9, 16), (20, 50)], ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 3), (1, 23, 13), (3, 2, 50)], ids=str)
def test_outputs_and_gradients_are_those_of_the_eager_core(
    make_core: MakeCore, sizes: tuple[int, int], shape: tuple[int, int, int]
) -> None:
    core = make_core(*sizes)
    noise = min(0.3, sizes[1] ** -0.5)  # more of it, and rounding grows from step to step
    params = cast(stacked_params(core, shape[0], noise=noise), torch.float64)
    native, eager = both(core, params, random_inputs(core, shape).detach())
    for got, want in zip(native, eager, strict=True):
        scale = float(want.abs().max())
        torch.testing.assert_close(got, want, rtol=0, atol=1e-12 * (1 + scale))


def test_single_precision_is_as_near_as_its_rounding(make_core: MakeCore) -> None:
    core, shape = make_core(17, 20), (2, 30, 7)
    params = cast(stacked_params(core, 2, noise=0.1), torch.float32)
    native, eager = both(core, params, random_inputs(core, shape).detach().float())
    for got, want in zip(native, eager, strict=True):
        assert float((got - want).norm() / want.norm()) < 1e-4


def test_a_sequence_does_not_depend_on_its_company(make_core: MakeCore) -> None:
    core = make_core(5, 19)
    params = cast(stacked_params(core, 1), torch.float32)
    inputs = random_inputs(core, (1, 9, 53)).detach().float()
    weights = core.fuse(params)
    together = core.record(weights, inputs)["h"]
    for batch in (slice(0, 1), slice(7, 9), slice(40, 53), slice(3, 50)):
        alone = core.record(weights, inputs[:, :, batch])["h"]
        assert torch.equal(alone, together[:, :, batch])


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_not_hidden(make_core: MakeCore, value: float) -> None:
    core, shape = make_core(5, 4), (1, 6, 3)
    params = cast(stacked_params(core, 1), torch.float64)
    inputs = random_inputs(core, shape).detach()
    inputs[0, 2, 1, 3] = value
    native, eager = both(core, params, inputs)
    for got, want in zip(native, eager, strict=True):
        torch.testing.assert_close(got, want, equal_nan=True, rtol=1e-11, atol=1e-11)


def test_weights_that_are_not_finite_are_not_hidden(make_core: MakeCore) -> None:
    core, shape = make_core(5, 4), (1, 6, 3)
    params = cast(stacked_params(core, 1), torch.float32)
    next(iter(params.values()))[0, 0, 0] = torch.nan
    native, eager = both(core, params, random_inputs(core, shape).detach().float())
    for got, want in zip(native, eager, strict=True):
        assert torch.equal(got.isnan(), want.isnan())


def test_numbers_next_to_zero_are_kept(make_core: MakeCore) -> None:
    core, shape = make_core(5, 4), (1, 6, 3)
    params = {n: p * 1e-3 for n, p in cast(stacked_params(core, 1), torch.float64).items()}
    native, eager = both(core, params, random_inputs(core, shape).detach() * 1e-310)
    torch.testing.assert_close(native[0], eager[0], rtol=1e-9, atol=0)


def test_tensors_may_lie_anywhere(make_core: MakeCore) -> None:
    core, shape = make_core(5, 7), (2, 6, 3)
    params = cast(stacked_params(core, 2), torch.float32)

    def elsewhere(tensor: Tensor) -> Tensor:
        """The same numbers, off every boundary, and not in one piece."""
        room = torch.zeros(tensor.numel() * 2 + 1)
        moved = room[1::2].view(tensor.shape)
        return moved.copy_(tensor)

    inputs = random_inputs(core, shape).detach().float()
    moved = {name: elsewhere(p) for name, p in params.items()}
    for got, want in zip(
        both(core, moved, elsewhere(inputs))[0], both(core, params, inputs)[0], strict=True
    ):
        assert torch.equal(got, want)


def test_gradients_of_any_layout_are_read_right(make_core: MakeCore) -> None:
    core, shape = make_core(5, 7), (2, 6, 3)
    params = cast(stacked_params(core, 2), torch.float64)
    inputs = random_inputs(core, shape).detach()
    trace = core.record(core.fuse(params), inputs)
    plain = torch.randn(*shape, 7, dtype=torch.double)
    odd = [
        plain.transpose(1, 3).contiguous().transpose(1, 3),
        plain.transpose(1, 2).contiguous().transpose(1, 2),
    ]
    wanted = core.backward(core.fuse(params), trace, Past(), plain, inputs=True)
    for grad in odd:
        found = core.backward(core.fuse(params), trace, Past(), grad, inputs=True)
        assert all(torch.equal(a, b) for a, b in zip(found[0], wanted[0], strict=True))
    one = torch.ones((), dtype=torch.double).expand(*shape, 7)
    core.backward(core.fuse(params), trace, Past(), one, inputs=True)


def test_a_step_goes_on_from_a_state_that_is_not_its_own(make_core: MakeCore) -> None:
    core, shape = make_core(5, 7), (2, 6, 3)
    params = cast(stacked_params(core, 2), torch.float64)
    inputs, weights = random_inputs(core, shape).detach(), core.fuse(params)
    empty = core.initial_state(weights, 3)
    results = []
    for mode in ("auto", "off"):
        with using(mode), torch.no_grad():  # type: ignore[arg-type]
            trace, state = core.new_trace(shape, inputs), empty
            for t, x in enumerate(inputs.unbind(1)):
                if t == 4:
                    state = tuple(torch.full_like(s, 0.25) for s in empty)
                _, state = core.step(weights, x, state, trace.slots[t])
            results.append((trace["h"].clone(), *state))
    for native, eager in zip(*results, strict=True):
        torch.testing.assert_close(native, eager, rtol=1e-12, atol=1e-12)


def test_a_state_may_be_what_the_last_step_left_in_other_hands(make_core: MakeCore) -> None:
    core, shape = make_core(5, 16), (1, 6, 3)  # 16 numbers are whole vectors: nothing is padded
    params = cast(stacked_params(core, 1), torch.float32)
    inputs, weights = random_inputs(core, shape).detach().float(), core.fuse(params)
    trace, state = core.new_trace(shape, inputs), core.initial_state(weights, 3)
    with torch.no_grad():
        for t, x in enumerate(inputs.unbind(1)):
            _, state = core.step(weights, x, tuple(s.view_as(s) for s in state), trace.slots[t])
    assert torch.equal(trace["h"], core.record(weights, inputs)["h"])


@pytest.mark.parametrize("kept", [True, False])
def test_what_a_step_has_returned_stays_when_another_state_is_taken(
    make_core: MakeCore, kept: bool
) -> None:
    core, shape = make_core(5, 7), (2, 6, 3)
    params = cast(stacked_params(core, 2), torch.float64)
    inputs, weights = random_inputs(core, shape).detach(), core.fuse(params)
    trace = (core.new_trace if kept else core.new_outputs)(shape, inputs)
    state = empty = core.initial_state(weights, 3)
    held: list[Tensor] = []
    then: list[Tensor] = []
    with torch.no_grad():
        for t, x in enumerate(inputs.unbind(1)):
            if t in (2, 3):
                state = core.emptied(state, empty, torch.tensor([[True, False, True]] * 2))
            output, state = core.step(weights, x, state, trace.slots[t])
            held += [output, *(s for s in state if s.dim() == 3)]
            then += [h.clone() for h in held[len(then) :]]
    assert all(torch.equal(now, before) for now, before in zip(held, then, strict=True))


def test_nothing_goes_back_through_outputs_alone(make_core: MakeCore) -> None:
    core, shape = make_core(5, 7), (2, 6, 3)
    params, inputs = stacked_params(core, 2), random_inputs(core, shape)
    trace = core.new_outputs(shape, inputs)
    assert isinstance(trace, NativeTrace)
    core.record(core.fuse(params), inputs, trace=trace)
    outputs = core.sequence(params, inputs, trace=trace)
    assert torch.equal(outputs, trace["h"])
    with pytest.raises(RuntimeError, match="new_trace"):
        outputs.sum().backward()


def test_gradients_by_the_state_before_the_first_step(make_core: MakeCore) -> None:
    core, shape = make_core(5, 7), (2, 6, 3)
    params, inputs = stacked_params(core, 2), random_inputs(core, shape)
    weights, generator = core.fuse(params), torch.Generator().manual_seed(5)
    state = tuple(
        (0.5 * torch.randn(s.shape, generator=generator, dtype=s.dtype)).requires_grad_()
        for s in core.initial_state(weights, 3)
    )
    starts = torch.rand(shape, generator=generator) < 0.1
    starts[0, 0, 0], starts[:, 0, 1:] = True, False
    outputs = core.unrolled(params, inputs, state, starts)
    grad = torch.randn(outputs.shape, generator=generator, dtype=torch.double)
    wanted = torch.autograd.grad(outputs, state, grad)
    trace = core.record(weights, inputs, state, starts)
    assert isinstance(trace, NativeTrace)
    _, _, found = trace.run.backward(weights, starts, grad, states=True)
    for got, want in zip(found, wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-11)
        assert not got[0, 0].any()


def test_what_is_not_finite_does_not_outlive_its_sequence(make_core: MakeCore) -> None:
    core, shape = make_core(5, 7), (1, 6, 3)
    params, inputs = stacked_params(core, 1), random_inputs(core, shape)
    broken = {name: torch.full_like(p, torch.nan) for name, p in params.items()}
    trace, grad = core.new_trace(shape, inputs), torch.ones(*shape, 7, dtype=torch.double)
    passes(core, trace, cast(broken, torch.float64), inputs, grad * torch.nan)
    again = passes(core, trace, cast(params, torch.float64), inputs, grad)
    fresh = passes(core, core.new_trace(shape, inputs), params, inputs, grad)
    assert all(torch.equal(a, b) for a, b in zip(again, fresh, strict=True))


def test_a_trace_that_was_written_over_is_not_gone_back_through(make_core: MakeCore) -> None:
    core, shape = make_core(5, 7), (1, 6, 3)
    params, inputs = stacked_params(core, 1), random_inputs(core, shape)
    trace = core.record(core.fuse(params), inputs)
    loss = core.sequence(params, inputs, trace=trace).square().sum()
    core.record(core.fuse(params), inputs, trace=trace)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_sum_of_outputs_is_not_gone_back_through_another_sequence(make_core: MakeCore) -> None:
    core, shape = make_core(5, 7), (1, 6, 3)
    params, inputs = stacked_params(core, 1), random_inputs(core, shape)
    trace = core.record(core.fuse(params), inputs)
    loss = core.sequence(params, inputs, trace=trace).sum()  # saves no outputs
    core.record(core.fuse(params), inputs, trace=trace)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("with_starts", [False, True])
def test_a_copy_of_a_trace_is_gone_back_through_like_it(
    make_core: MakeCore, with_starts: bool
) -> None:
    core, shape = make_core(5, 7), (2, 6, 3)
    params = cast(stacked_params(core, 2), torch.float64)
    inputs, grad = random_inputs(core, shape).detach(), torch.ones(*shape, 7, dtype=torch.double)
    starts = torch.zeros(shape, dtype=torch.bool)
    starts[:, 3, 1] = True
    past = Past(None, starts if with_starts else None)
    trace = core.record(core.fuse(params), inputs, None, past.starts)
    twins = [copy.deepcopy(trace), pickle.loads(pickle.dumps(trace))]
    wanted = core.backward(core.fuse(params), trace, past, grad, inputs=False)[0]
    core.record(core.fuse(params), 2 * inputs, trace=trace)
    for twin in twins:
        found = core.backward(core.fuse(params), twin, past, grad, inputs=False)[0]
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_sizes_are_checked_before_memory_is_read(make_core: MakeCore) -> None:
    core, shape = make_core(5, 7), (2, 6, 3)
    params, inputs = stacked_params(core, 2), random_inputs(core, shape)
    trace, weights = core.new_trace(shape, inputs), core.fuse(params)
    with pytest.raises(ValueError, match="expected the shape"):
        core.record(weights, inputs[:, :5], trace=trace)
    with pytest.raises(ValueError, match="expected weights"):
        core.record(core.fuse(stacked_params(core, 1)), inputs, trace=trace)
    with pytest.raises(ValueError, match="expected weights"):
        core.record(weights[1:], inputs, trace=trace)
    with pytest.raises(ValueError, match="expected states"):
        core.record(weights, inputs, core.initial_state(weights, 2), trace=trace)
    with pytest.raises(TypeError, match="float32"):
        core.record(weights, inputs.float(), trace=trace)
    with pytest.raises(ValueError, match="expected the shape"):
        core.step(weights, inputs[:, 0, :2], core.initial_state(weights, 3), trace.slots[0])


class Watcher(TorchDispatchMode):
    """Looks at every operation."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class Named(Tensor):
    """A tensor of another class."""


def test_whoever_looks_at_every_operation_sees_the_eager_core(make_core: MakeCore) -> None:
    core = make_core(5, 7)
    like = torch.zeros(2)

    def is_native(tensor: Tensor) -> bool:
        return isinstance(core.new_trace((1, 2, 3), tensor), NativeTrace)

    assert is_native(like)
    assert is_native(like.double())
    assert not is_native(like.half())
    assert not is_native(like.as_subclass(Named))
    assert not is_native(torch.zeros(2, device="meta"))
    with using("off"):
        assert not is_native(like)
    with Watcher():
        assert not is_native(like)
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_native(like)
    with torch.autograd.forward_ad.dual_level():
        assert not is_native(like)
    seen = []
    torch.func.vmap(lambda x: (seen.append(is_native(like)), x)[1])(like)
    assert seen == [False]


def test_a_class_derived_from_a_core_is_not_taken_for_it(make_core: MakeCore) -> None:
    core = make_core(5, 7)
    derived = type("Derived", (type(core),), {})(5, 7)
    with recorded() as ran:
        assert not isinstance(derived.new_trace((1, 2, 3), torch.zeros(2)), NativeTrace)
        assert not isinstance(core.new_trace((1, 2, 3), torch.zeros(2).half()), NativeTrace)
    reasons = ran.to_json()["eager"]
    assert "Derived has no kernel" in reasons[0]
    assert "not Tensor of torch.float16 on cpu" in reasons[1]


def test_a_kept_trace_makes_way_when_kernels_are_switched_off(make_core: MakeCore) -> None:
    trace = make_core(5, 7).new_trace((1, 2, 3), torch.zeros(2))
    assert trace.usable()
    with using("off"):
        assert not trace.usable()


def test_inference_mode_is_no_hindrance(make_core: MakeCore) -> None:
    core = make_core(5, 7)
    params = cast(stacked_params(core, 1), torch.float64)
    inputs = random_inputs(core, (1, 4, 3)).detach()
    with torch.inference_mode():
        trace = core.new_trace((1, 4, 3), inputs)
        for _ in range(2):
            core.record(core.fuse(params), inputs, trace=trace)
        found = trace["h"].clone()
    assert torch.equal(found, core.record(core.fuse(params), inputs)["h"])
