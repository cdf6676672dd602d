"""How an agent meets its evaluator: begin a trial, act, observe.

One protocol serves agents that adapt through their hidden state and agents that adapt by gradient
steps: an evaluator calls `begin`, then `act` and `observe` in turn, and never asks which it is.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from metarl.core import Params, own_precision, scope, stack
from metarl.nn.recurrent import State, Weights
from metarl.rl.policy import ActorCritic


class Agent(Protocol):
    """Plays B trials side by side, each on a task of its own."""

    def begin(self, num_trials: int) -> None:
        """Forget the tasks before: B new trials start."""

    def act(self, observations: Tensor) -> Tensor:
        """Choose actions ``[B]`` (int64) for observations ``[B, I]``."""

    def observe(self, rewards: Tensor, terminated: Tensor, truncated: Tensor) -> None:
        """See what the actions led to, each ``[B]``; for agents whose input does not say."""


class RecurrentAgent:
    """An agent whose memory of a task is the state of its recurrent core."""

    def __init__(
        self,
        policy: ActorCritic,
        params: Params,
        generator: torch.Generator,
        *,
        greedy: bool = False,
    ) -> None:
        """Play with these parameters.

        Args:
            policy: The architecture.
            params: Parameters of one agent, without a leading axis.
            generator: Draws the actions; on the parameters' device.
            greedy: Take the most probable action instead of drawing one.
        """
        self.policy, self.generator, self.greedy = policy, generator, greedy
        self._params = stack([params])
        self._weights: Weights = policy.core.fuse(scope(self._params, "core"))
        self._state: State = ()

    def begin(self, num_trials: int) -> None:
        """Empty the memory."""
        self._state = self.policy.core.initial_state(self._weights, num_trials)

    @torch.no_grad()
    def act(self, observations: Tensor) -> Tensor:
        """Step the core, then draw from its policy."""
        x = observations.unsqueeze(0)  # [1, B, I]
        with own_precision(x):
            hidden, self._state = self.policy.core.step(self._weights, x, self._state)
        logits = self.policy.logits(self._params, hidden)[0]  # [B, A]
        if self.greedy:
            return logits.argmax(-1)
        probabilities = logits.softmax(-1)
        return torch.multinomial(probabilities, 1, generator=self.generator).squeeze(-1)

    def observe(self, rewards: Tensor, terminated: Tensor, truncated: Tensor) -> None:
        """Nothing to do: the next observation holds the action and the reward."""


class UniformAgent:
    """Every action is as likely as any other: the floor of every comparison."""

    def __init__(self, num_actions: int, generator: torch.Generator) -> None:
        """Draw among ``num_actions`` actions."""
        self.num_actions, self.generator = num_actions, generator

    def begin(self, num_trials: int) -> None:
        """Nothing to forget."""

    def act(self, observations: Tensor) -> Tensor:
        """Draw without looking."""
        size = (observations.shape[0],)
        device = self.generator.device
        return torch.randint(self.num_actions, size, generator=self.generator, device=device)

    def observe(self, rewards: Tensor, terminated: Tensor, truncated: Tensor) -> None:
        """Nothing to learn."""
