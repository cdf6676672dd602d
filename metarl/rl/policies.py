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
from typing import Any, Literal

import torch
from torch import Tensor

from metarl.core import Params, own_precision, scope
from metarl.nn import MLP, Network, RecurrentCore, Trace
from metarl.nn.recurrent import State, emptied, uniform
from metarl.nn.trace import NO_SLOT
from metarl.rl.distributions import Distribution


@dataclass(frozen=True)
class LinearHead:
    """``W h + b``, with parameters ``weight`` and ``bias``; two of them are one product.

    Attributes:
        num_inputs: I.
        num_outputs: O.
    """

    num_inputs: int
    num_outputs: int

    @property
    def slow(self) -> tuple[str, ...]:
        """All parameters are fast."""
        return ()

    @property
    def head(self) -> tuple[str, ...]:
        """All parameters of the layer."""
        return ("weight", "bias")

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Uniform in +-1/sqrt(I)."""
        bound = self.num_inputs**-0.5
        return {
            "weight": uniform((self.num_inputs, self.num_outputs), bound, generator),
            "bias": uniform((self.num_outputs,), bound, generator),
        }

    def __call__(self, params: Params, inputs: Tensor, num_reference: int = 0) -> Tensor:
        """Outputs ``[N, B, O]`` of inputs ``[N, B, I]``."""
        return torch.baddbmm(params["bias"].unsqueeze(1), inputs, params["weight"])


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

        Returns:
            ``[N, T, B, D]``, and ``[N, T, B]`` or None: there is no critic, or it was not asked.
        """
        time = observations.shape[1:3]
        seen = self._seen(params, observations, state, starts, trace, memory)
        seen = seen.flatten(1, 2)  # [N, T * B, H]
        values: Tensor | None = None
        if isinstance(self.actor, LinearHead) and isinstance(self.critic, LinearHead):
            # Both heads in one product, actions before time: [N, A + 1, H] @ [N, H, T * B]
            weight = torch.cat((params["actor.weight"], params["critic.weight"]), -1)
            bias = torch.cat((params["actor.bias"], params["critic.bias"]), -1).unsqueeze(-1)
            weight = weight.transpose(1, 2).contiguous()  # [N, A + 1, H]
            heads = torch.baddbmm(bias, weight, seen.transpose(1, 2))  # [N, A + 1, T * B]
            # [N, T * B, A] as a view, and [N, T * B]
            means, values = heads[:, :-1].transpose(1, 2), heads[:, -1]
        else:
            means = self.actor(scope(params, "actor"), seen)  # [N, T * B, A]
            if critic and self.critic is not None:
                values = self.critic(scope(params, "critic"), seen)  # [N, T * B, 1]
        described = self.distribution.outputs(params, means)  # [N, T * B, D]
        outputs = described.view(len(means), *time, described.shape[-1])  # [N, T, B, D]
        return outputs, None if values is None else values.reshape(len(values), *time)

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
            self.core.record(self.core.fuse(scope(params, "core")), seen, state, starts, trace)


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
        self.state = emptied(self.state, self._empty, over)

    def resume(self, state: State) -> None:
        """Go on from a state.

        Raises:
            ValueError: It is that of other episodes, or of another core.
        """
        wanted, got = ([tuple(one.shape) for one in s] for s in (self._empty, state))
        if wanted != got:
            raise ValueError(
                f"the state of these episodes has the shapes {wanted}, got {got}: hand in what the "
                "step before returned, or none to begin with an empty memory"
            )
        self.state = state


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
