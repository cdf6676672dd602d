"""Returns and advantages of fixed-length batches, with the times each array covers.

Axes ``[..., T, B]``. ``rewards[t]`` is the consequence of ``actions[t]``; ``values[t]`` is the
estimate before ``actions[t]``. A trial has a known length and the agent sees its clock, so that
nothing follows the last step: its truncation is part of the task, and the value after it is zero.
Left out: trials that terminate before their last step.
"""

from __future__ import annotations

import torch
from torch import Tensor


def discounted_returns(rewards: Tensor, gamma: float) -> Tensor:
    """``R_t = r_t + gamma R_{t+1}``, with nothing after the last step.

    Args:
        rewards: ``[..., T, B]``, times 0 to T - 1.
        gamma: Discount in [0, 1].

    Returns:
        ``[..., T, B]``, times 0 to T - 1; the first is the return of the whole trial.
    """
    steps = rewards.unbind(-2)
    returns = [steps[-1]]
    for reward in reversed(steps[:-1]):
        returns.append(torch.add(reward, returns[-1], alpha=gamma))
    return torch.stack(returns[::-1], -2)


def delayed_returns(rewards: Tensor, gamma: float) -> Tensor:
    """The published maze code's returns: action t is credited with the reward before it.

    ``R_t = r_{t-1} + gamma R_{t+1}`` with ``r_{-1} = 0``; the last reward is lost.

    Args:
        rewards: ``[..., T, B]``, times 0 to T - 1.
        gamma: Discount in [0, 1].

    Returns:
        ``[..., T, B]``, times 0 to T - 1.
    """
    shifted = torch.zeros_like(rewards)
    shifted[..., 1:, :] = rewards[..., :-1, :]
    return discounted_returns(shifted, gamma)


def generalised_advantages(rewards: Tensor, values: Tensor, gamma: float, lambda_: float) -> Tensor:
    """Generalised advantage estimates (Schulman et al. 2016, equation 16).

    ``A_t = delta_t + gamma lambda A_{t+1}``, ``delta_t = r_t + gamma V_{t+1} - V_t``, ``V_T = 0``.
    At ``lambda_ = 1`` they are the returns minus the values.

    Args:
        rewards: ``[..., T, B]``, times 0 to T - 1.
        values: ``[..., T, B]``, times 0 to T - 1, before each action.
        gamma: Discount in [0, 1].
        lambda_: Weight of longer returns in [0, 1].

    Returns:
        Advantages ``[..., T, B]``, times 0 to T - 1.
    """
    following = torch.zeros_like(values)
    following[..., :-1, :] = values[..., 1:, :]
    return discounted_returns(rewards + gamma * following - values, gamma * lambda_)
