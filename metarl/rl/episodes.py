"""Episodes of N tasks as one typed tuple, and what can be read from them.

One episode in each of B environments. An episode that ends before T leaves padding behind it,
which the mask tells from the episode and which pays nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Episodes(NamedTuple):
    """Episodes of N tasks. ``rewards[t]`` is the consequence of ``actions[t]``."""

    observations: Tensor  # [N, T, B, I], times 0 to T - 1, before each action
    actions: Tensor  # [N, T, B] int64, or [N, T, B, A]
    rewards: Tensor  # [N, T, B]; 0 after the end
    outputs: Tensor  # [N, T, B, D], the action distributions at the time of playing
    log_p: Tensor  # [N, T, B], log-probability of each action at the time of playing
    terminated: Tensor  # [N, T, B] bool: this step reached a true end; False after it
    truncated: Tensor  # [N, T, B] bool: this step was cut off, and reached no true end
    mask: Tensor  # [N, T, B], 1 until the end, that step included, and 0 after it
    last_observations: Tensor  # [N, B, I], after each episode's last step

    @property
    def num_tasks(self) -> int:
        """N."""
        return len(self.rewards)

    @property
    def returns(self) -> Tensor:
        """Undiscounted return of every episode, ``[N, B]``."""
        return self.rewards.sum(1)

    @property
    def lengths(self) -> Tensor:
        """Steps of every episode, ``[N, B]``, float."""
        return self.mask.sum(1)

    @property
    def all_observations(self) -> Tensor:
        """Those before each action, and right behind them the last one: ``[N, T + 1, B, I]``."""
        padded = torch.cat((self.observations, self.observations[:, -1:]), 1)
        last = self.last_observations.unsqueeze(1)
        return padded.scatter(1, self._end(last), last)

    def at_end(self, values: Tensor) -> Tensor:
        """Of values ``[N, T + 1, B, ...]`` those of the last observations, ``[N, B, ...]``."""
        return values.gather(1, self._end(values[:, :1])).squeeze(1)

    def _end(self, like: Tensor) -> Tensor:
        """Steps of every episode, as an index in the shape of ``like`` ``[N, 1, B, ...]``."""
        steps = self.lengths.to(torch.int64)
        return steps.view(len(steps), 1, -1, *(1,) * (like.dim() - 3)).expand_as(like)

    @property
    def unrewarded(self) -> Tensor:
        """1 for a task none of whose steps paid anything, ``[N]``, float.

        Where every reward is zero, so is the policy gradient: adaptation stands still.
        """
        return (self.rewards == 0).flatten(1).all(1).to(self.rewards.dtype)

    def select(self, tasks: slice) -> Episodes:
        """The episodes of these tasks alone (views)."""
        return Episodes(*(part[tasks] for part in self))


def sum_over_time(values: Tensor, mask: Tensor) -> Tensor:
    """Sum within every episode, mean over episodes: ``[N, T, B]`` to ``[N]``.

    A mean over time inside an episode would weigh the steps of short episodes more; where reaching
    a goal ends an episode, that is not the gradient of the return.
    """
    return (values * mask).sum(1).mean(1)


def mean_over_steps(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over all steps of a task, whichever episode they are in: ``[N, T, B]`` to ``[N]``."""
    return (values * mask).sum((1, 2)) / mask.sum((1, 2))
