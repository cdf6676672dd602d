"""A policy that plays by kernels: core, heads and choice of one step are one call."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from metarl.core import Params, own_precision, scope
from metarl.native.recurrent import Choice
from metarl.nn.native_trace import NativeTrace
from metarl.nn.trace import NO_SLOT, Trace
from metarl.rl.distributions import Categorical
from metarl.rl.policies import Policy

Acts = Callable[[int, Tensor], Tensor]
"""From a step and its observations ``[N, B, I]`` to actions ``[N, B]`` or ``[N, B, A]``."""


def acting(
    policy: Policy, params: Params, perturbations: Tensor, trace: Trace | None
) -> Acts | NativePlayer:
    """Return what acts at every step of B stretches of N tasks.

    Args:
        policy: Who plays.
        params: Stacked parameters ``[N, ...]``.
        perturbations: Of the actor's outputs at every step, ``[N, T, B, num_means]``.
        trace: Where the core's activations are written; None: nowhere.
    """
    if isinstance(trace, NativeTrace) and policy.reads(trace):
        return NativePlayer(policy, params, perturbations, trace)
    num_steps, batch_size = perturbations.shape[1:3]
    slots = [NO_SLOT] * num_steps if trace is None else trace.slots
    player = policy.begin(params, batch_size, num_steps)
    shifts = player.shifts(perturbations)
    return lambda t, x: player.choose(x, shifts[t], slots[t])


class NativePlayer:
    """A policy of linear heads, whose core, heads and choice are one call a step."""

    def __init__(
        self, policy: Policy, params: Params, perturbations: Tensor, trace: NativeTrace
    ) -> None:
        """Begin with an empty memory; see `acting`."""
        self._policy, self._trunk = policy, scope(params, "trunk")
        self._run = trace.run
        with own_precision(next(iter(params.values()))):
            trace.begin(policy.core_weights(params, trace))
        self._noise = perturbations.to(trace.run.dtype)
        is_choice = type(policy.distribution) is Categorical
        self._choice = Choice(self._noise) if is_choice else None

    def __call__(self, t: int, observations: Tensor) -> Tensor:
        """Actions ``[N, B]`` or ``[N, B, A]`` at step t, for observations ``[N, B, I]``."""
        policy, x = self._policy, observations
        if policy.trunk is not None:
            x = policy.trunk(self._trunk, x)
        self._run.step(t, x, self._choice)
        if self._choice is not None:
            return self._choice.actions[t]
        means = self._run.readouts[:, t, :, : self._noise.shape[-1]]  # [N, B, num_means]
        return policy.distribution.choose(means + self._noise[:, t])
