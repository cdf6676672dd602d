"""A policy that plays: step by step, with the memory of every stretch of experience.

What it says at a step is what `Policy.outputs_and_values` says of whole trajectories.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from metarl.core import Params, own_precision, scope
from metarl.nn.recurrent import State
from metarl.nn.trace import NO_SLOT, Trace
from metarl.rl.heads import LinearHead

if TYPE_CHECKING:
    from metarl.rl.policies import Policy


class Player:
    """A policy playing B stretches of experience of each of N tasks, step by step.

    Attributes:
        state: Memory of them, each ``[N, B, ...]``; empty where nothing is.
    """

    def __init__(
        self, policy: Policy, params: Params, batch_size: int, num_steps: int | None = None
    ) -> None:
        """Begin with an empty memory, and parameters ``[N, ...]``."""
        self._policy = policy
        self._params = {name: scope(params, name) for name in policy._parts}
        self._weights: tuple[Tensor, ...] = ()
        self.state: State = ()
        if policy.core is not None:
            core = self._params["core"]
            with own_precision(next(iter(core.values()))):
                self._weights = policy.core.fuse(core)
                self.state = policy.core.initial_state(self._weights, batch_size, num_steps)
        self._empty = self.state
        self._head = self._params["actor"].get("weight", next(iter(params.values())))

    def means(self, observations: Tensor, slot: Any = NO_SLOT) -> Tensor:
        """Compute the actor's output for the next observations.

        Args:
            observations: ``[N, B, I]``.
            slot: Slot of a trace, to write the core's activations into.

        Returns:
            ``[N, B, num_means]``.
        """
        hidden = self._hidden(observations, slot)
        return self._policy.actor(self._params["actor"], hidden)

    def _hidden(self, x: Tensor, slot: Any) -> Tensor:
        """Compute the inputs of the heads, ``[N, B, H]``."""
        policy = self._policy
        if policy.trunk is not None:
            x = policy.trunk(self._params["trunk"], x)
        if policy.core is not None:
            x, self.state = policy.core.step(self._weights, x, self.state, slot)
        return x

    def shifts(self, perturbations: Tensor) -> tuple[Tensor, ...]:
        """Arguments of `choose` at each of T steps, of perturbations ``[N, T, B, num_means]``."""
        if isinstance(self._policy.actor, LinearHead):  # the bias is added once for all steps
            perturbations = perturbations + self._params["actor"]["bias"][:, None, None]
        return perturbations.unbind(1)

    def choose(self, observations: Tensor, shift: Tensor, slot: Any = NO_SLOT) -> Tensor:
        """Actions ``[N, B]`` or ``[N, B, A]`` for the next observations.

        Args:
            observations: ``[N, B, I]``.
            shift: The shift that `shifts` gave for this step.
            slot: Slot of a trace, to write the core's activations into.
        """
        policy = self._policy
        if isinstance(policy.actor, LinearHead):
            hidden = self._hidden(observations, slot)
            return policy.distribution.choose(torch.baddbmm(shift, hidden, self._head))
        return policy.distribution.choose(self.means(observations, slot) + shift)

    def forget(self, over: Tensor) -> None:
        """Empty the memory where a stretch is over, bool ``[N, B]``."""
        if self._policy.core is not None:
            self.state = self._policy.core.emptied(self.state, self._empty, over)

    def resume(self, state: State) -> None:
        """Go on from a state.

        Raises:
            ValueError: It is that of other episodes, or of another core.
        """
        wanted, got = ([tuple(one.shape) for one in s] for s in (self._empty, state))
        core = self._policy.core
        if wanted != got if core is None else not core.fits(state, self._empty):
            raise ValueError(
                f"the state of these episodes has the shapes {wanted}, got {got}: hand in what the "
                "step before returned, or none to begin with an empty memory"
            )
        self.state = state


class StepPlayer:
    """A policy playing T steps of B stretches of N tasks, whose noise has been drawn."""

    def __init__(
        self, policy: Policy, params: Params, perturbations: Tensor, trace: Trace | None
    ) -> None:
        """Begin with an empty memory.

        Args:
            policy: Who plays.
            params: Stacked parameters ``[N, ...]``.
            perturbations: Of the actor's outputs at every step, ``[N, T, B, num_means]``.
            trace: Where the core's activations are written; None: nowhere.
        """
        num_steps, batch_size = perturbations.shape[1:3]
        self._player = Player(policy, params, batch_size, num_steps)
        self._shifts = self._player.shifts(perturbations)
        self._slots = [NO_SLOT] * num_steps if trace is None else trace.slots

    def __call__(self, t: int, observations: Tensor) -> Tensor:
        """Actions ``[N, B]`` or ``[N, B, A]`` at step t, for observations ``[N, B, I]``."""
        return self._player.choose(observations, self._shifts[t], self._slots[t])
