"""Plastic and neuromodulated networks: what reduces to what, clipping, and bounded memory."""

from __future__ import annotations

import pytest
import torch

from metarl.native import kernels, using
from metarl.nn import RNN, ModulatedRNN, PlasticRNN
from tests.metarl.nn.gradients import assert_backward_is_right, random_inputs, stacked_params


@pytest.mark.parametrize("core", [PlasticRNN(5, 4), ModulatedRNN(5, 4)])
def test_without_plasticity_it_is_the_plain_network(core: PlasticRNN) -> None:
    params, inputs = stacked_params(core, 2), random_inputs(core, (2, 6, 3))
    with torch.no_grad():
        params["alpha"].zero_()
    plain = {n: params[n] for n in ("weight_ih", "weight_hh", "bias")}
    torch.testing.assert_close(core.sequence(params, inputs), RNN(5, 4).sequence(plain, inputs))


def test_a_rate_of_zero_never_learns_and_of_one_remembers_one_step() -> None:
    core = PlasticRNN(5, 4)
    params, inputs = stacked_params(core, 1), random_inputs(core, (1, 3, 2))
    with torch.no_grad():
        for eta, wanted in ((0.0, lambda h, k: 0 * h @ k), (1.0, lambda h, k: h @ k)):
            params["eta"].fill_(eta)
            weights = core.fuse(params)
            state = core.initial_state(weights, 2)
            for t in range(3):
                before = state[0]
                h, state = core.step(weights, inputs[:, t], state)
                outer = wanted(before.unsqueeze(-1), h.unsqueeze(-2))
                torch.testing.assert_close(state[1], outer)


class LouderRNN(ModulatedRNN):
    """Rates so large that most of the trace is clipped."""

    def show(self, rule, h, out):  # type: ignore[no-untyped-def]
        w_m, b_m, v, c = rule
        return super().show((w_m, b_m, 40 * v, 40 * c), h, out)

    def show_backward(self, rule, dk, slot, d):  # type: ignore[no-untyped-def]
        w_m, b_m, v, c = rule
        return super().show_backward((w_m, b_m, 40 * v, 40 * c), dk, slot, d)

    def add_rule_gradients(self, part, grads):  # type: ignore[no-untyped-def]
        own = [torch.zeros_like(g) for g in grads]
        super().add_rule_gradients(part, own)
        for total, g, scale in zip(grads, own, (1, 1, 40, 40), strict=True):
            total += scale * g


def test_the_gradient_is_right_where_the_trace_is_clipped() -> None:
    core = LouderRNN(5, 4)
    params, inputs = stacked_params(core, 2), random_inputs(core, (2, 12, 3))
    trace = core.record(core.fuse(params), inputs)
    hebb = trace.slots[-1].hebb
    clipped = (hebb.abs() == 1).double().mean()
    assert 0.2 < clipped < 0.98
    assert hebb.abs().max() <= 1
    assert_backward_is_right(core, (2, 12, 3))


@pytest.mark.parametrize("core", [PlasticRNN(3, 8), ModulatedRNN(3, 8)])
def test_memory_grows_with_the_root_of_time(core: PlasticRNN) -> None:
    """At T = 200 a trace holds 34 Hebbian traces and some working memory, not 200."""
    with using("off"):  # a native trace is one buffer, see below
        trace = core.new_trace((1, 200, 2), torch.empty(0))
    slots = [*trace.slots, *trace.segments[0].gradients.slots]
    large = {t.data_ptr() for s in slots for t in vars(s).values() if t.dim() == 4}
    assert [len(part.slots) for part in trace.segments] == [15] * 13 + [5]
    assert len(large) == (1 + 13) + 1 + 15 + 3


@pytest.mark.skipif(kernels("plastic") is None, reason="no native kernels here")
@pytest.mark.parametrize("core", [PlasticRNN(3, 16), ModulatedRNN(3, 16)])
def test_so_does_memory_of_a_native_trace(core: PlasticRNN) -> None:
    """At T = 200 it holds 15 Hebbian traces of every sequence, and one if only outputs are kept."""
    like, square = torch.empty(0), 16 * 16
    traces = [core.new_trace((1, 200, 40), like), core.new_outputs((1, 200, 40), like)]
    for trace, held in zip(traces, (15, 1), strict=True):
        vectors = 200 * 40 * 3 * 16
        assert 0 < trace.run._trace.numel() - held * 40 * square < vectors  # type: ignore[attr-defined]
