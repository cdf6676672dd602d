"""Losses and scores of N tasks: outputs ``[N, B, D]`` and targets in, ``[N]`` out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch.nn.functional as F
from torch import Tensor

Criterion: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the B examples of -log p(target), in nats; targets ``[N, B]`` are classes."""
    log_p = F.log_softmax(logits, -1)
    return -log_p.gather(-1, targets.unsqueeze(-1)).squeeze(-1).mean(1)


def accuracy(logits: Tensor, targets: Tensor) -> Tensor:
    """Fraction of the B examples whose largest logit is the target's."""
    return (logits.argmax(-1) == targets).to(logits.dtype).mean(1)


def mean_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean of squared differences over examples and outputs; targets ``[N, B, D]``."""
    return (outputs - targets).square().flatten(1).mean(1)


def mean_absolute_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean of absolute differences over examples and outputs; targets ``[N, B, D]``."""
    return (outputs - targets).abs().flatten(1).mean(1)
