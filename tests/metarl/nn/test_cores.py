"""What holds for every core: right gradients, independent agents, no stale state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl.core import partition, unstack
from metarl.native import using
from metarl.nn import GRU, LSTM, RNN, FusedCore, PlasticRNN, RecurrentCore
from metarl.nn.fused import Past
from tests.metarl.nn.gradients import (
    ALL,
    FUSED,
    assert_backward_is_right,
    assert_same_gradients,
    gradients,
    random_inputs,
    stacked_params,
)

MakeCore = Callable[[int, int], FusedCore]
SHAPES = [(2, 7, 3), (3, 4, 2), (1, 17, 2), (2, 1, 3), (1, 5, 1), (1, 1, 1)]


@pytest.fixture(params=FUSED.values(), ids=FUSED.keys())
def make_core(request: pytest.FixtureRequest) -> MakeCore:
    return request.param


@pytest.fixture(params=ALL.values(), ids=ALL.keys())
def make_any(request: pytest.FixtureRequest) -> Callable[[int, int], RecurrentCore]:
    return request.param


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "N{}-T{}-B{}".format(*s))
def test_backward_is_autograd_through_the_equations(
    make_core: MakeCore, shape: tuple[int, int, int]
) -> None:
    assert_backward_is_right(make_core(5, 4), shape)


def test_one_hidden_unit_and_more_inputs_than_units(make_core: MakeCore) -> None:
    assert_backward_is_right(make_core(3, 1), (2, 5, 2))
    assert_backward_is_right(make_core(1, 6), (2, 5, 2))


class ForgetfulRNN(RNN):
    """Broken: drops what the next step sends back."""

    def laid_out(self, weights: Any) -> Any:
        w_ih, w_hh = super().laid_out(weights)
        return w_ih, 0 * w_hh


class GateBlindGRU(GRU):
    """Broken: the reset gate gets no gradient."""

    def prepare(self, weights: Any, trace: Any, part: Any, past: Any) -> None:
        super().prepare(weights, trace, part, past)
        part.gradients["gates"].chunk(4, -1)[1].zero_()


class ShortSightedPlasticRNN(PlasticRNN):
    """Broken: forgets that the trace before a write decays into the one after."""

    def write_backward(self, weights: Any, r: Tensor, hebb: Any, d: Any) -> None:
        super().write_backward(weights, r, hebb, d)
        r.zero_()


@pytest.mark.parametrize("broken", [ForgetfulRNN, GateBlindGRU, ShortSightedPlasticRNN])
def test_a_backward_that_drops_a_term_is_caught(broken: MakeCore) -> None:
    with pytest.raises(AssertionError, match="off by"):
        assert_backward_is_right(broken(5, 4), (2, 7, 3))


def test_finite_differences_agree(make_core: MakeCore) -> None:
    core = make_core(2, 2)
    params, inputs = stacked_params(core, 2), random_inputs(core, (2, 3, 2))
    names = list(params)

    def run(x: Tensor, *leaves: Tensor) -> Tensor:
        return core.sequence(dict(zip(names, leaves, strict=True)), x)

    assert torch.autograd.gradcheck(run, (inputs, *params.values()), fast_mode=True)


def test_second_derivatives_by_finite_differences(make_core: MakeCore) -> None:
    core = make_core(2, 2)
    params, inputs = stacked_params(core, 1), random_inputs(core, (1, 3, 2))
    names = list(params)

    def run(x: Tensor, *leaves: Tensor) -> Tensor:
        return core.unrolled(dict(zip(names, leaves, strict=True)), x)

    assert torch.autograd.gradgradcheck(run, (inputs, *params.values()), fast_mode=True)


def test_a_second_derivative_of_the_fused_sequence_is_refused(make_core: MakeCore) -> None:
    core = make_core(3, 4)
    params, inputs = stacked_params(core, 1), random_inputs(core, (1, 3, 2))
    loss = core.sequence(params, inputs).square().sum()
    (grad,) = torch.autograd.grad(loss, params["weight_ih"], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_stacked_agents_are_each_agent_alone(make_core: MakeCore) -> None:
    core = make_core(5, 4)
    params, inputs = stacked_params(core, 3), random_inputs(core, (3, 6, 2))
    outputs = core.sequence(params, inputs)
    together = gradients(outputs, params, inputs)
    g = torch.Generator().manual_seed(2)
    weights = torch.randn(outputs.shape, generator=g, dtype=outputs.dtype)
    for n in range(3):
        own = {k: p.detach()[n : n + 1].requires_grad_() for k, p in params.items()}
        x = inputs.detach()[n : n + 1].requires_grad_()
        alone = core.sequence(own, x)
        torch.testing.assert_close(alone[0], outputs[n], rtol=1e-12, atol=1e-13)
        leaves = own | {"inputs": x}
        grads = torch.autograd.grad(
            (alone[0] * weights[n]).sum(),
            list(leaves.values()),
            materialize_grads=True,
            allow_unused=True,
        )
        assert_same_gradients(
            unstack(dict(zip(leaves, grads, strict=True)), 0), unstack(together, n), 1e-12
        )


def test_mazes_of_a_batch_do_not_see_one_another(make_core: MakeCore) -> None:
    core = make_core(5, 4)
    params, inputs = stacked_params(core, 2), random_inputs(core, (2, 6, 3))
    outputs = core.sequence(params, inputs)
    (grad,) = torch.autograd.grad(outputs[:, :, 1].sum(), inputs)
    assert grad[:, :, 1].abs().min() > 0
    assert not grad[:, :, 0].any()
    assert not grad[:, :, 2].any()


def test_outputs_do_not_depend_on_later_inputs(make_core: MakeCore) -> None:
    core = make_core(5, 4)
    params, inputs = stacked_params(core, 1), random_inputs(core, (1, 6, 2))
    outputs = core.sequence(params, inputs)
    (grad,) = torch.autograd.grad(outputs[:, 3].sum(), inputs)
    assert grad[:, :4].abs().amax((0, 2, 3)).min() > 0
    assert not grad[:, 4:].any()


def test_a_trace_is_as_good_as_new_after_another_sequence(make_core: MakeCore) -> None:
    core, shape = make_core(5, 4), (2, 11, 3)
    old, new = stacked_params(core, 2, seed=3), stacked_params(core, 2, seed=4)
    inputs = random_inputs(core, shape)
    trace = core.record(core.fuse(old), random_inputs(core, shape, seed=5))
    gradients(core.sequence(old, inputs, trace=trace), old, inputs)
    core.record(core.fuse(new), inputs, trace=trace)
    reused = gradients(core.sequence(new, inputs, trace=trace), new, inputs)
    fresh = gradients(core.sequence(new, inputs), new, inputs)
    assert_same_gradients(reused, fresh, 0.0)


def test_the_gradient_of_a_trace_can_be_taken_twice(make_core: MakeCore) -> None:
    core = make_core(5, 4)
    params, inputs = stacked_params(core, 2), random_inputs(core, (2, 11, 3))
    trace = core.record(core.fuse(params), inputs)
    first = gradients(core.sequence(params, inputs, trace=trace), params, inputs)
    second = gradients(core.sequence(params, inputs, trace=trace), params, inputs)
    assert_same_gradients(second, first, 0.0)


def test_steps_one_by_one_are_the_sequence(make_core: MakeCore) -> None:
    core = make_core(5, 4)
    params, inputs = stacked_params(core, 2), random_inputs(core, (2, 6, 3))
    weights = core.fuse(params)
    state = core.initial_state(weights, 3)
    trace = core.new_trace((2, 6, 3), inputs)
    with torch.no_grad():
        for t in range(6):
            output, state = core.step(weights, inputs[:, t], state, trace.slots[t])
            torch.testing.assert_close(output, core.sequence(params, inputs)[:, t], rtol=0, atol=0)


def begun(core: RecurrentCore, num_tasks: int, num_steps: int, batch_size: int) -> Any:
    """A state in the middle of things, and starts at a third of the steps, some at the first."""
    weights = core.fuse(stacked_params(core, num_tasks, seed=8))
    state = core.initial_state(weights, batch_size, 3 + num_steps)
    g = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for x in random_inputs(core, (num_tasks, 3, batch_size), seed=7).unbind(1):
            _, state = core.step(weights, x, state)
    starts = torch.rand(num_tasks, num_steps, batch_size, generator=g) < 0.3
    starts[0, 0, 0], starts[-1, 0, -1] = True, False
    return state, starts


def one_by_one(
    core: RecurrentCore, params: Any, inputs: Tensor, state: Any, starts: Tensor | None
) -> Tensor:
    """Every sequence alone, a new state taken at each start."""
    weights, (num_tasks, num_steps, batch_size) = core.fuse(params), inputs.shape[:3]
    rows = []
    for n in range(num_tasks):
        own = tuple(w[n : n + 1] for w in weights)
        columns = []
        for b in range(batch_size):
            now = core.initial_state(own, 1, num_steps)
            if state is not None:
                now = tuple(s[n : n + 1, b : b + 1] for s in state)
            outputs = []
            for t in range(num_steps):
                if starts is not None and starts[n, t, b]:
                    now = core.initial_state(own, 1, num_steps)
                output, now = core.step(own, inputs[n : n + 1, t, b : b + 1], now)
                outputs.append(output[0, 0])
            columns.append(torch.stack(outputs))
        rows.append(torch.stack(columns, 1))
    return torch.stack(rows)


@pytest.mark.parametrize("recorded", [False, True], ids=["run", "recorded"])
@pytest.mark.parametrize("given", ["state", "starts", "both", "neither"])
def test_a_sequence_is_a_loop_over_steps_from_any_state_with_any_starts(
    make_any: Callable[[int, int], RecurrentCore], given: str, recorded: bool
) -> None:
    core, shape = make_any(5, 4), (2, 11, 3)
    params, inputs = stacked_params(core, 2), random_inputs(core, shape)
    state, starts = begun(core, *shape)
    state = state if given in ("state", "both") else None
    starts = starts if given in ("starts", "both") else None
    trace = core.record(core.fuse(params), inputs, state, starts) if recorded else None
    expected = one_by_one(core, params, inputs, state, starts)
    wanted = gradients(expected, params, inputs)
    for outputs in (
        core.sequence(params, inputs, state, starts, trace),
        core.unrolled(params, inputs, state, starts),
    ):
        torch.testing.assert_close(outputs, expected, rtol=1e-11, atol=1e-12)
        assert_same_gradients(gradients(outputs, params, inputs), wanted, 1e-9)


def test_a_gradient_goes_back_into_the_state_before(
    make_any: Callable[[int, int], RecurrentCore],
) -> None:
    core, shape = make_any(5, 4), (2, 4, 3)
    params, inputs = stacked_params(core, 2), random_inputs(core, shape)
    state, starts = begun(core, *shape)
    state = tuple(s.detach().requires_grad_(s.is_floating_point()) for s in state)
    numbers = [s for s in state if s.requires_grad]  # some cores count beside
    starts[1, :, 1] = False
    found, wanted = (
        torch.autograd.grad(outputs.square().sum(), numbers)
        for outputs in (
            core.sequence(params, inputs, state, starts),
            one_by_one(core, params, inputs, state, starts),
        )
    )
    for got, want in zip(found, wanted, strict=True):
        torch.testing.assert_close(got, want)
        assert want[1, 1].any()
        assert not want[0, 0].any()  # emptied before the first step


@pytest.mark.parametrize("starting", [False, True], ids=["one stretch", "several"])
def test_a_state_is_carried_from_one_part_of_a_sequence_to_the_next(
    make_any: Callable[[int, int], RecurrentCore], starting: bool
) -> None:
    core, shape = make_any(5, 4), (2, 11, 3)
    params, inputs = stacked_params(core, 2), random_inputs(core, shape)
    state, starts = begun(core, *shape)
    starts = starts if starting else None
    whole = core.sequence(params, inputs, state, starts)
    weights = core.fuse(params)
    for begin, end in ((0, 1), (1, 6), (6, 11)):
        begins = None if starts is None else starts[:, begin:end]
        part = inputs[:, begin:end]
        found = core.sequence(params, part, state, begins)
        torch.testing.assert_close(found, whole[:, begin:end], rtol=1e-11, atol=1e-12)
        state = core.advanced(weights, part, state, begins)
        assert not any(s.requires_grad for s in state)


class RememberingLSTM(LSTM):
    """Broken: a start empties the memory on the way there, and not on the way back."""

    def backward(self, weights: Any, trace: Any, past: Any, grad: Tensor, *, inputs: bool) -> Any:
        return super().backward(weights, trace, Past(past.state), grad, inputs=inputs)


def test_a_gradient_that_goes_through_a_start_is_caught() -> None:
    def difference(core: LSTM) -> float:
        params, inputs = stacked_params(core, 2), random_inputs(core, (2, 11, 3))
        state, starts = begun(core, 2, 11, 3)
        found, wanted = (
            gradients(outputs, params, inputs)["weight_hh"]
            for outputs in (
                core.sequence(params, inputs, state, starts),
                core.unrolled(params, inputs, state, starts),
            )
        )
        return float((found - wanted).abs().max())

    assert difference(LSTM(5, 4)) < 1e-9
    assert difference(RememberingLSTM(5, 4)) > 1e-3


def test_same_seed_same_weights(make_any: Callable[[int, int], RecurrentCore]) -> None:
    core = make_any(5, 4)
    first, second, other = (core.init(torch.Generator().manual_seed(s)) for s in (7, 7, 8))
    assert all(torch.equal(first[n], second[n]) for n in first)
    assert any(not torch.equal(first[n], other[n]) for n in first)
    assert all(p.dtype == torch.float32 for p in first.values())


def test_slow_patterns_name_parameters(make_any: Callable[[int, int], RecurrentCore]) -> None:
    core = make_any(5, 4)
    names = core.init(torch.Generator())
    sides = partition(names, slow=core.slow)
    assert sorted(sides.fast + sides.slow) == sorted(names)
    assert sides.fast


def test_float32_is_close_to_float64(make_core: MakeCore) -> None:
    core = make_core(17, 20)
    params, inputs = stacked_params(core, 1, noise=0.0), random_inputs(core, (1, 20, 4))
    single = {n: p.detach().float().requires_grad_() for n, p in params.items()}
    inputs32 = inputs.detach().float().requires_grad_()
    wanted = gradients(core.sequence(params, inputs), params, inputs)
    got = gradients(core.sequence(single, inputs32).double(), single, inputs32)
    assert_same_gradients({n: v.double() for n, v in got.items()}, wanted, 1e-3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
@pytest.mark.parametrize("begins", ["empty", "with a state", "several starts"])
def test_once_is_the_unrolled_sequence_and_its_gradient(
    make_any: Callable[[int, int], RecurrentCore], dtype: torch.dtype, begins: str
) -> None:
    """Whatever runs it: a trace that is written over, or a kernel of torch."""
    core, shape = make_any(5, 4), (2, 7, 3)
    memory = core.new_trace(shape, torch.zeros((), dtype=dtype))
    tolerance = 1e-9 if dtype == torch.float64 else 2e-5
    for seed in (1, 2):  # the second time in the same memory
        params = {
            n: p.detach().to(dtype).requires_grad_()
            for n, p in stacked_params(core, 2, seed=seed).items()
        }
        inputs = random_inputs(core, shape, seed).detach().to(dtype).requires_grad_()
        state = starts = None
        if begins == "with a state":
            empty = core.initial_state(core.fuse(params), shape[2], shape[1])
            state = tuple(torch.full_like(s, 0.1) if s.dim() == 3 else s for s in empty)
        if begins == "several starts":
            starts = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.3
        found = core.once(params, inputs, state, starts, memory)
        expected = core.unrolled(params, inputs, state, starts)
        torch.testing.assert_close(found, expected, rtol=10 * tolerance, atol=10 * tolerance)
        assert_same_gradients(
            gradients(found, params, inputs), gradients(expected, params, inputs), tolerance
        )


def test_a_rollout_may_keep_its_outputs_alone(
    make_any: Callable[[int, int], RecurrentCore],
) -> None:
    core, shape = make_any(5, 4), (2, 7, 3)
    params, inputs = stacked_params(core, 2), random_inputs(core, shape)
    outputs = core.new_outputs(shape, inputs)
    with torch.no_grad():
        weights = core.fuse(params)
        state = core.initial_state(weights, shape[2], shape[1])
        for x, slot in zip(inputs.unbind(1), outputs.slots, strict=True):
            _, state = core.step(weights, x, state, slot)
        found = core.sequence(params, inputs, trace=outputs)
    torch.testing.assert_close(found, core.unrolled(params, inputs).detach())


def test_without_kernels_an_lstm_in_single_precision_runs_by_that_of_torch() -> None:
    core, shape = LSTM(5, 4), (2, 7, 3)
    for dtype, by_kernel in ((torch.float32, True), (torch.float64, False)):
        params = {n: p.detach().to(dtype) for n, p in stacked_params(core, 2).items()}
        inputs = random_inputs(core, shape).detach().to(dtype)
        with using("off"):
            memory = core.new_trace(shape, inputs)
        memory["h"].fill_(torch.nan)
        core.once(params, inputs, None, None, memory)
        assert bool(memory["h"].isnan().all()) is by_kernel
