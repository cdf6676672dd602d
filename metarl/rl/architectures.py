"""Policies of the usual parts: multilayer perceptrons, memories, linear heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from metarl.nn import MLP, Network, RecurrentCore
from metarl.rl.distributions import Distribution
from metarl.rl.heads import LinearHead
from metarl.rl.policies import Policy


def mlp_policy(
    num_inputs: int,
    distribution: Distribution,
    *,
    hidden: Sequence[int] = (64, 64),
    activation: Literal["relu", "tanh"] = "tanh",
    critic: bool = False,
    shared_trunk: bool = False,
) -> Policy:
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
        return Policy(head, distribution, MLP((hidden[-1], 1)) if critic else None, trunk)
    actor = MLP((num_inputs, *hidden, distribution.num_means), activation)
    judge = MLP((num_inputs, *hidden, 1), activation) if critic else None
    return Policy(actor, distribution, judge)


def recurrent_policy(
    core: RecurrentCore, distribution: Distribution, *, critic: bool = False
) -> Policy:
    """A core with linear heads, to adapt by gradient.

    Args:
        core: The memory of an episode.
        distribution: Over actions.
        critic: Whether there is a critic; it shares the core with the actor.
    """
    heads = mlp_policy(core.hidden_size, distribution, hidden=(), critic=critic)
    return Policy(heads.actor, distribution, heads.critic, core=core)


def actor_critic(
    core: RecurrentCore, distribution: Distribution, trunk: Network | None = None
) -> Policy:
    """A core with two linear heads in one product, to play trials with.

    Args:
        core: The memory of a trial.
        distribution: Over actions.
        trunk: Network between the observation and the core; None: there is none.
    """
    actor = LinearHead(core.hidden_size, distribution.num_means)
    return Policy(actor, distribution, LinearHead(core.hidden_size, 1), trunk, core)
