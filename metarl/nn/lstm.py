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

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metarl.core import Params
from metarl.nn.recurrent import (
    FusedCore,
    State,
    Weights,
    add_outer,
    add_sum,
    gate_weights,
    sigmoid_backward,
    tanh_backward,
    transposed,
)
from metarl.nn.trace import NO_SLOTS, Columns, Trace, TraceSpec


def cell(
    y: Tensor, c: Tensor, weight: Tensor, bias: Tensor, out_h: Tensor | None, out: Any
) -> tuple[Tensor, Tensor]:
    """One step of the cell.

    Args:
        y: Joint input ``[N, B, Y]``.
        c: Memory ``[N, B, H]``.
        weight: ``[N, Y, 4H]``, gates in the order o, i, f, g.
        bias: ``[N, 1, 4H]``.
        out_h: Where to write h', or None.
        out: Slots, or `NO_SLOTS`.

    Returns:
        h' and c', each ``[N, B, H]``.
    """
    num_hidden = c.shape[-1]
    gates = torch.baddbmm(bias, y, weight)
    # All columns at once are cheaper than three quarters of them; in a slot, g then takes the place
    # of its sigmoid, which is not used.
    oif = torch.sigmoid(gates, out=out.oifg)
    g = torch.tanh(gates[..., 3 * num_hidden :], out=out.g)
    o, i, f = oif.chunk(4, -1)[:3] if out is NO_SLOTS else (out.o, out.i, out.f)
    c = torch.addcmul(f * c, i, g, out=out.c)
    return torch.mul(o, torch.tanh(c, out=out.tanh_c), out=out_h), c


def cell_factors(part: Trace, trace: Trace) -> None:
    """What `cell_backward` multiplies by, for all steps of a segment, into the gradient slots.

    The gradient by every gate is dh' or dc' times a factor that the forward pass has fixed::

        dc' += dh' o (1 - tanh(c')^2),  do = dh' tanh(c') o (1 - o)
        di = dc' g i (1 - i),  df = dc' c f (1 - f),  dg = dc' i (1 - g^2)
    """
    d = part.gradients
    tanh_backward(part["o"], part["tanh_c"], d["carry"])
    sigmoid_backward(part["tanh_c"], part["o"], d["d_o"])
    sigmoid_backward(part["g"], part["i"], d["d_i"])
    tanh_backward(part["i"], part["g"], d["d_g"])
    first = 0 if part.start else 1  # c is zero before the first step
    before = trace["c"][:, part.start - 1 + first : part.stop - 1]
    sigmoid_backward(before, part["f"][:, first:], d["d_f"][:, first:])
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
    dc = torch.addcmul(dc, dh, d.carry)
    d.d_o.mul_(dh)
    d.d_ifg.mul_(dc.unsqueeze(-2))
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


@dataclass(frozen=True)
class LSTM(FusedCore):
    """An LSTM with I inputs and H hidden units."""

    input_size: int
    hidden_size: int

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Uniform in 1/sqrt(H), as `torch.nn.LSTM`."""
        return gate_weights(self.input_size, self.hidden_size, 4, generator)

    def fuse(self, params: Params) -> Weights:
        """Stack the two matrices and add the two biases."""
        return (
            torch.cat((params["weight_ih"], params["weight_hh"]), -2),  # [N, I + H, 4H]
            (params["bias_ih"] + params["bias_hh"]).unsqueeze(-2),
        )

    def initial_state(self, weights: Weights, batch_size: int) -> State:
        """Zeros (h, c), each ``[N, B, H]``."""
        zeros = weights[0].new_zeros(weights[0].shape[0], batch_size, self.hidden_size)
        return zeros, zeros

    def trace_spec(self) -> TraceSpec:
        """The cell's slots, its joint input and its output."""
        spec = cell_spec(self.hidden_size)
        sizes = {"xh": self.input_size + self.hidden_size, "h": self.hidden_size}
        return TraceSpec({**spec.buffers, **sizes}, spec.views)

    def gradient_spec(self) -> TraceSpec:
        """The cell's."""
        return cell_gradient_spec(self.hidden_size)

    def step(
        self, weights: Weights, x: Tensor, state: State, out: Any = NO_SLOTS
    ) -> tuple[Tensor, State]:
        """One step of the cell on [x, h]."""
        h, c = state
        xh = torch.cat((x, h), -1, out=out.xh)
        h, c = cell(xh, c, weights[0], weights[1], out.h, out)
        return h, (h, c)

    def backward(
        self, weights: Weights, trace: Trace, grad: Tensor, *, inputs: bool
    ) -> tuple[Weights, Tensor | None]:
        """Walk the steps backwards, then one product over the steps of a segment."""
        w_ih, w_hh = torch.split(weights[0], [self.input_size, self.hidden_size], 1)
        w_ih_t, w_hh_t = transposed(w_ih), transposed(w_hh)
        d_w, d_bias = (torch.zeros_like(w) for w in weights)
        dx = grad.new_empty(*grad.shape[:3], self.input_size) if inputs else None
        dh, dc = grad[:, -1], torch.zeros_like(grad[:, 0])
        for part in reversed(trace.segments):
            cell_factors(part, trace)
            for t in range(part.stop - 1, part.start - 1, -1):
                d = part.gradients.slots[t - part.start]
                dc = cell_backward(dh, dc, trace.slots[t], d)
                if t:
                    dh = torch.baddbmm(grad[:, t - 1], d.gates, w_hh_t)
            gates = part.gradients.flat("gates")
            add_outer(d_w, part.flat("xh"), gates)
            add_sum(d_bias, gates)
            if dx is not None:
                dx[:, part.start : part.stop] = part.gradients["gates"] @ w_ih_t.unsqueeze(1)
        return (d_w, d_bias), dx
