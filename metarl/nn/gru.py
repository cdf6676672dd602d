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
from metarl.nn.recurrent import State, Weights, gate_weights
from metarl.nn.trace import NO_SLOT, Columns, Trace, TraceSpec


@dataclass(frozen=True)
class GRU(FusedCore):
    """A GRU with I inputs and H hidden units."""

    input_size: int
    hidden_size: int

    native: ClassVar[str | None] = "gru"

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Uniform in 1/sqrt(H), as `torch.nn.GRU`; columns in the order r, z, n."""
        return gate_weights(self.input_size, self.hidden_size, 3, generator)

    def fuse(self, params: Params) -> Weights:
        """Order the input's columns n, r, z, so that r and z lie together on both sides."""
        return (
            params["weight_ih"].roll(self.hidden_size, -1),  # [N, I, 3H]
            params["weight_hh"],  # [N, H, 3H]
            params["bias_ih"].roll(self.hidden_size, -1).unsqueeze(-2),  # [N, 1, 3H]
            params["bias_hh"].unsqueeze(-2),  # [N, 1, 3H]
        )

    def initial_state(
        self, weights: Weights, batch_size: int, num_steps: int | None = None
    ) -> State:
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

    def eager_step(
        self, weights: Weights, x: Tensor, state: State, slot: Any = NO_SLOT
    ) -> tuple[Tensor, State]:
        """The four equations of the module's docstring."""
        w_ih, w_hh, b_ih, b_hh = weights
        num_hidden = self.hidden_size
        (h,) = state
        if slot.x is not None:
            slot.x.copy_(x)
            slot.before.copy_(h)
        wx = torch.baddbmm(b_ih, x, w_ih)  # [N, B, 3H]: n, r, z
        wh = torch.baddbmm(b_hh, h, w_hh, out=slot.wh)  # [N, B, 3H]: r, z, n
        rz = torch.sigmoid(wx[..., num_hidden:] + wh[..., : 2 * num_hidden], out=slot.rz)
        r, z = rz[..., :num_hidden], rz[..., num_hidden:]
        n = torch.addcmul(wx[..., :num_hidden], r, wh[..., 2 * num_hidden :])
        n = torch.tanh(n, out=slot.n)
        h = torch.lerp(n, h, z, out=slot.h)  # (1 - z) n + z h
        return h, (h,)

    def laid_out(self, weights: Weights) -> Weights:
        """Both matrices transposed: ``[N, 3H, I]`` and ``[N, 3H, H]``."""
        return transposed(weights[0]), transposed(weights[1])

    def prepare(self, weights: Weights, trace: Trace, part: Trace, past: Past) -> None:
        """Write each gate's derivative by dh' into ``gates``: n, r, z, and W_hn h + b_hn."""
        num_hidden = self.hidden_size
        n, h, wh_n = part["n"], part["before"], part["wh"][..., 2 * num_hidden :]
        rz = part["rz"]
        r, z = rz[..., :num_hidden], rz[..., num_hidden:]
        d_n, d_r, d_z, d_wh_n = part.gradients["gates"].chunk(4, -1)
        # n = tanh(.): (1 - z) (1 - n^2)
        tanh_backward(1 - z, n, d_n)
        # r = sigmoid(.), which multiplies W_hn h + b_hn inside n
        sigmoid_backward(d_n * wh_n, r, d_r)
        # z = sigmoid(.), h' = n + z (h - n)
        sigmoid_backward(h - n, z, d_z)
        # W_hn h + b_hn, multiplied by r inside n
        torch.mul(d_n, r, out=d_wh_n)

    def step_backward(
        self, weights: Weights, after: State, slot: Any, d: Any, before: Tensor | None
    ) -> State:
        """Every gate's gradient is dh' times the factor of `prepare`."""
        (dh,) = after
        d.blocks.mul_(dh.unsqueeze(-2))  # [N, B, 4, H] by [N, B, 1, H]
        if before is None:
            return after
        # dh = dloss/dh + z dh' + W_hh^T (dr, dz, dn)
        dh = torch.addcmul(before, dh, slot.z)
        return (dh.baddbmm_(d.wh, weights[1]),)

    def add_gradients(self, part: Trace, grads: Weights) -> None:
        """Sums over steps: ``dW_ih = x dwx^T``, ``dW_hh = h dwh^T``, and of the biases."""
        wx, wh = part.gradients.flat("wx"), part.gradients.flat("wh")
        add_outer(grads[0], part.flat("x"), wx)
        add_outer(grads[1], part.flat("before"), wh)
        add_sum(grads[2], wx)
        add_sum(grads[3], wh)

    def inputs_backward(self, weights: Weights, part: Trace) -> Tensor:
        """``dx = W_ih^T (dn, dr, dz)``."""
        return part.gradients["wx"] @ weights[0].unsqueeze(1)  # [N, t, B, 3H] @ [N, 1, 3H, I]
