"""Feed-forward policies with weights of their own for every task: actor, and perhaps critic.

A policy is a frozen value; its parameters are passed in, stacked over N tasks, and one batched
matrix product a layer serves all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from metarl.core import Params, scope
from metarl.nn import MLP, Network
from metarl.rl.distributions import Distribution


@dataclass(frozen=True)
class FeedForwardPolicy:
    """``a ~ distribution(actor(s))``, ``v = critic(s)``.

    Parameters are ``actor.NAME``, ``critic.NAME`` and the distribution's own (``log_std``).

    Attributes:
        actor: Gives ``distribution.num_means`` numbers for every observation; with warp layers
            (`nn.WarpMLP`) those are slow.
        distribution: Over actions.
        critic: Gives one number for every observation; None: no critic.
    """

    actor: Network
    distribution: Distribution
    critic: Network | None = None

    @property
    def slow(self) -> tuple[str, ...]:
        """Name patterns of the parameters that stand still in adaptation."""
        of_critic = self.critic.slow if self.critic else ()
        return (*(f"actor.{p}" for p in self.actor.slow), *(f"critic.{p}" for p in of_critic))

    @property
    def head(self) -> tuple[str, ...]:
        """Name patterns of the last layers and of the distribution's parameters, for ANIL."""
        of_critic = self.critic.head if self.critic else ()
        heads = (*(f"actor.{p}" for p in self.actor.head), *(f"critic.{p}" for p in of_critic))
        return (*heads, *self.distribution.init())

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the parameters of one policy (no leading axis), float32, on the CPU."""
        params = {f"actor.{n}": p for n, p in self.actor.init(generator).items()}
        params |= self.distribution.init()
        if self.critic:
            params |= {f"critic.{n}": p for n, p in self.critic.init(generator).items()}
        return params

    def outputs(self, params: Params, observations: Tensor) -> Tensor:
        """What describes the distributions over actions, ``[N, T, B, D]``.

        Args:
            params: Stacked parameters ``[N, ...]``.
            observations: ``[N, T, B, I]``.
        """
        means = self.actor(scope(params, "actor"), observations.flatten(1, 2))  # [N, T * B, A]
        outputs = self.distribution.outputs(params, means)
        return outputs.view(*observations.shape[:3], -1)

    def values(self, params: Params, observations: Tensor) -> Tensor:
        """The critic's estimates ``[N, T, B]`` of observations ``[N, T, B, I]``.

        Raises:
            ValueError: There is no critic.
        """
        if self.critic is None:
            raise ValueError("this policy has no critic: give it one, or take another baseline")
        values = self.critic(scope(params, "critic"), observations.flatten(1, 2))
        return values.view(observations.shape[:3])


def mlp_policy(
    num_inputs: int,
    distribution: Distribution,
    *,
    hidden: Sequence[int] = (64, 64),
    activation: Literal["relu", "tanh"] = "tanh",
    critic: bool = False,
) -> FeedForwardPolicy:
    """A policy of multilayer perceptrons: actor and critic share no layer.

    Args:
        num_inputs: I, numbers in an observation.
        distribution: Over actions.
        hidden: Sizes of the hidden layers, of actor and critic alike.
        activation: Between the layers.
        critic: Whether there is a critic.
    """
    actor = MLP((num_inputs, *hidden, distribution.num_means), activation)
    judge = MLP((num_inputs, *hidden, 1), activation) if critic else None
    return FeedForwardPolicy(actor, distribution, judge)
