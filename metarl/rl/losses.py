"""Actor-critic losses on whole batches, one number an agent.

Axes ``[N, T, B]``, and ``[N, A, T, B]`` where there is a number for every action. Every loss is a
mean over T and B, ``[N]``, so that N agents trained as one program get the gradients that each
would get alone.
"""

from __future__ import annotations

import torch
from torch import Tensor


def log_probabilities(logits: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of all actions ``[N, A, T, B]`` and of those taken ``[N, T, B]``."""
    log_p = logits.log_softmax(1)
    return log_p, log_p.gather(1, actions.unsqueeze(1)).squeeze(1)


def policy_gradient(log_p_taken: Tensor, advantages: Tensor) -> Tensor:
    """``-E[log pi(a) A]`` (Williams 1992); advantages are constants. Returns ``[N]``."""
    return -(log_p_taken * advantages).mean((1, 2))


def clipped_surrogate(
    log_p_taken: Tensor, old_log_p_taken: Tensor, advantages: Tensor, clip: float
) -> Tensor:
    """``-E[min(r A, clip(r, 1 - clip, 1 + clip) A)]`` (Schulman et al. 2017, equation 7)."""
    ratio = (log_p_taken - old_log_p_taken).exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return -torch.minimum(ratio * advantages, clipped * advantages).mean((1, 2))


def squared_error(values: Tensor, returns: Tensor) -> Tensor:
    """``E[(R - V)^2]`` of a critic; returns are constants. Returns ``[N]``."""
    return (returns - values).square().mean((1, 2))


def shannon_entropy(log_p: Tensor) -> Tensor:
    """``E[-sum_a p log p]`` in nats, ``[N]``: at most log A."""
    return -(log_p.exp() * log_p).sum(1).mean((1, 2))


def simpson_index(log_p: Tensor) -> Tensor:
    """``E[sum_a p^2]``, ``[N]``: the chance that two samples agree, 1 / A to 1 (Simpson 1949).

    The maze papers minimise it and call it entropy.
    """
    return (2 * log_p).exp().sum(1).mean((1, 2))
