"""Differentiable plasticity (Miconi, Clune & Stanley 2018), with decaying Hebbian traces.

The rule of `metarl.nn.hebbian`, with one learned rate eta::

    h_t = tanh(W_ih x_t + b + (w + alpha * Hebb_{t-1}) h_{t-1})
    Hebb_t = (1 - eta) Hebb_{t-1} + eta h_{t-1} h_t^T

Left out: Oja's rule, the paper's alternative without decay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from metarl.core import Params
from metarl.nn.fused import add_sum
from metarl.nn.hebbian import HebbianRNN
from metarl.nn.recurrent import Weights
from metarl.nn.trace import Trace


@dataclass(frozen=True)
class PlasticRNN(HebbianRNN):
    """A plastic RNN with I inputs and H hidden units; eta starts at 0.1."""

    input_size: int
    hidden_size: int

    native: ClassVar[str | None] = "plastic"

    def init_rule(self, generator: torch.Generator) -> dict[str, Tensor]:
        """The learned rate."""
        return {"eta": torch.tensor(0.1)}

    def fuse_rule(self, params: Params) -> Weights:
        """Eta ``[N, 1, 1]``."""
        return (params["eta"].view(-1, 1, 1),)

    def rule_buffers(self) -> tuple[dict[str, int], dict[str, int]]:
        """Gradients by eta: through k, and through the decay."""
        return {}, {"k": self.hidden_size, "decay": 1}

    def show(self, rule: Weights, h: Tensor, out: Any) -> Tensor:
        """``k = eta h``."""
        return torch.mul(h, rule[0], out=out.k)

    def write(
        self, rule: Weights, hebb: Tensor, h: Tensor, k: Tensor, out: Tensor | None
    ) -> Tensor:
        """``(1 - eta) Hebb + h k^T``."""
        kept = torch.mul(hebb, 1 - rule[0].unsqueeze(-1), out=out)  # [N, B, H, H]
        return torch.addcmul(kept, h.unsqueeze(-1), k.unsqueeze(-2), out=out)  # [N, B, H, H]

    def write_backward(self, weights: Weights, r: Tensor, hebb: Sequence[Tensor], d: Any) -> None:
        """``R (1 - eta)``; the decay's gradient is ``-<alpha R, Hebb>`` in each maze."""
        eta = weights[4].unsqueeze(-1)  # [N, 1, 1, 1]
        outer = torch.mul(r, weights[3], out=d.outer)
        decay = torch.mul(outer, hebb[0], out=d.scratch).sum((-2, -1))  # [N, B]
        torch.neg(decay.unsqueeze(-1), out=d.decay)  # [N, B, 1]
        r.mul_(1 - eta)

    def show_backward(self, rule: Weights, dk: Tensor, slot: Any, d: Any) -> Tensor:
        """``eta dk``."""
        d.k.copy_(dk)
        return dk * rule[0]

    def add_rule_gradients(self, part: Trace, grads: Weights) -> None:
        """Add the gradients by eta: through k = eta h, and through the decay."""
        d = part.gradients
        add_sum(grads[0], (d.flat("k") * part.flat("h")).sum(-1, keepdim=True))
        add_sum(grads[0], d.flat("decay"))
