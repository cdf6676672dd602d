"""Advantages of episodes that end at different times, per task, with the times each array covers.

Axes ``[N, T, B]``. ``rewards[t]`` is the consequence of ``actions[t]``, ``values[t]`` the estimate
before it. What follows an episode's last step: nothing after a true end; after truncation, what a
critic says of the observation it led to. A baseline that sees the time instead (`LinearBaseline`)
estimates the return that is left of a *finite* horizon: nothing follows its truncation either.
"""

from __future__ import annotations

import torch
from torch import Tensor

from metarl.rl.episodes import Episodes, mean_over_steps
from metarl.rl.returns import discounted_returns


def returns_to_go(episodes: Episodes, gamma: float) -> Tensor:
    """``R_t = r_t + gamma R_{t+1}``, nothing after the last step.

    Returns:
        ``[N, T, B]``, times 0 to T - 1; 0 after an episode's end.
    """
    return discounted_returns(episodes.rewards, gamma)


def episode_advantages(
    episodes: Episodes,
    values: Tensor,
    last_values: Tensor | None,
    gamma: float,
    lambda_: float,
) -> Tensor:
    """Generalised advantage estimates (Schulman et al. 2016, equation 16).

    ``A_t = delta_t + gamma lambda A_{t+1}``, ``delta_t = r_t + gamma V_{t+1} - V_t``; after an
    episode's last step V is 0 if it terminated, else ``last_values``.

    Args:
        episodes: Whose rewards and ends.
        values: ``[N, T, B]``, times 0 to T - 1, before each action; anything after the end.
        last_values: ``[N, B]``, of ``episodes.last_observations``; None: nothing follows.
        gamma: Discount in [0, 1].
        lambda_: Weight of longer returns in [0, 1].

    Returns:
        Advantages ``[N, T, B]``, times 0 to T - 1; 0 after an episode's end.
    """
    going_on = torch.zeros_like(episodes.mask)  # 1 where the episode has a next step
    going_on[:, :-1] = episodes.mask[:, 1:]
    following = torch.zeros_like(values)
    following[:, :-1] = values[:, 1:]
    following = following * going_on
    if last_values is not None:
        cut = episodes.mask * (1 - going_on) * ~episodes.terminated
        following = following + cut * last_values.unsqueeze(1)
    delta = (episodes.rewards + gamma * following - values) * episodes.mask
    return discounted_returns(delta, gamma * lambda_)


def normalised(advantages: Tensor, episodes: Episodes) -> Tensor:
    """Mean 0 and deviation 1 over the steps of each task; exactly 0 where nothing was learned.

    Nothing is learned from a task whose rewards are all equal, in episodes of equal length: what
    its advantages differ by is the error of the baseline, and dividing by its size would make noise
    the equal of other tasks' signal. The same holds for differences of the order of rounding.

    Args:
        advantages: ``[N, T, B]``.
        episodes: They belong to.

    Returns:
        ``[N, T, B]``; 0 after an episode's end.
    """
    mask = episodes.mask
    centred = (advantages - mean_over_steps(advantages, mask).view(-1, 1, 1)) * mask
    deviation = mean_over_steps(centred.square(), mask).sqrt()
    size = mean_over_steps(advantages.square(), mask).sqrt()
    rounding = 10 * torch.finfo(advantages.dtype).eps * size
    silent = (deviation <= rounding) | _uneventful(episodes)
    scale = torch.where(silent, 0.0, 1 / (deviation + 1e-8))
    return centred * scale.view(-1, 1, 1)


def _uneventful(episodes: Episodes) -> Tensor:
    """Whether all rewards of a task are equal and its episodes equally long, bool ``[N]``."""
    first = episodes.rewards[:, :1, :1]
    equal = ((episodes.rewards == first) | (episodes.mask == 0)).flatten(1).all(1)
    lengths = episodes.lengths
    return equal & (lengths == lengths[:, :1]).all(1)
