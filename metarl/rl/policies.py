"""The policy: trunk, core and heads, each a network of its own, with weights for every task.

    x_t = trunk(s_t),   h_t, m_t = core(x_t, m_{t-1}),   a_t ~ distribution(actor(h_t)),
    v_t = critic(h_t)

A policy is a frozen value; its parameters are passed in, stacked over N tasks (or agents), and one
batched matrix product per layer serves all of them. Trunk, core and critic may be absent. It is
asked in two ways: step by step while it plays (`Policy.begin`), and about whole trajectories at
once, as a loss does (`Policy.outputs_and_values`). Both say the same: at the weights that played,
the ratio of probabilities taken again to those that were stored is 1.

A core's memory is empty where a stretch of experience starts. For adaptation by gradient that is an
episode, and what carries over to the next is what adaptation has made of the weights; where memory
itself is to learn a task over several episodes (RL^2), it is a trial.

Whole trajectories go through `RecurrentCore.unrolled`, which is differentiable to any order and in
either mode: a meta-gradient through adaptation needs the second derivative, TRPO a directional one.
Where a rollout has recorded the core's activations (`Trajectory.trace`) they are not computed
again, and back-propagation through time may be written by hand: the first derivative alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from metarl.core import Params, own_precision, scope
from metarl.nn import MLP, Network, RecurrentCore, Trace, WarpMLP
from metarl.nn.native_core import NativeCore, NativeTrace
from metarl.nn.recurrent import State, Weights
from metarl.rl.distributions import Distribution
from metarl.rl.heads import LinearHead, joint_heads, num_joint_outputs
from metarl.rl.player import Player


@dataclass(frozen=True)
class Policy:
    """N policies as one tensor program; see the module.

    Parameters are ``trunk.NAME``, ``core.NAME``, ``actor.NAME``, ``critic.NAME`` and the
    distribution's own (``log_std``).

    Attributes:
        actor: Gives ``distribution.num_means`` numbers for every observation; with warp layers
            (`nn.WarpMLP`) those are slow.
        distribution: Over actions.
        critic: Gives one number for every observation; None: no critic.
        trunk: Network between the observation and all else; None: they see it itself.
        core: The memory, whose slow weights (`nn.WarpRNN`) are the policy's; None: none.
    """

    actor: Network
    distribution: Distribution
    critic: Network | None = None
    trunk: Network | None = None
    core: RecurrentCore | None = None

    @property
    def _parts(self) -> dict[str, Network | RecurrentCore]:
        """The parts by the name that their parameters begin with, in the order of drawing them."""
        parts = {
            "trunk": self.trunk,
            "core": self.core,
            "actor": self.actor,
            "critic": self.critic,
        }
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def num_inputs(self) -> int | None:
        """I, where the part that looks at the observation says it."""
        if self.trunk is None and self.core is not None:
            return self.core.input_size
        return getattr(self.trunk or self.actor, "num_inputs", None)

    @property
    def slow(self) -> tuple[str, ...]:
        """Name patterns of the parameters that stand still in adaptation."""
        return tuple(f"{name}.{p}" for name, part in self._parts.items() for p in part.slow)

    @property
    def head(self) -> tuple[str, ...]:
        """Name patterns of the last layers and of the distribution's parameters, for ANIL."""
        actor = tuple(f"actor.{p}" for p in self.actor.head)
        critic = () if self.critic is None else tuple(f"critic.{p}" for p in self.critic.head)
        return (*actor, *critic, *self.distribution.init())

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the parameters of one policy (no leading axis), float32, on the CPU."""
        params: dict[str, Tensor] = {}
        for name, part in self._parts.items():
            params |= {f"{name}.{n}": p for n, p in part.init(generator).items()}
        return params | self.distribution.init()

    def begin(self, params: Params, batch_size: int, num_steps: int | None = None) -> Player:
        """Begin B stretches per task with parameters ``[N, ...]``, of T steps if that is known."""
        return Player(self, params, batch_size, num_steps)

    def outputs(self, params: Params, observations: Tensor) -> Tensor:
        """Compute the parameters of the distributions over actions, ``[N, T, B, D]``.

        Args:
            params: Stacked parameters ``[N, ...]``.
            observations: Observations of B stretches from their first step on, ``[N, T, B, I]``.
        """
        return self.outputs_and_values(params, observations, critic=False)[0]

    def values(self, params: Params, observations: Tensor) -> Tensor:
        """The critic's estimates ``[N, T, B]``, of the same.

        Raises:
            ValueError: There is no critic.
        """
        if self.critic is None:
            raise ValueError("this policy has no critic: give it one, or take another baseline")
        seen = self._seen(params, observations).flatten(1, 2)  # [N, T * B, H]
        values = self.critic(scope(params, "critic"), seen)  # [N, T * B, 1]
        return values.view(observations.shape[:3])  # [N, T, B]

    def outputs_and_values(
        self,
        params: Params,
        observations: Tensor,
        state: State | None = None,
        starts: Tensor | None = None,
        trace: Trace | None = None,
        *,
        critic: bool = True,
        memory: Trace | None = None,
        said: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Compute the parameters of the distributions over actions, and the critic's estimates.

        Args:
            params: Stacked parameters ``[N, ...]``.
            observations: ``[N, T, B, I]``.
            state: State of the core before step 0; None: empty.
            starts: bool ``[N, T, B]``: where memory is emptied before a step; None: nowhere.
            trace: The core's activations on all this under these parameters, if recorded.
            critic: Whether its estimates are wanted.
            memory: In place of a trace, memory for one: what is computed is differentiated once at
                most, and written over by the next call.
            said: The actor's means ``[N, T, B, A]`` where it has said them of the same under the
                same parameters, and `acts_on_rows`: they get a graph.

        Returns:
            ``[N, T, B, D]``, and ``[N, T, B]`` or None: there is no critic, or it was not asked.
        """
        time, values = observations.shape[1:3], None
        heads = self._joint_heads(params, observations, state, starts, trace, memory)
        if heads is not None:
            # [N, A + 1, T * B] to [N, T * B, A] as a view, and [N, T * B]
            means, values = heads[:, :-1].transpose(1, 2), heads[:, -1]
        else:
            # [N, T, B, H] to [N, T B, H]
            seen = self._seen(params, observations, state, starts, trace, memory).flatten(1, 2)
            actor = scope(params, "actor")
            if said is None or not isinstance(self.actor, MLP | WarpMLP):
                means = self.actor(actor, seen)  # [N, T * B, A]
            else:
                means = self.actor.layers()(actor, seen, said.flatten(1, 2))
            if critic and self.critic is not None:
                values = self.critic(scope(params, "critic"), seen)  # [N, T * B, 1]
        described = self.distribution.outputs(params, means)  # [N, T * B, D]
        outputs = described.view(len(means), *time, described.shape[-1])  # [N, T, B, D]
        return outputs, None if values is None else values.reshape(len(values), *time)

    def _joint_heads(
        self,
        params: Params,
        observations: Tensor,
        state: State | None,
        starts: Tensor | None,
        trace: Trace | None,
        memory: Trace | None,
    ) -> Tensor | None:
        """Both heads' outputs in one product, ``[N, A + 1, T * B]``; None: they are not linear."""
        if not self.num_readouts:
            return None
        read = self.read(params, observations, state, starts, trace, memory)
        if read is not None:
            return read.permute(0, 3, 1, 2).flatten(2)  # [N, T, B, A + 1]
        # [N, T, B, H] to [N, T B, H]
        seen = self._seen(params, observations, state, starts, trace, memory).flatten(1, 2)
        weight, bias = joint_heads(params)
        weight = weight.transpose(1, 2).contiguous()  # [N, A + 1, H]
        # [N, A + 1, H] @ [N, H, T B]
        return torch.baddbmm(bias.unsqueeze(-1), weight, seen.transpose(1, 2))

    def read(
        self,
        params: Params,
        observations: Tensor,
        state: State | None = None,
        starts: Tensor | None = None,
        trace: Trace | None = None,
        memory: Trace | None = None,
    ) -> Tensor | None:
        """Outputs of both heads, ``[N, T, B, A + 1]``, where a kernel reads them; else None.

        Args as of `outputs_and_values`.
        """
        native = memory if trace is None else trace
        if not self.reads(native):
            return None
        assert isinstance(native, NativeTrace)
        assert isinstance(self.core, NativeCore)
        if not self.core.takes(state):
            return None
        if native is trace and not torch.is_grad_enabled():
            return native.readouts()  # as they were said while it was recorded
        seen = self._encoded(params, observations)
        with own_precision(seen):
            weights = self.core_weights(params, native)
            if native is memory:
                with torch.no_grad():
                    self.core.record(weights, seen, state, starts, native)
            return self.core.read(weights, seen, starts, native)

    def _seen(
        self,
        params: Params,
        observations: Tensor,
        state: State | None = None,
        starts: Tensor | None = None,
        trace: Trace | None = None,
        memory: Trace | None = None,
    ) -> Tensor:
        """Compute the inputs of the heads, ``[N, T, B, H]``."""
        if trace is not None and "h" in trace and not torch.is_grad_enabled():
            return trace["h"]
        seen = self._encoded(params, observations)
        if self.core is None:
            return seen
        with own_precision(seen):
            core_params = scope(params, "core")
            if memory is not None:
                return self.core.once(core_params, seen, state, starts, memory)
            if trace is None:
                return self.core.unrolled(core_params, seen, state, starts)
            return self.core.sequence(core_params, seen, state, starts, trace)

    def _encoded(self, params: Params, observations: Tensor) -> Tensor:
        """Compute the inputs of the core, ``[N, T, B, ...]``."""
        if self.trunk is None:
            return observations
        num_tasks, *time = observations.shape[:3]
        seen = self.trunk(scope(params, "trunk"), observations.flatten(1, 2))  # [N, T * B, H]
        return seen.view(num_tasks, *time, -1)  # [N, T, B, H]

    def record_again(
        self,
        params: Params,
        observations: Tensor,
        state: State | None,
        starts: Tensor | None,
        trace: Trace,
    ) -> None:
        """Write the core's activations under other weights into the trace of a rollout."""
        assert self.core is not None
        with torch.no_grad(), own_precision(observations):
            seen = self._encoded(params, observations)
            self.core.record(self.core_weights(params, trace), seen, state, starts, trace)

    def empty_state(self, params: Params, batch_size: int) -> State:
        """The core's memory at the start of B trials per task, ``[N, B, ...]``; empty: no core."""
        if self.core is None:
            return ()
        weights = self.core.fuse({n: p.detach() for n, p in scope(params, "core").items()})
        return self.core.initial_state(weights, batch_size)

    def state_after(
        self, params: Params, observations: Tensor, state: State, starts: Tensor | None
    ) -> State:
        """The core's memory after observations ``[N, T, B, I]``, without a graph."""
        if self.core is None:
            return ()
        with torch.no_grad(), own_precision(observations):
            seen = self._encoded(params, observations)
            weights = self.core.fuse(scope(params, "core"))
            return self.core.advanced(weights, seen, state, starts)

    def acts_on_rows(self, params: Params) -> bool:
        """Whether the actor's means for an observation depend on nothing else, to the last bit.

        What it said step by step is then what it says of all steps at once.
        """
        if self.trunk is not None or self.core is not None:
            return False
        if not isinstance(self.actor, MLP | WarpMLP):
            return False
        return self.actor.layers().are_of_rows(scope(params, "actor"))

    # Kernels ---------------------------------------------------------------------------------

    @property
    def num_readouts(self) -> int:
        """Numbers that both heads say, where they are linear and the actor's are those of a mean.

        Else 0.
        """
        joint = num_joint_outputs(self.actor, self.critic)
        return joint if joint == self.distribution.num_means + 1 else 0

    def new_trace(
        self, shape: tuple[int, int, int], like: Tensor, *, outputs_only: bool = False
    ) -> Trace | None:
        """Memory for the activations of the core on (N, T, B), or for its outputs alone.

        Where a kernel writes it, the heads are read with it. None: there is no core.
        """
        core = self.core
        if isinstance(core, NativeCore):
            new = core.new_outputs if outputs_only else core.new_trace
            return new(shape, like, self.num_readouts)
        if core is None:
            return None
        return core.new_outputs(shape, like) if outputs_only else core.new_trace(shape, like)

    def reads(self, trace: Trace | None) -> bool:
        """Whether a kernel that writes this trace reads both heads."""
        wanted = self.num_readouts
        return isinstance(trace, NativeTrace) and 0 < wanted == trace.num_readouts

    def core_weights(self, params: Params, trace: Trace | None) -> Weights:
        """The core's weights as it arranges them; for a kernel that reads the heads, theirs too."""
        assert self.core is not None
        fused = self.core.fuse(scope(params, "core"))
        return (*fused, *joint_heads(params)) if self.reads(trace) else fused


# Policies of the usual parts ----------------------------------------------------------------------


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
