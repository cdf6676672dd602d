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
from metarl.nn.recurrent import State
from metarl.rl.distributions import Distribution


@dataclass(frozen=True)
class FeedForwardPolicy:
    """``a ~ distribution(actor(trunk(s)))``, ``v = critic(trunk(s))``.

    Parameters are ``trunk.NAME``, ``actor.NAME``, ``critic.NAME`` and the distribution's own
    (``log_std``).

    Attributes:
        actor: Gives ``distribution.num_means`` numbers for every observation; with warp layers
            (`nn.WarpMLP`) those are slow.
        distribution: Over actions.
        critic: Gives one number for every observation; None: no critic.
        trunk: What actor and critic look at the observation through; None: both see it itself.
    """

    actor: Network
    distribution: Distribution
    critic: Network | None = None
    trunk: Network | None = None

    @property
    def _networks(self) -> dict[str, Network]:
        """By the name that their parameters begin with."""
        networks = {"trunk": self.trunk, "actor": self.actor, "critic": self.critic}
        return {name: network for name, network in networks.items() if network is not None}

    @property
    def num_inputs(self) -> int | None:
        """I, where the network that looks at the observation says it."""
        return getattr(self.trunk or self.actor, "num_inputs", None)

    @property
    def slow(self) -> tuple[str, ...]:
        """Name patterns of the parameters that stand still in adaptation."""
        return tuple(f"{name}.{p}" for name, n in self._networks.items() for p in n.slow)

    @property
    def head(self) -> tuple[str, ...]:
        """Name patterns of the last layers and of the distribution's parameters, for ANIL."""
        ends = {name: n for name, n in self._networks.items() if name != "trunk"}
        heads = (f"{name}.{p}" for name, n in ends.items() for p in n.head)
        return (*heads, *self.distribution.init())

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the parameters of one policy (no leading axis), float32, on the CPU."""
        params: dict[str, Tensor] = {}
        for name, network in self._networks.items():
            params |= {f"{name}.{n}": p for n, p in network.init(generator).items()}
        return params | self.distribution.init()

    def begin(self, params: Params, num_episodes: int) -> FeedForwardPlayer:
        """Begin B episodes of each task; there is nothing to remember."""
        return FeedForwardPlayer(self, params)

    def means(self, params: Params, observations: Tensor) -> Tensor:
        """What the actor gives for observations ``[N, B, I]``: ``[N, B, num_means]``."""
        return self.actor(scope(params, "actor"), self._seen(params, observations))

    def _seen(self, params: Params, observations: Tensor) -> Tensor:
        if self.trunk is None:
            return observations
        return self.trunk(scope(params, "trunk"), observations)

    def outputs(self, params: Params, observations: Tensor) -> Tensor:
        """What describes the distributions over actions, ``[N, T, B, D]``.

        Args:
            params: Stacked parameters ``[N, ...]``.
            observations: ``[N, T, B, I]``.
        """
        means = self.means(params, observations.flatten(1, 2))  # [N, T * B, A]
        outputs = self.distribution.outputs(params, means)
        return outputs.view(*observations.shape[:3], -1)

    def values(self, params: Params, observations: Tensor) -> Tensor:
        """The critic's estimates ``[N, T, B]`` of observations ``[N, T, B, I]``.

        Raises:
            ValueError: There is no critic.
        """
        if self.critic is None:
            raise ValueError("this policy has no critic: give it one, or take another baseline")
        seen = self._seen(params, observations.flatten(1, 2))
        values = self.critic(scope(params, "critic"), seen)
        return values.view(observations.shape[:3])


@dataclass(frozen=True)
class FeedForwardPlayer:
    """Plays without a memory (`AdaptablePolicy.begin`)."""

    policy: FeedForwardPolicy
    params: Params

    def means(self, observations: Tensor) -> Tensor:
        """Means ``[N, B, num_means]`` for the next observations ``[N, B, I]``."""
        return self.policy.means(self.params, observations)

    def forget(self, over: Tensor) -> None:
        """Nothing to forget."""

    @property
    def state(self) -> State:
        """Nothing."""
        return ()

    def resume(self, state: State) -> None:
        """Nothing to go on from."""


def mlp_policy(
    num_inputs: int,
    distribution: Distribution,
    *,
    hidden: Sequence[int] = (64, 64),
    activation: Literal["relu", "tanh"] = "tanh",
    critic: bool = False,
    shared_trunk: bool = False,
) -> FeedForwardPolicy:
    """A policy of multilayer perceptrons.

    Args:
        num_inputs: I, numbers in an observation.
        distribution: Over actions.
        hidden: Sizes of the hidden layers, of actor and critic alike.
        activation: Between the layers.
        critic: Whether there is a critic.
        shared_trunk: Actor and critic share the hidden layers; else they share none.
    """
    if shared_trunk:
        trunk = MLP((num_inputs, *hidden), activation, activate_last=True)
        head = MLP((hidden[-1], distribution.num_means))
        return FeedForwardPolicy(
            head, distribution, MLP((hidden[-1], 1)) if critic else None, trunk
        )
    actor = MLP((num_inputs, *hidden, distribution.num_means), activation)
    judge = MLP((num_inputs, *hidden, 1), activation) if critic else None
    return FeedForwardPolicy(actor, distribution, judge)
