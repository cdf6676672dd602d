"""Policies that remember, with weights of their own for every task: a recurrent core and heads.

The memory is that of an episode: it is empty at the start of each, and what carries over from one
episode to the next is what adaptation has made of the weights. (Where memory itself is to learn a
task over several episodes, RL^2, see `metarl.rl.policy` and `metarl.rl.trials`.)

Whole episodes go through `RecurrentCore.unrolled`, which autograd differentiates to any order and
in either mode: a meta-gradient through adaptation needs the second derivative, TRPO a directional
one. `RecurrentCore.sequence` promises the first derivative alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metarl.core import Params, own_precision, prefixed, scope
from metarl.nn import Network, RecurrentCore
from metarl.nn.recurrent import State, emptied
from metarl.rl.distributions import Distribution
from metarl.rl.mlp_policy import FeedForwardPolicy, mlp_policy


@dataclass(frozen=True)
class RecurrentPolicy:
    """``h_t, m_t = core(s_t, m_{t-1})``, ``m_0 = 0``, ``a_t ~ heads(h_t)``, ``v_t = heads(h_t)``.

    Parameters are ``core.NAME`` and those of the heads.

    Attributes:
        core: The memory; its slow weights (`nn.WarpRNN`) are the policy's.
        heads: Actor, and perhaps critic, on the core's output.
    """

    core: RecurrentCore
    heads: FeedForwardPolicy

    @property
    def num_inputs(self) -> int | None:
        """The core's."""
        return self.core.input_size

    @property
    def distribution(self) -> Distribution:
        """The heads'."""
        return self.heads.distribution

    @property
    def critic(self) -> Network | None:
        """The heads'."""
        return self.heads.critic

    @property
    def slow(self) -> tuple[str, ...]:
        """Name patterns of the parameters that stand still in adaptation."""
        return (*(f"core.{pattern}" for pattern in self.core.slow), *self.heads.slow)

    @property
    def head(self) -> tuple[str, ...]:
        """The heads' last layers."""
        return self.heads.head

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the parameters of one policy (no leading axis), float32, on the CPU."""
        return {**prefixed(self.core.init(generator), "core"), **self.heads.init(generator)}

    def begin(self, params: Params, num_episodes: int) -> RecurrentPlayer:
        """Begin B episodes of each task with an empty memory."""
        return RecurrentPlayer(self, params, num_episodes)

    def outputs(self, params: Params, observations: Tensor) -> Tensor:
        """What describes the distributions over actions, ``[N, T, B, D]``.

        Args:
            params: Stacked parameters ``[N, ...]``.
            observations: Of B episodes from their first step on, ``[N, T, B, I]``.
        """
        return self.heads.outputs(params, self._remembered(params, observations))

    def values(self, params: Params, observations: Tensor) -> Tensor:
        """The critic's estimates ``[N, T, B]``, of the same.

        Raises:
            ValueError: There is no critic.
        """
        return self.heads.values(params, self._remembered(params, observations))

    def _remembered(self, params: Params, observations: Tensor) -> Tensor:
        """The core's outputs ``[N, T, B, H]``."""
        # Not `self.core.sequence`: see the module's docstring.
        with own_precision(observations):
            return self.core.unrolled(scope(params, "core"), observations)


class RecurrentPlayer:
    """Plays with a memory (`AdaptablePolicy.begin`)."""

    def __init__(self, policy: RecurrentPolicy, params: Params, num_episodes: int) -> None:
        """Begin B episodes of each task, with parameters ``[N, ...]``."""
        self._policy, self._params = policy, params
        core = scope(params, "core")
        with own_precision(next(iter(core.values()))):
            self._weights = policy.core.fuse(core)
            self._empty = self._state = policy.core.initial_state(self._weights, num_episodes)

    def means(self, observations: Tensor) -> Tensor:
        """Means ``[N, B, num_means]`` for the next observations ``[N, B, I]``."""
        with own_precision(observations):
            hidden, self._state = self._policy.core.step(self._weights, observations, self._state)
        return self._policy.heads.means(self._params, hidden)

    def forget(self, over: Tensor) -> None:
        """Empty the memory where an episode is over, bool ``[N, B]``."""
        self._state = emptied(self._state, self._empty, over)

    @property
    def state(self) -> State:
        """The core's, each ``[N, B, ...]``."""
        return self._state

    def resume(self, state: State) -> None:
        """Go on from a state.

        Raises:
            ValueError: It is that of other episodes, or of another core.
        """
        wanted, got = ([tuple(one.shape) for one in s] for s in (self._empty, state))
        if wanted != got:
            raise ValueError(
                f"the state of these episodes has the shapes {wanted}, got {got}: hand in what the "
                "step before returned, or none to begin anew"
            )
        self._state = state


def recurrent_policy(
    core: RecurrentCore, distribution: Distribution, *, critic: bool = False
) -> RecurrentPolicy:
    """A core with linear heads.

    Args:
        core: The memory.
        distribution: Over actions.
        critic: Whether there is a critic; it shares the core with the actor.
    """
    heads = mlp_policy(core.hidden_size, distribution, hidden=(), critic=critic)
    return RecurrentPolicy(core, heads)
