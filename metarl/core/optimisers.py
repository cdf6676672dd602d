"""Outer optimisers as settings, and gradient clipping that keeps stacked agents apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from metarl.core.params import along, precise


@dataclass(frozen=True)
class OptimiserSettings:
    """The choice of an optimiser, and the size of its steps.

    Adam and RMSprop act on each number alone, so that N stacked agents stay N agents.

    Attributes:
        name: Optimiser.
        lr: Learning rate.
        beta1: Decay of the first moment (momentum for SGD).
        beta2: Decay of the second moment.
        eps: Added to the root of the second moment.
        weight_decay: Coupled L2 decay.
    """

    name: Literal["adam", "rmsprop", "sgd"] = "adam"
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers, before any work starts, as torch's optimisers would."""
        for name in ("lr", "eps", "weight_decay"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and at least 0, got {value}")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")

    def build(self, params: Iterable[Tensor]) -> torch.optim.Optimizer:
        """Make the optimiser for these tensors."""
        params = list(params)
        lr, decay = self.lr, self.weight_decay
        match self.name:
            case "adam":
                betas = (self.beta1, self.beta2)
                return torch.optim.Adam(params, lr, betas, self.eps, decay, fused=True)
            case "rmsprop":
                return torch.optim.RMSprop(params, lr, self.beta2, self.eps, decay, self.beta1)
            case "sgd":
                return torch.optim.SGD(params, lr, self.beta1, weight_decay=decay)


def gradient_norms(gradients: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm of each agent's gradient over all parameters ``[N, ...]``: ``[N]``.

    In at least float32: in float16 a norm above 65504 would be infinite.
    """
    # Agent by agent: how a sum is rounded depends on the shape of the tensor it is taken in.
    parts = [precise(part) for g in gradients for part in g.unbind()]
    norms = torch.stack(torch._foreach_norm(parts)).view(len(gradients), -1)  # [P, N]
    return torch.stack([torch.linalg.vector_norm(own) for own in norms.T.contiguous().unbind()])


def clip_gradients(gradients: Sequence[Tensor], max_norm: float) -> tuple[list[Tensor], Tensor]:
    """Scale each agent's gradient to a norm of at most ``max_norm``.

    The given tensors are left alone: autograd may hand out one tensor as the gradient of two
    parameters (biases that are added), which scaling in place would scale twice.

    Args:
        gradients: Tensors ``[N, ...]``, one a parameter.
        max_norm: The largest norm allowed.

    Returns:
        The clipped gradients, and the norms before clipping, ``[N]``.
    """
    norms = gradient_norms(gradients)
    factors = (max_norm / (norms + 1e-6)).clamp(max=1.0)
    clipped = [(g * along(factors, g)).to(g.dtype) for g in gradients]
    return clipped, norms
