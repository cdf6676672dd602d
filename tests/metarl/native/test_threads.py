"""Agents shared between threads: the numbers of one thread, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import copy_context

import pytest
import torch
from torch import Tensor

from metarl.native import kernels, num_threads, sharing
from metarl.nn import FusedCore
from metarl.nn.fused import Past
from metarl.nn.native_core import NativeTrace
from tests.metarl.nn.gradients import FUSED, random_inputs, stacked_params

pytestmark = pytest.mark.skipif(kernels("lstm") is None, reason="no native kernels here")

NATIVE = [name for name, make in FUSED.items() if vars(type(make(1, 1))).get("native")]
AGENTS, STEPS, BATCH = 5, 7, 6


@pytest.fixture
def flushed() -> Iterator[None]:
    """Numbers next to zero are flushed, in this thread."""
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


def passes(core: FusedCore, params: dict[str, Tensor], inputs: Tensor) -> list[Tensor]:
    """Outputs, gradients by weights and inputs of a run, some sequences of which start anew."""
    weights = core.fuse(params)
    trace = core.new_trace(tuple(inputs.shape[:3]), inputs)
    assert isinstance(trace, NativeTrace)
    starts = torch.zeros(inputs.shape[:3], dtype=torch.bool)
    starts[::2, 3, 1:4] = True
    core.record(weights, inputs, starts=starts, trace=trace)
    outputs = trace["h"].clone()
    with torch.no_grad():
        grads, by_inputs = core.backward(
            weights, trace, Past(starts), torch.ones_like(outputs), inputs=True
        )
    assert by_inputs is not None
    return [outputs, *grads, by_inputs]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NATIVE)
def test_what_threads_share_is_what_one_does(name: str, dtype: torch.dtype) -> None:
    core = FUSED[name](5, 9)
    params = {n: p.detach().to(dtype) for n, p in stacked_params(core, AGENTS, noise=0.3).items()}
    inputs = random_inputs(core, (AGENTS, STEPS, BATCH)).detach().to(dtype)
    alone = passes(core, params, inputs)
    for count in (2, 3, 9):
        with sharing(count):
            for one, other in zip(passes(core, params, inputs), alone, strict=True):
                assert torch.equal(one, other)


def test_a_trace_may_be_shared_after_it_was_not() -> None:
    core = FUSED["gru"](5, 9)
    params = {n: p.detach() for n, p in stacked_params(core, AGENTS).items()}
    inputs = random_inputs(core, (AGENTS, STEPS, BATCH)).detach()
    weights = core.fuse(params)
    trace = core.new_trace((AGENTS, STEPS, BATCH), inputs)
    found = []
    for count in (1, 2, 1, 3):
        with sharing(count), torch.no_grad():
            core.record(weights, inputs, trace=trace)
            ones = torch.ones_like(trace["h"])
            grads, _ = core.backward(weights, trace, Past(), ones, inputs=False)
        found.append(grads)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.usefixtures("flushed")
def test_threads_round_as_their_caller_does() -> None:
    core = FUSED["rnn"](5, 9)
    params = {n: p.detach().float() for n, p in stacked_params(core, AGENTS).items()}
    inputs = 1e-39 * random_inputs(core, (AGENTS, STEPS, BATCH)).detach().float()
    alone = passes(core, params, inputs)
    with sharing(AGENTS):
        shared = passes(core, params, inputs)
    assert all(torch.equal(one, other) for one, other in zip(alone, shared, strict=True))


def test_the_number_belongs_to_its_context() -> None:
    with sharing(2):
        inherited = copy_context()
        with sharing(1):
            assert num_threads() == 1
        assert num_threads() == 2
    assert num_threads() == 1
    assert inherited.run(num_threads) == 2


def test_no_thread_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="num_threads must be at least 1, got 0"), sharing(0):
        pass
