"""Metrics of the episodes in trials: what is earned before and after an agent knows its task."""

from __future__ import annotations

import torch
from torch import Tensor

from metarl.rl import Trajectory


def episode_metrics(
    played: Trajectory, num_episodes: int, flag: int | None = None
) -> dict[str, Tensor]:
    """Metrics of the episodes in trials, ``[N]`` each, means over trials.

    Args:
        played: The trials.
        num_episodes: Episodes of each.
        flag: Number of the input that is 1 where an episode has just begun, of episodes that end in
            their own time; None: all are of one length.

    Returns:
        ``return_before``: of the first episode; ``return``: of the last; ``trial_return``: of all
        together; ``unrewarded``: the fraction of trials whose first episode paid nothing.
    """
    rewards = played.rewards
    num_agents, num_steps, num_trials = rewards.shape
    if flag is None:
        # [N, episodes, steps, B]
        episodes = rewards.view(num_agents, num_episodes, num_steps // num_episodes, num_trials)
        returns, unrewarded = episodes.sum(2), (episodes[:, 0] <= 0).all(1)
    else:
        numbers = played.observations[..., flag].cumsum(1).to(torch.int64) - 1  # [N, T, B]
        unrewarded = ((rewards <= 0) | (numbers > 0)).all(1)
        last = numbers.clamp(max=num_episodes - 1)  # what lies behind the end paid nothing
        returns = rewards.new_zeros(num_agents, num_episodes, num_trials)
        returns = returns.scatter_add(1, last, rewards)
    return {
        "return_before": returns[:, 0].mean(-1),
        "return": returns[:, -1].mean(-1),
        "trial_return": returns.sum(1).mean(-1),
        "unrewarded": unrewarded.float().mean(-1),
    }
