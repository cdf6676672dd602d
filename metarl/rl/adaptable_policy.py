"""What adaptation by policy gradient asks of a policy, whether or not it remembers.

A policy is a frozen value; its parameters are passed in, stacked over N tasks. It is asked in two
ways: step by step while episodes are played (`begin`), and about whole episodes at once, as a loss
does, differentiably to any order (`outputs`, `values`). Both say the same: at the weights that
played, the ratio of probabilities taken anew to those that were stored is 1.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from metarl.core import Params
from metarl.nn import Network
from metarl.nn.recurrent import State
from metarl.rl.distributions import Distribution


class Player(Protocol):
    """A policy playing B episodes of each of N tasks, step by step, without a graph."""

    def means(self, observations: Tensor) -> Tensor:
        """What the actor gives for the observations of the next step.

        Args:
            observations: ``[N, B, I]``.

        Returns:
            ``[N, B, num_means]``.
        """

    def forget(self, over: Tensor) -> None:
        """Begin anew where an episode is over, bool ``[N, B]``."""

    @property
    def state(self) -> State:
        """What is remembered of the episodes, each ``[N, B, ...]``; empty where nothing is."""

    def resume(self, state: State) -> None:
        """Go on from a state."""


class AdaptablePolicy(Protocol):
    """N policies as one tensor program: actor, and perhaps critic."""

    @property
    def num_inputs(self) -> int | None:
        """I, the numbers in an observation; None: not known before it is seen."""

    @property
    def distribution(self) -> Distribution:
        """Over actions."""

    @property
    def critic(self) -> Network | None:
        """What `values` ends in; None: no critic."""

    @property
    def slow(self) -> tuple[str, ...]:
        """Name patterns of the parameters that stand still in adaptation."""

    @property
    def head(self) -> tuple[str, ...]:
        """Name patterns of the last layers and of the distribution's parameters, for ANIL."""

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the parameters of one policy (no leading axis), float32, on the CPU."""

    def begin(self, params: Params, num_episodes: int) -> Player:
        """Begin B episodes of each task with parameters ``[N, ...]``."""

    def outputs(self, params: Params, observations: Tensor) -> Tensor:
        """What describes the distributions over actions, ``[N, T, B, D]``.

        Args:
            params: Stacked parameters ``[N, ...]``.
            observations: Of B episodes from their first step on, ``[N, T, B, I]``.
        """

    def values(self, params: Params, observations: Tensor) -> Tensor:
        """The critic's estimates ``[N, T, B]``, of the same.

        Raises:
            ValueError: There is no critic.
        """
