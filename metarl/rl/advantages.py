"""Returns and advantages of a trajectory, with the times each array covers.

Axes ``[N, T, B]``. ``rewards[t]`` is the consequence of ``actions[t]``, ``values[t]`` the estimate
before it. What follows the last step of a stretch: nothing after a true end; after truncation, what
a critic says of the observation it led to. Nothing follows truncation either where it is part of
the task: for an agent that sees the clock of its trial, and for a baseline that sees the time
(`LinearBaseline`), which estimates what is left of a *finite* horizon.
"""

from __future__ import annotations

import torch
from torch import Tensor

from metarl.native.sums import discounted_sums
from metarl.rl.trajectory import Trajectory, mean_over_steps


def discounted_returns(rewards: Tensor, gamma: float, goes_on: Tensor | None = None) -> Tensor:
    """``R_t = r_t + gamma R_{t+1}``, with nothing after the last step.

    Args:
        rewards: ``[..., T, B]``, times 0 to T - 1; 0 in the padding.
        gamma: Discount in [0, 1].
        goes_on: ``[..., T, B]``, 0 where nothing flows back from the step after; None: nowhere.

    Returns:
        ``[..., T, B]``, times 0 to T - 1; the first is the return of the whole stretch.
    """
    sums = discounted_sums(rewards, gamma, goes_on)
    if sums is not None:
        return sums
    steps = rewards.unbind(-2)
    cuts = [None] * len(steps) if goes_on is None else goes_on.unbind(-2)
    returns = [steps[-1]]
    for reward, cut in zip(reversed(steps[:-1]), reversed(cuts[:-1]), strict=True):
        following = returns[-1] if cut is None else returns[-1] * cut
        returns.append(torch.add(reward, following, alpha=gamma))
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


def returns_to_go(trajectory: Trajectory, gamma: float) -> Tensor:
    """``R_t = r_t + gamma R_{t+1}`` within each stretch, nothing after its last step.

    Returns:
        ``[N, T, B]``, times 0 to T - 1; 0 after an end.
    """
    return _within(trajectory, trajectory.rewards, gamma)


def generalised_advantages(
    trajectory: Trajectory,
    values: Tensor,
    last_values: Tensor | None,
    gamma: float,
    lambda_: float,
) -> Tensor:
    """Generalised advantage estimates (Schulman et al. 2016, equation 16).

    ``A_t = delta_t + gamma lambda A_{t+1}``, ``delta_t = r_t + gamma V_{t+1} - V_t``; after the
    last step of a stretch V is 0 if it terminated, else ``last_values``. At ``lambda_ = 1`` they
    are the returns minus the values.

    Args:
        trajectory: Whose rewards and ends.
        values: ``[N, T, B]``, times 0 to T - 1, before each action; anything after the end.
        last_values: ``[N, B]``, of ``trajectory.last_observations``; None: nothing follows. Nothing
            is known of what follows an end behind which the trajectory starts again.
        gamma: Discount in [0, 1].
        lambda_: Weight of longer returns in [0, 1].

    Returns:
        Advantages ``[N, T, B]``, times 0 to T - 1; 0 after an end.
    """
    mask = trajectory.mask
    following = torch.zeros_like(values)
    following[:, :-1] = values[:, 1:]
    following = following * trajectory.goes_on
    if last_values is not None:
        cut = trajectory.is_last * ~trajectory.terminated
        following = following + cut * last_values.unsqueeze(1)  # [N, 1, B]: over steps
    delta = (trajectory.rewards + gamma * following - values) * mask
    return _within(trajectory, delta, gamma * lambda_)


def _within(trajectory: Trajectory, rewards: Tensor, gamma: float) -> Tensor:
    """Discounted returns that stop where a stretch does: padding is 0, so that starts matter."""
    cuts = None if trajectory.starts is None else trajectory.goes_on
    return discounted_returns(rewards, gamma, cuts)


def standardised(advantages: Tensor, mask: Tensor) -> Tensor:
    """Mean 0 and (unbiased) deviation 1 over all steps of each agent.

    Args:
        advantages: ``[N, T, B]``.
        mask: ``[N, T, B]``, 1 within a stretch.

    Returns:
        ``[N, T, B]``; 0 after an end.
    """
    if mask.device.type == "cpu" and bool(mask.all()):  # elsewhere it would wait for the device
        deviation, mean = torch.std_mean(advantages, (1, 2), keepdim=True)
        return (advantages - mean) / (deviation + 1e-8)
    count = mask.sum((1, 2), keepdim=True)
    mean = (advantages * mask).sum((1, 2), keepdim=True) / count
    centred = (advantages - mean) * mask
    variance = centred.square().sum((1, 2), keepdim=True) / (count - 1)
    return centred / (variance.sqrt() + 1e-8)


def normalised(advantages: Tensor, trajectory: Trajectory) -> Tensor:
    """Mean 0 and deviation 1 over the steps of each task; exactly 0 where nothing was learned.

    Nothing is learned from a task whose rewards are all equal, in episodes of equal length: what
    its advantages differ by is the error of the baseline, and dividing by its size would make noise
    the equal of other tasks' signal. The same holds for differences of the order of rounding.

    Args:
        advantages: ``[N, T, B]``.
        trajectory: Trajectory of the advantages.

    Returns:
        ``[N, T, B]``; 0 after an end.
    """
    mask = trajectory.mask
    centred = (advantages - mean_over_steps(advantages, mask).view(-1, 1, 1)) * mask
    deviation = mean_over_steps(centred.square(), mask).sqrt()  # [N]
    size = mean_over_steps(advantages.square(), mask).sqrt()
    rounding = 10 * torch.finfo(advantages.dtype).eps * size
    silent = (deviation <= rounding) | _uneventful(trajectory)
    scale = torch.where(silent, 0.0, 1 / (deviation + 1e-8))
    return centred * scale.view(-1, 1, 1)  # [N] as [N, 1, 1]


def _uneventful(trajectory: Trajectory) -> Tensor:
    """Whether all rewards of a task are equal and its episodes equally long, bool ``[N]``."""
    first = trajectory.rewards[:, :1, :1]
    equal = ((trajectory.rewards == first) | (trajectory.mask == 0)).flatten(1).all(1)  # [N]
    lengths = trajectory.lengths
    return equal & (lengths == lengths[:, :1]).all(1)
