"""Neuromodulated plasticity (Miconi et al. 2019, "Backpropamine"), simple modulation.

The network decides at every step how much its connections learn: one modulatory neuron m, fanned
out by a learned weight and bias for each neuron. The rule of `metarl.nn.hebbian`, with::

    h_t = tanh(W_ih x_t + b + (w + alpha * Hebb_{t-1}) h_{t-1})
    m_t = tanh(W_m h_t + b_m)
    M_t = v m_t + c
    Hebb_t = clip(Hebb_{t-1} + h_{t-1} (M_t * h_t)^T, -1, 1)

Left out: retroactive modulation, where m gates an eligibility trace of earlier products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from metarl.core import Params
from metarl.nn.fused import add_outer, add_sum, tanh_backward
from metarl.nn.hebbian import HebbianRNN
from metarl.nn.recurrent import Weights, uniform
from metarl.nn.trace import Trace


@dataclass(frozen=True)
class ModulatedRNN(HebbianRNN):
    """A plastic RNN with I inputs and H hidden units that modulates its own learning."""

    input_size: int
    hidden_size: int

    native: ClassVar[str | None] = "modulated"

    def init_rule(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Uniform in 1/sqrt(fan-in), as `torch.nn.Linear`."""
        num_hidden, bound = self.hidden_size, self.hidden_size**-0.5
        return {
            "weight_m": uniform((num_hidden, 1), bound, generator),
            "bias_m": uniform((1,), bound, generator),
            "fan_out": uniform((num_hidden,), 1.0, generator),
            "fan_bias": uniform((num_hidden,), 1.0, generator),
        }

    def fuse_rule(self, params: Params) -> Weights:
        """W_m ``[N, H, 1]``, b_m ``[N, 1, 1]``, v and c ``[N, 1, H]``."""
        return (
            params["weight_m"],
            params["bias_m"].unsqueeze(-2),
            params["fan_out"].unsqueeze(-2),
            params["fan_bias"].unsqueeze(-2),
        )

    def rule_buffers(self) -> tuple[dict[str, int], dict[str, int]]:
        """The modulator m and the rates M; gradients by W_m h + b_m and by M."""
        return {"m": 1, "rate": self.hidden_size}, {"m": 1, "rate": self.hidden_size}

    def show(self, rule: Weights, h: Tensor, out: Any) -> Tensor:
        """``k = M * h``."""
        w_m, b_m, v, c = rule
        m = torch.tanh(torch.baddbmm(b_m, h, w_m), out=out.m)
        rate = torch.addcmul(c, v, m, out=out.rate)
        return torch.mul(rate, h, out=out.k)

    def write(
        self, rule: Weights, hebb: Tensor, h: Tensor, k: Tensor, out: Tensor | None
    ) -> Tensor:
        """``clip(Hebb + h k^T, -1, 1)``."""
        hebb = torch.addcmul(hebb, h.unsqueeze(-1), k.unsqueeze(-2), out=out)  # [N, B, H, H]
        return F.hardtanh(hebb) if out is None else F.hardtanh_(hebb)

    def write_backward(self, weights: Weights, r: Tensor, hebb: Sequence[Tensor], d: Any) -> None:
        """R where the trace was not clipped."""
        torch.ops.aten.hardtanh_backward.grad_input(r, hebb[1], -1.0, 1.0, grad_input=r)
        torch.mul(r, weights[3], out=d.outer)

    def show_backward(self, rule: Weights, dk: Tensor, slot: Any, d: Any) -> Tensor:
        """Go back through h itself and through the modulator."""
        w_m, _, v, _ = rule
        d_rate = torch.mul(dk, slot.h, out=d.rate)
        d_m = tanh_backward(torch.bmm(d_rate, v.mT), slot.m, d.m)
        return torch.addcmul(dk * slot.rate, d_m, w_m.mT)

    def add_rule_gradients(self, part: Trace, grads: Weights) -> None:
        """Add the gradients by W_m, b_m, v and c."""
        d_m, d_rate = part.gradients.flat("m"), part.gradients.flat("rate")
        add_outer(grads[0], part.flat("h"), d_m)
        add_sum(grads[1], d_m)
        add_outer(grads[2], part.flat("m"), d_rate)
        add_sum(grads[3], d_rate)
