"""Plain recurrent network: ``h' = tanh(W_ih x + W_hh h + b)`` (Elman 1990).

The memory of an RL^2 agent (Duan et al. 2016; Wang et al. 2016) and the simplest baseline of the
maze. It has one timescale: every parameter is fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from metarl.core import Params
from metarl.nn.fused import FusedCore, add_outer, add_sum, tanh_backward, transposed
from metarl.nn.recurrent import State, Weights, orthogonal
from metarl.nn.trace import NO_SLOT, Trace, TraceSpec


@dataclass(frozen=True)
class RNN(FusedCore):
    """A tanh RNN with I inputs and H hidden units."""

    input_size: int
    hidden_size: int

    native: ClassVar[str | None] = "rnn"

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
        return w_xh, params["bias"].unsqueeze(-2)  # and [N, 1, H]

    def initial_state(
        self, weights: Weights, batch_size: int, num_steps: int | None = None
    ) -> State:
        """Zero h ``[N, B, H]``."""
        return (weights[0].new_zeros(weights[0].shape[0], batch_size, self.hidden_size),)

    def trace_spec(self) -> TraceSpec:
        """The product's input and the output."""
        return TraceSpec({"xh": self.input_size + self.hidden_size, "h": self.hidden_size})

    def gradient_spec(self) -> TraceSpec:
        """The gradient before the tanh."""
        return TraceSpec({"z": self.hidden_size})

    def eager_step(
        self, weights: Weights, x: Tensor, state: State, slot: Any = NO_SLOT
    ) -> tuple[Tensor, State]:
        """``h' = tanh([W_ih, W_hh] [x, h] + b)``."""
        w_xh, bias = weights
        xh = torch.cat((x, state[0]), -1, out=slot.xh)  # [N, B, I + H]
        h = torch.tanh(torch.baddbmm(bias, xh, w_xh), out=slot.h)
        return h, (h,)

    def laid_out(self, weights: Weights) -> Weights:
        """Both matrices transposed: ``[N, H, I]`` and ``[N, H, H]``."""
        w_ih, w_hh = torch.split(weights[0], [self.input_size, self.hidden_size], 1)
        return transposed(w_ih), transposed(w_hh)

    def step_backward(
        self, weights: Weights, after: State, slot: Any, d: Any, before: Tensor | None
    ) -> State:
        """Go back from h' = tanh(z) to z = W_ih x + W_hh h + b, and on to h."""
        # dz = dh' (1 - h'^2)
        dz = tanh_backward(after[0], slot.h, d.z)
        if before is None:
            return after
        # dh = dloss/dh + W_hh^T dz
        return (torch.baddbmm(before, dz, weights[1]),)

    def add_gradients(self, part: Trace, grads: Weights) -> None:
        """Sums over steps: ``dW = [x, h] dz^T``, ``db = dz``."""
        dz = part.gradients.flat("z")
        add_outer(grads[0], part.flat("xh"), dz)
        add_sum(grads[1], dz)

    def inputs_backward(self, weights: Weights, part: Trace) -> Tensor:
        """``dx = W_ih^T dz``."""
        return part.gradients["z"] @ weights[0].unsqueeze(1)  # [N, t, B, H] @ [N, 1, H, I]
