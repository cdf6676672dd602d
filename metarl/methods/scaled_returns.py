"""Agents whose rewards are divided by the size of their returns, which is a part of their state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from metarl.rl import ActorCriticSettings
from metarl.rl.return_scales import ReturnScales
from metarl.train.loop import Learner


class ScaledAgents:
    """Agents as `MetaTraining` drives them, with the sizes of their returns in what is saved."""

    def __init__(self, agents: Learner, scales: ReturnScales) -> None:
        """Keep both.

        Args:
            agents: The trainer.
            scales: Sizes of the returns of its agents.
        """
        self._agents, self._scales = agents, scales

    def set_learning_rate_factor(self, factor: float) -> None:
        """Scale the learning rates."""
        self._agents.set_learning_rate_factor(factor)

    def agent_state(self, index: int) -> dict[str, Any]:
        """Everything agent ``index`` needs to go on."""
        return {**self._agents.agent_state(index), "returns": self._scales.agent_state(index)}

    def load_agent_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Take up where every agent left off."""
        self._agents.load_agent_states(states)
        self._scales.load_agent_states([state["returns"] for state in states])


def return_scales(
    loss: ActorCriticSettings, num_agents: int, device: torch.device
) -> ReturnScales | None:
    """Sizes of the returns of N agents, where their loss divides by them; otherwise None."""
    running = loss.return_scaling == "running"
    return ReturnScales(num_agents, loss.gamma, device) if running else None
