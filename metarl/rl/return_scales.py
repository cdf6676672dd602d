"""The size of returns so far, to divide rewards by: a critic's targets are then of the order of 1.

A value loss of returns of 5 to 50 has most of a gradient that is clipped, and leaves little of it
to the policy. Where the size of returns is known, `ActorCriticSettings.reward_scale` says it; here
it is followed, batch by batch::

    m_k = d m_{k-1} + (1 - d) mean(R^2),    size_k = sqrt(m_k / (1 - d^k))

with the discounted returns R of every step of the k-th batch, and nothing at its end. It is the
root of the mean square, not the deviation: returns that are all alike are large as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from metarl.rl.advantages import returns_to_go
from metarl.rl.losses import ActorCriticSettings
from metarl.rl.trajectory import Trajectory, mean_over_steps

DECAY = 0.99
"""What is left of a batch's weight in the mean square after another one."""


class ReturnScales:
    """Running sizes of the returns of N agents, each as it would be alone."""

    def __init__(self, num_agents: int, gamma: float, device: torch.device) -> None:
        """Begin without a batch.

        Args:
            num_agents: N.
            gamma: Discount of the returns.
            device: Where trajectories are.
        """
        self._gamma = gamma
        precise = torch.float32 if device.type == "mps" else torch.float64
        self._mean_square = torch.zeros(num_agents, dtype=precise, device=device)
        self._num_batches = 0

    @torch.no_grad()
    def after(self, played: Trajectory) -> Tensor:
        """Count a batch, and return the factor of its rewards ``[N]``: 1 / size.

        It is 1 as long as nothing has been paid.
        """
        squares = mean_over_steps(returns_to_go(played, self._gamma).square(), played.mask)
        self._mean_square.lerp_(squares.to(self._mean_square.dtype), 1 - DECAY)
        self._num_batches += 1
        size = (self._mean_square / (1 - DECAY**self._num_batches)).sqrt()
        return torch.where(size > 0, 1 / size, 1.0).to(played.rewards.dtype)

    def agent_state(self, index: int) -> dict[str, Any]:
        """Everything that is known of agent ``index``."""
        return {
            "mean_square": self._mean_square[index].clone(),
            "num_batches": self._num_batches,
        }

    def load_agent_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Take up where `agent_state` of every agent left off."""
        self._mean_square.copy_(torch.stack([state["mean_square"] for state in states]))
        self._num_batches = int(states[0]["num_batches"])


def return_scales(
    loss: ActorCriticSettings, num_agents: int, device: torch.device
) -> ReturnScales | None:
    """Sizes of the returns of N agents, where their loss divides by them; otherwise None."""
    running = loss.return_scaling == "running"
    return ReturnScales(num_agents, loss.gamma, device) if running else None
