"""Long short-term memory (Hochreiter & Schmidhuber 1997, with forget gates).

The cell, on a joint input y = [x, h]::

    [i, f, o, g] = W y + b
    c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h' = sigmoid(o) * tanh(c')

`cell` and `cell_backward` serve this core, a baseline of the maze with one timescale, and the slow
network inside the Warp-RNN. Their slots are ``ifo`` (3H; views ``i``, ``f``, ``o``), ``g``, ``c``
and ``tanh_c``; the gradient's slot is ``gates`` (4H; views ``d_ifo``, ``d_g``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metarl.core import Params
from metarl.nn.recurrent import (
    NO_SLOTS,
    FusedCore,
    State,
    Trace,
    TraceSpec,
    Weights,
    outer_sum,
    sigmoid_backward,
    tanh_backward,
    transposed,
    uniform,
)


def cell(
    y: Tensor, c: Tensor, weight: Tensor, bias: Tensor, out_h: Tensor | None, out: Any
) -> tuple[Tensor, Tensor]:
    """One step of the cell.

    Args:
        y: Joint input ``[N, B, Y]``.
        c: Memory ``[N, B, H]``.
        weight: ``[N, Y, 4H]``, gates in the order i, f, o, g.
        bias: ``[N, 1, 4H]``.
        out_h: Where to write h', or None.
        out: Slots, or `NO_SLOTS`.

    Returns:
        h' and c', each ``[N, B, H]``.
    """
    num_hidden = c.shape[-1]
    gates = torch.baddbmm(bias, y, weight)
    ifo = torch.sigmoid(gates[..., : 3 * num_hidden], out=out.ifo)
    g = torch.tanh(gates[..., 3 * num_hidden :], out=out.g)
    i, f, o = ifo.chunk(3, -1) if out is NO_SLOTS else (out.i, out.f, out.o)
    c = torch.addcmul(f * c, i, g, out=out.c)
    return torch.mul(o, torch.tanh(c, out=out.tanh_c), out=out_h), c


def cell_backward(
    dh: Tensor, dc: Tensor, c: Tensor, slot: Any, gradient: Any, scratch: Any
) -> Tensor:
    """Back-propagate one step; writes ``gradient.gates`` ``[N, B, 4H]``.

    Args:
        dh: Gradient by h' ``[N, B, H]``.
        dc: Gradient by c' from the steps after ``[N, B, H]``.
        c: The memory before the step.
        slot: The step's activations.
        gradient: The step's gradient slots.
        scratch: Working memory, see `cell_scratch`.

    Returns:
        The gradient by c.
    """
    torch.mul(dh, slot.tanh_c, out=scratch.o)
    dc = dc + tanh_backward(dh * slot.o, slot.tanh_c, scratch.h)
    torch.mul(dc, slot.g, out=scratch.i)
    torch.mul(dc, c, out=scratch.f)
    sigmoid_backward(scratch.ifo, slot.ifo, gradient.d_ifo)
    tanh_backward(torch.mul(dc, slot.i, out=scratch.h), slot.g, gradient.d_g)
    dc_before: Tensor = dc * slot.f
    return dc_before


def cell_spec(num_hidden: int) -> TraceSpec:
    """The slots of `cell`."""
    return TraceSpec(
        {"ifo": 3 * num_hidden} | dict.fromkeys(("g", "c", "tanh_c"), num_hidden),
        {n: ("ifo", k * num_hidden, (k + 1) * num_hidden) for k, n in enumerate("ifo")},
    )


def cell_gradient_spec(num_hidden: int) -> TraceSpec:
    """The gradient slots of `cell_backward`."""
    return TraceSpec(
        {"gates": 4 * num_hidden},
        {
            "d_ifo": ("gates", 0, 3 * num_hidden),
            "d_g": ("gates", 3 * num_hidden, 4 * num_hidden),
        },
    )


def cell_scratch(num_hidden: int, like: Tensor) -> Any:
    """Working memory of `cell_backward` for a ``[N, B, H]`` like the one given."""
    shape = (like.shape[0], 1, like.shape[1])
    spec = cell_spec(num_hidden)
    return Trace(
        TraceSpec({"ifo": 3 * num_hidden, "h": num_hidden}, spec.views), shape, like
    ).slots[0]


@dataclass(frozen=True)
class LSTM(FusedCore):
    """An LSTM with I inputs and H hidden units."""

    input_size: int
    hidden_size: int

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Uniform in 1/sqrt(H), as `torch.nn.LSTM`."""
        num_hidden, bound = self.hidden_size, self.hidden_size**-0.5
        return {
            "weight_ih": uniform((self.input_size, 4 * num_hidden), bound, generator),
            "weight_hh": uniform((num_hidden, 4 * num_hidden), bound, generator),
            "bias_ih": uniform((4 * num_hidden,), bound, generator),
            "bias_hh": uniform((4 * num_hidden,), bound, generator),
        }

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
        """Walk the steps backwards, then one product over T * B."""
        w_hh_t = transposed(weights[0][:, self.input_size :])
        zeros = torch.zeros_like(grad[:, 0])
        scratch = cell_scratch(self.hidden_size, zeros)
        dh, dc = grad[:, -1], zeros
        for t in range(grad.shape[1] - 1, -1, -1):
            d = trace.gradients.slots[t]
            dc = cell_backward(
                dh, dc, trace.slots[t - 1].c if t else zeros, trace.slots[t], d, scratch
            )
            if t:
                dh = torch.baddbmm(grad[:, t - 1], d.gates, w_hh_t)
        gates = trace.gradients.flat("gates")
        grads = outer_sum(trace.flat("xh"), gates), gates.sum(1, keepdim=True)
        dx = gates @ transposed(weights[0][:, : self.input_size]) if inputs else None
        return grads, dx
