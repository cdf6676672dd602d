"""Agents, and what is kept of each beside its weights and optimisers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from metarl.train.loop import Learner


class Beside(Protocol):
    """State of every agent beside its weights."""

    def agent_state(self, index: int) -> dict[str, Any]:
        """Everything that is known of agent ``index``."""

    def load_agent_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Take up where `agent_state` of every agent left off."""


class WithBesides:
    """Agents, and what is saved with them: sizes of their returns, the levels they train on."""

    def __init__(self, agents: Learner, besides: Mapping[str, Beside]) -> None:
        """Keep both.

        Args:
            agents: The trainer.
            besides: What is kept beside it, by its name in a checkpoint.
        """
        self._agents, self._besides = agents, besides

    def set_learning_rate_factor(self, factor: float) -> None:
        """Scale the learning rates."""
        self._agents.set_learning_rate_factor(factor)

    def agent_state(self, index: int) -> dict[str, Any]:
        """Everything agent ``index`` needs to go on."""
        besides = {name: one.agent_state(index) for name, one in self._besides.items()}
        return {**self._agents.agent_state(index), **besides}

    def load_agent_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Take up where every agent left off."""
        self._agents.load_agent_states(states)
        for name, one in self._besides.items():
            one.load_agent_states([state[name] for state in states])
