"""A policy whose actor is a perceptron on the observation alone: what it said is kept.

It would say the same to the last bit of all steps at once, so that no second pass is taken. And
whole episodes are one call in a world that the environment hands over. It says so by a method
``hand_over(worlds, num_steps)``: called after a reset with the names of the worlds that kernels
know, and the steps that will be taken, it returns the numbers of the episodes that have begun,
which count as over then; or None where it would rather be stepped. What is handed over, says
`native.episode.play`. The method is looked for on the environment's own class: a wrapper that only
passes it on would be passed by.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metarl.core import Params, scope
from metarl.native.episode import WORLDS, play, playable
from metarl.nn import MLP, WarpMLP
from metarl.rl.distributions import Gaussian
from metarl.rl.policies import Policy
from metarl.rl.trajectory import Experience


class RowPlayer:
    """Plays T steps of B stretches of N tasks, one by one or all at once."""

    def __init__(self, policy: Policy, params: Params, perturbations: Tensor) -> None:
        """Play with these parameters, under which a policy `Policy.acts_on_rows`.

        Args:
            policy: Who plays.
            params: Stacked parameters ``[N, ...]``.
            perturbations: Of the actor's means at every step, ``[N, T, B, A]``.
        """
        self._policy, self._perturbations = policy, perturbations
        self._actor = scope(params, "actor")
        self._means: list[Tensor] = []

    def __call__(self, t: int, observations: Tensor) -> Tensor:
        """Actions ``[N, B]`` or ``[N, B, A]`` at step t, for observations ``[N, B, I]``."""
        means = self._policy.actor(self._actor, observations)
        self._means.append(means)
        return self._policy.distribution.choose(means + self._perturbations[:, t])

    @property
    def said(self) -> Tensor:
        """The actor's means at the steps that were played one by one, ``[N, T, B, A]``."""
        return torch.stack(self._means, 1)

    def play(self, env: object) -> Experience | None:
        """Play the episodes that have begun; None: step by step, they are not for a kernel.

        Args:
            env: N * B environments after a reset.
        """
        actor, shifts = self._policy.actor, self._perturbations
        hand_over: Any = getattr(type(env), "hand_over", None)
        if hand_over is None or not isinstance(self._policy.distribution, Gaussian):
            return None
        assert isinstance(actor, MLP | WarpMLP)  # `Policy.acts_on_rows`
        layers = actor.layers()
        params = layers.own(self._actor)
        if not playable(layers.net, params, shifts):
            return None
        world = hand_over(env, WORLDS, shifts.shape[1])
        if world is None:
            return None
        played = play(layers.net, params, shifts, world)
        return Experience(
            played.observations[:, :-1],
            played.actions,
            played.rewards,
            played.terminated,
            played.truncated,
            played.observations[:, 1:],
            None,
            played.means,
        )
