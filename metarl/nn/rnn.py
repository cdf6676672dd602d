"""Plain recurrent network: ``h' = tanh(W_ih x + W_hh h + b)`` (Elman 1990).

The memory of an RL^2 agent (Duan et al. 2016; Wang et al. 2016) and the simplest baseline of the
maze. It has one timescale: every parameter is fast.
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
    orthogonal,
    tanh_backward,
    transposed,
)
from metarl.nn.trace import NO_SLOTS, Trace, TraceSpec


@dataclass(frozen=True)
class RNN(FusedCore):
    """A tanh RNN with I inputs and H hidden units."""

    input_size: int
    hidden_size: int

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Orthogonal matrices, zero bias."""
        return {
            "weight_ih": orthogonal(self.input_size, self.hidden_size, generator),
            "weight_hh": orthogonal(self.hidden_size, self.hidden_size, generator),
            "bias": torch.zeros(self.hidden_size),
        }

    def fuse(self, params: Params) -> Weights:
        """Stack the two matrices, so that a step is one product."""
        w_xh = torch.cat((params["weight_ih"], params["weight_hh"]), -2)  # [N, I + H, H]
        return w_xh, params["bias"].unsqueeze(-2)

    def initial_state(self, weights: Weights, batch_size: int) -> State:
        """Zero h ``[N, B, H]``."""
        return (weights[0].new_zeros(weights[0].shape[0], batch_size, self.hidden_size),)

    def trace_spec(self) -> TraceSpec:
        """The product's input and the output."""
        return TraceSpec({"xh": self.input_size + self.hidden_size, "h": self.hidden_size})

    def gradient_spec(self) -> TraceSpec:
        """The gradient before the tanh."""
        return TraceSpec({"z": self.hidden_size})

    def step(
        self, weights: Weights, x: Tensor, state: State, out: Any = NO_SLOTS
    ) -> tuple[Tensor, State]:
        """The equation of the module's docstring."""
        w_xh, bias = weights
        xh = torch.cat((x, state[0]), -1, out=out.xh)
        h = torch.tanh(torch.baddbmm(bias, xh, w_xh), out=out.h)
        return h, (h,)

    def backward(
        self, weights: Weights, trace: Trace, grad: Tensor, *, inputs: bool
    ) -> tuple[Weights, Tensor | None]:
        """``dz_t = (dh_t + W_hh^T dz_{t+1}) (1 - h_t^2)``, then one product a segment."""
        w_ih, w_hh = torch.split(weights[0], [self.input_size, self.hidden_size], 1)
        w_ih_t, w_hh_t = transposed(w_ih), transposed(w_hh)
        d_w, d_bias = (torch.zeros_like(w) for w in weights)
        dx = grad.new_empty(*grad.shape[:3], self.input_size) if inputs else None
        dh = grad[:, -1]
        for part in reversed(trace.segments):
            d = part.gradients
            for t in range(part.stop - 1, part.start - 1, -1):
                dz = tanh_backward(dh, trace.slots[t].h, d.slots[t - part.start].z)
                dh = torch.baddbmm(grad[:, t - 1], dz, w_hh_t) if t else dh
            add_outer(d_w, part.flat("xh"), d.flat("z"))
            add_sum(d_bias, d.flat("z"))
            if dx is not None:
                dx[:, part.start : part.stop] = d["z"] @ w_ih_t.unsqueeze(1)
        return (d_w, d_bias), dx
