"""Long short-term memory (Hochreiter & Schmidhuber 1997, with forget gates).

The cell, on a joint input y = [x, h]::

    [o, i, f, g] = W y + b
    c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h' = sigmoid(o) * tanh(c')

`cell` and `cell_backward` serve this core, a baseline of the maze with one timescale, and the slow
network inside the Warp-RNN. Gates lie in the order o, i, f, g: the three sigmoids together, and the
three whose gradient comes from c' together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from metarl.core import Params
from metarl.nn.fused import (
    FusedCore,
    Past,
    add_outer,
    add_sum,
    sigmoid_backward,
    tanh_backward,
    transposed,
)
from metarl.nn.native_core import NativeTrace
from metarl.nn.recurrent import State, Weights, gate_weights
from metarl.nn.trace import NO_SLOT, Columns, Trace, TraceSpec


def cell(
    y: Tensor, c: Tensor, weight: Tensor, bias: Tensor, out_h: Tensor | None, slot: Any
) -> tuple[Tensor, Tensor]:
    """One step of the cell.

    Args:
        y: Joint input ``[N, B, Y]``.
        c: Memory ``[N, B, H]``.
        weight: ``[N, Y, 4H]``, gates in the order o, i, f, g.
        bias: ``[N, 1, 4H]``.
        out_h: Memory for h', or None.
        slot: Memory for the rest, or one without, such as `NO_SLOT`.

    Returns:
        h' and c', each ``[N, B, H]``.
    """
    num_hidden = c.shape[-1]
    gates = torch.baddbmm(bias, y, weight)  # [N, B, 4H]
    # All columns at once are cheaper than three quarters of them; in a slot, g then takes the place
    # of its sigmoid, which is not used.
    oif = torch.sigmoid(gates, out=slot.oifg)
    g = torch.tanh(gates[..., 3 * num_hidden :], out=slot.g)
    o, i, f = oif.chunk(4, -1)[:3] if slot.o is None else (slot.o, slot.i, slot.f)
    c = torch.addcmul(f * c, i, g, out=slot.c)
    return torch.mul(o, torch.tanh(c, out=slot.tanh_c), out=out_h), c


def cell_factors(part: Trace, trace: Trace, past: Past) -> None:
    """Write the factors of `cell_backward`, for all steps of a segment, into the gradient slots.

    The gradient by every gate is dh' or dc' times a factor that the forward pass has fixed::

        dc' += dh' o (1 - tanh(c')^2),  do = dh' tanh(c') o (1 - o)
        di = dc' g i (1 - i),  df = dc' c f (1 - f),  dg = dc' i (1 - g^2)

    Args:
        part: The segment.
        trace: The whole sequence.
        past: State that it began with; the cell's memory is last in the state.
    """
    d = part.gradients
    tanh_backward(part["o"], part["tanh_c"], d["carry"])  # o (1 - tanh(c')^2)
    sigmoid_backward(part["tanh_c"], part["o"], d["d_o"])  # tanh(c') o (1 - o)
    sigmoid_backward(part["g"], part["i"], d["d_i"])  # g i (1 - i)
    tanh_backward(part["i"], part["g"], d["d_g"])  # i (1 - g^2)
    first = 0 if part.start else 1  # before the first step, there is no slot with c
    before = trace["c"][:, part.start - 1 + first : part.stop - 1]  # [N, t, B, H]
    if past.starts is not None:
        emptied = past.starts[:, part.start + first : part.stop, :, None]  # [N, t, B, 1]
        before = before.masked_fill(emptied, 0)
    sigmoid_backward(before, part["f"][:, first:], d["d_f"][:, first:])  # c f (1 - f)
    if first and past.state is not None:
        c = past.emptied(past.state[-1], 0)
        sigmoid_backward(c, trace.slots[0].f, d.slots[0].d_f)
    else:
        d["d_f"][:, :first].zero_()


def cell_backward(dh: Tensor, dc: Tensor, slot: Any, d: Any) -> Tensor:
    """Back-propagate one step; turns the factors in ``d.gates`` into gradients.

    Args:
        dh: Gradient by h' ``[N, B, H]``.
        dc: Gradient by c' from the steps after ``[N, B, H]``.
        slot: The step's activations.
        d: The step's gradient slots, with the factors of `cell_factors`.

    Returns:
        The gradient by c.
    """
    # dc' += dh' o (1 - tanh(c')^2)
    dc = torch.addcmul(dc, dh, d.carry)
    # do = dh' tanh(c') o (1 - o)
    d.d_o.mul_(dh)
    # di, df, dg = dc' times their factors: [N, B, 3, H] by [N, B, 1, H]
    d.d_ifg.mul_(dc.unsqueeze(-2))
    # dc = dc' f
    return dc.mul_(slot.f)


def cell_spec(num_hidden: int) -> TraceSpec:
    """The slots of `cell`."""
    return TraceSpec(
        {"oifg": 4 * num_hidden} | dict.fromkeys(("c", "tanh_c"), num_hidden),
        {n: Columns("oifg", k * num_hidden, (k + 1) * num_hidden) for k, n in enumerate("oifg")},
    )


def cell_gradient_spec(num_hidden: int) -> TraceSpec:
    """The gradient slots of `cell_backward`."""
    gates = {
        f"d_{n}": Columns("gates", k * num_hidden, (k + 1) * num_hidden)
        for k, n in enumerate("oifg")
    }
    return TraceSpec(
        {"gates": 4 * num_hidden, "carry": num_hidden},
        gates | {"d_ifg": Columns("gates", num_hidden, 4 * num_hidden, blocks=3)},
    )


def has_kernel(inputs: Tensor) -> bool:
    """Whether torch runs whole sequences of such inputs by a kernel that is fast.

    A CPU's is oneDNN's, which multiplies small batches by packed matrices.
    """
    ours = inputs.device.type == "cpu" and inputs.dtype == torch.float32
    return ours and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def by_kernel(params: Params, inputs: Tensor, state: State) -> Tensor:
    """Outputs ``[N, T, B, H]`` of N networks on inputs ``[N, T, B, I]``, one after the other.

    Args:
        params: Of an `LSTM`.
        inputs: ``[N, T, B, I]``.
        state: h and c before the first step, each ``[N, B, H]``.
    """
    orders = zip(*(_kernel_weights(params[name]) for name in PARAMS), strict=True)
    outputs = [  # of each network x [T, B, I], h and c [1, B, H]
        torch.lstm(x, (h, c), list(weights), True, 1, 0.0, True, False, False)[0]
        for x, h, c, weights in zip(
            inputs, state[0].unsqueeze(1), state[1].unsqueeze(1), orders, strict=True
        )
    ]  # each [T, B, H]
    return torch.stack(outputs)


PARAMS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
"""Parameters in the order of torch's kernel."""


def _kernel_weights(weight: Tensor) -> Sequence[Tensor]:
    """N matrices ``[4H, I]`` of ``[N, I, 4H]``, or N biases: gates in the order i, f, g, o."""
    o, i, f, g = weight.transpose(1, -1).chunk(4, 1)  # each [N, H, I], or [N, H]
    return torch.cat((i, f, g, o), 1).unbind()


@dataclass(frozen=True)
class LSTM(FusedCore):
    """An LSTM with I inputs and H hidden units."""

    input_size: int
    hidden_size: int

    native: ClassVar[str | None] = "lstm"

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Uniform in 1/sqrt(H), as `torch.nn.LSTM`."""
        return gate_weights(self.input_size, self.hidden_size, 4, generator)

    def fuse(self, params: Params) -> Weights:
        """Stack the two matrices and add the two biases."""
        return (
            torch.cat((params["weight_ih"], params["weight_hh"]), -2),  # [N, I + H, 4H]
            (params["bias_ih"] + params["bias_hh"]).unsqueeze(-2),  # [N, 1, 4H]
        )

    def initial_state(
        self, weights: Weights, batch_size: int, num_steps: int | None = None
    ) -> State:
        """Zeros (h, c), each ``[N, B, H]``."""
        zeros = weights[0].new_zeros(weights[0].shape[0], batch_size, self.hidden_size)
        return zeros, zeros

    def trace_spec(self) -> TraceSpec:
        """The cell's slots, its joint input and its output."""
        spec = cell_spec(self.hidden_size)
        sizes = {"xh": self.input_size + self.hidden_size, "h": self.hidden_size}
        return TraceSpec({**spec.buffers, **sizes}, spec.views)

    def gradient_spec(self) -> TraceSpec:
        """Gradients of the cell."""
        return cell_gradient_spec(self.hidden_size)

    def eager_step(
        self, weights: Weights, x: Tensor, state: State, slot: Any = NO_SLOT
    ) -> tuple[Tensor, State]:
        """One step of the cell on [x, h]."""
        h, c = state
        xh = torch.cat((x, h), -1, out=slot.xh)  # [N, B, I + H]
        h, c = cell(xh, c, weights[0], weights[1], slot.h, slot)
        return h, (h, c)

    def once(
        self,
        params: Params,
        inputs: Tensor,
        state: State | None,
        starts: Tensor | None,
        memory: Trace,
    ) -> Tensor:
        """Without a kernel of our own by torch's, where there is one: on a CPU, in float32."""
        if isinstance(memory, NativeTrace) or starts is not None or not has_kernel(inputs):
            return super().once(params, inputs, state, starts, memory)
        with torch.no_grad():
            empty = self.initial_state((inputs,), inputs.shape[2])
        return by_kernel(params, inputs, empty if state is None else state)

    def laid_out(self, weights: Weights) -> Weights:
        """Both matrices transposed: ``[N, 4H, I]`` and ``[N, 4H, H]``."""
        w_ih, w_hh = torch.split(weights[0], [self.input_size, self.hidden_size], 1)
        return transposed(w_ih), transposed(w_hh)

    def prepare(self, weights: Weights, trace: Trace, part: Trace, past: Past) -> None:
        """Write the factors of the cell."""
        cell_factors(part, trace, past)

    def step_backward(
        self, weights: Weights, after: State, slot: Any, d: Any, before: Tensor | None
    ) -> State:
        """Go back through the cell, and on to h through its product."""
        dh, dc = after
        dc = cell_backward(dh, dc, slot, d)
        if before is None:
            return dh, dc
        # dh = dloss/dh + W_hh^T (do, di, df, dg)
        return torch.baddbmm(before, d.gates, weights[1]), dc

    def add_gradients(self, part: Trace, grads: Weights) -> None:
        """Sums over steps: ``dW = [x, h] dgates^T``, ``db = dgates``."""
        gates = part.gradients.flat("gates")
        add_outer(grads[0], part.flat("xh"), gates)
        add_sum(grads[1], gates)

    def inputs_backward(self, weights: Weights, part: Trace) -> Tensor:
        """``dx = W_ih^T (do, di, df, dg)``."""
        return part.gradients["gates"] @ weights[0].unsqueeze(1)  # [N, t, B, 4H] @ [N, 1, 4H, I]
