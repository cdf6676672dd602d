"""Gated recurrent unit (Cho et al. 2014), with the reset gate after the product.

The form of `torch.nn.GRU` and cuDNN, where r gates the product W_hn h, not h itself::

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)
    z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
    n = tanh(W_in x + b_in + r * (W_hn h + b_hn))
    h' = (1 - z) * n + z * h

with * elementwise. A baseline of the maze with one timescale: every parameter is fast.
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


@dataclass(frozen=True)
class GRU(FusedCore):
    """A GRU with I inputs and H hidden units."""

    input_size: int
    hidden_size: int

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Uniform in 1/sqrt(H), as `torch.nn.GRU`; columns in the order r, z, n."""
        return gate_weights(self.input_size, self.hidden_size, 3, generator)

    def fuse(self, params: Params) -> Weights:
        """Order the input's columns n, r, z, so that r and z lie together on both sides."""
        return (
            params["weight_ih"].roll(self.hidden_size, -1),
            params["weight_hh"],
            params["bias_ih"].roll(self.hidden_size, -1).unsqueeze(-2),
            params["bias_hh"].unsqueeze(-2),
        )

    def initial_state(self, weights: Weights, batch_size: int) -> State:
        """Zero h ``[N, B, H]``."""
        return (weights[0].new_zeros(weights[0].shape[0], batch_size, self.hidden_size),)

    def trace_spec(self) -> TraceSpec:
        """Both sides of the step, its gates and the output; ``wh_n`` is W_hn h + b_hn."""
        num_hidden = self.hidden_size
        buffers = {"x": self.input_size, "wh": 3 * num_hidden, "rz": 2 * num_hidden}
        views = {
            "wh_n": Columns("wh", 2 * num_hidden, 3 * num_hidden),
            "r": Columns("rz", 0, num_hidden),
            "z": Columns("rz", num_hidden, 2 * num_hidden),
        }
        return TraceSpec(buffers | dict.fromkeys(("before", "n", "h"), num_hidden), views)

    def gradient_spec(self) -> TraceSpec:
        """Gradients before the non-linearities: n, r, z on the input's side, r, z, n on h's."""
        num_hidden = self.hidden_size
        views = {
            "wx": Columns("gates", 0, 3 * num_hidden),
            "wh": Columns("gates", num_hidden, 4 * num_hidden),
            "blocks": Columns("gates", 0, 4 * num_hidden, blocks=4),
        }
        return TraceSpec({"gates": 4 * num_hidden}, views)

    def step(
        self, weights: Weights, x: Tensor, state: State, out: Any = NO_SLOTS
    ) -> tuple[Tensor, State]:
        """The four equations of the module's docstring."""
        w_ih, w_hh, b_ih, b_hh = weights
        num_hidden = self.hidden_size
        (h,) = state
        if out is not NO_SLOTS:
            out.x.copy_(x)
            out.before.copy_(h)
        wx = torch.baddbmm(b_ih, x, w_ih)  # n, r, z
        wh = torch.baddbmm(b_hh, h, w_hh, out=out.wh)  # r, z, n
        rz = torch.sigmoid(wx[..., num_hidden:] + wh[..., : 2 * num_hidden], out=out.rz)
        r, z = rz[..., :num_hidden], rz[..., num_hidden:]
        n = torch.tanh(torch.addcmul(wx[..., :num_hidden], r, wh[..., 2 * num_hidden :]), out=out.n)
        h = torch.lerp(n, h, z, out=out.h)
        return h, (h,)

    def backward(
        self, weights: Weights, trace: Trace, grad: Tensor, *, inputs: bool
    ) -> tuple[Weights, Tensor | None]:
        """Every gate's gradient is dh times a factor: a segment's factors first, then its steps.

        ``dh_{t-1} = z_t dh_t + W_hh^T (factors_t dh_t)``, on top of the loss's own gradient.
        """
        w_ih_t, w_hh_t = transposed(weights[0]), transposed(weights[1])
        grads = tuple(torch.zeros_like(w) for w in weights)
        dx = grad.new_empty(*grad.shape[:3], self.input_size) if inputs else None
        dh = grad[:, -1]
        for part in reversed(trace.segments):
            self._factors(part)
            for t in range(part.stop - 1, part.start - 1, -1):
                d = part.gradients.slots[t - part.start]
                d.blocks.mul_(dh.unsqueeze(-2))
                if t:
                    dh = torch.addcmul(grad[:, t - 1], dh, trace.slots[t].z)
                    dh.baddbmm_(d.wh, w_hh_t)
            wx, wh = part.gradients.flat("wx"), part.gradients.flat("wh")
            add_outer(grads[0], part.flat("x"), wx)
            add_outer(grads[1], part.flat("before"), wh)
            add_sum(grads[2], wx)
            add_sum(grads[3], wh)
            if dx is not None:
                dx[:, part.start : part.stop] = part.gradients["wx"] @ w_ih_t.unsqueeze(1)
        return grads, dx

    def _factors(self, trace: Trace) -> None:
        """What each gate's gradient is to dh, for all steps of a segment, into ``gates``."""
        num_hidden = self.hidden_size
        n, h, wh_n = trace["n"], trace["before"], trace["wh"][..., 2 * num_hidden :]
        rz = trace["rz"]
        r, z = rz[..., :num_hidden], rz[..., num_hidden:]
        d_n, d_r, d_z, d_wh_n = trace.gradients["gates"].chunk(4, -1)
        tanh_backward(1 - z, n, d_n)
        sigmoid_backward(d_n * wh_n, r, d_r)
        sigmoid_backward(h - n, z, d_z)
        torch.mul(d_n, r, out=d_wh_n)
