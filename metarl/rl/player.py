"""A policy that plays, in one of three ways; at a step it says what it says of whole trajectories.

`StepPlayer`: step by step, with the memory of every stretch of experience (`Player`).

`RowPlayer`: an actor that is a perceptron on the observation alone. It would say the same to the
last bit of all steps at once (`Policy.outputs_and_values`), so that what it said is kept and no
second pass is taken. Whole episodes are one call in a world that the environment hands over. It
says so by a method ``hand_over(worlds, num_steps)``: called after a reset with the names of the
worlds that kernels know, and the steps that will be taken, it returns the numbers of the episodes
that have begun, which count as over then; or None where it would rather be stepped. What is handed
over, says `native.episode.play`. The method is looked for on the environment's own class: a wrapper
that only passes it on would be passed by.

`NativePlayer`: by kernels, so that core, heads and choice of one step are one call.

The last two take many steps in a call where environments hand over their dynamics as tables. They
say that they do by two methods: ``look_up(num_steps)`` returns the tables of as many steps at most
(`metarl.native.world.LookUp`), or None; ``jump(places, num_steps)`` takes what these steps have
come to. Between tables they are stepped, which the last step of an episode always is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from metarl.core import Params, own_precision, scope
from metarl.native.episode import IN_THE_PLANE, WORLDS, play, playable, steps_by_tables
from metarl.native.mlp import Perceptron
from metarl.native.world import LookUp, Stretch, WorldView
from metarl.nn import MLP, WarpMLP
from metarl.nn.native_core import NativeTrace
from metarl.nn.recurrent import State
from metarl.nn.trace import NO_SLOT, Trace
from metarl.nn.view_encoder import ViewEncoder
from metarl.rl.distributions import Categorical, Gaussian
from metarl.rl.heads import LinearHead
from metarl.rl.trajectory import Experience

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
            # [N, 1, 1, A]
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


def has_tables(env: Any) -> bool:
    """Whether an environment may hand over tables: on its own class, or a wrapper is passed by."""
    return hasattr(type(env), "look_up")


class ByTables(ABC):
    """A player of T steps of B stretches of N tasks that takes tables.

    Attributes:
        actions: int64 ``[T, N, B]``, written step by step.
        dtype: Precision of the observations.
        said: The actor's means ``[N, T, B, A]``, if it would say them again to the last bit.
    """

    actions: Tensor
    dtype: torch.dtype
    said: Tensor | None = None

    @abstractmethod
    def __call__(self, t: int, observations: Tensor) -> Tensor:
        """Actions ``[N, B]`` at step t, for observations ``[N, B, I]``."""

    @abstractmethod
    def takes_tables(self, env: Any) -> bool:
        """Whether an environment can hand over tables that this player can use."""

    @abstractmethod
    def _advance(self, t: int, tables: LookUp, stretch: Stretch) -> WorldView:
        """Take the steps that there are tables of, the first of them step t."""

    def play(
        self,
        env: Any,
        step: Callable[[Tensor], Any],
        observation: Tensor,
        final: Callable[[Tensor, dict[str, Any]], Tensor],
    ) -> Experience:
        """Play all steps, by tables where there are some, and one by one where there are none.

        Args:
            env: Environments that hand over tables.
            step: Their step.
            observation: The first one, ``[N * B, I]``.
            final: From an observation and a step's info to the observation that it led to.
        """
        actions = self.actions
        num_steps, *places = actions.shape  # T, [N, B]
        num_agents, batch_size = places
        width = observation.flatten(1).shape[1]
        stretch = Stretch((num_agents, num_steps, batch_size, width), self.dtype)
        seen, rewards = stretch.observations, stretch.rewards
        terminated, truncated = stretch.terminated, torch.zeros(rewards.shape, dtype=torch.bool)
        seen[:, 0] = observation.reshape(*places, -1)  # [N B, ...] to [N, B, I]
        finals: dict[int, Tensor] = {}  # what steps led to, where the next episode begins elsewhere
        told, t = False, 0
        while t < num_steps:
            tables = env.look_up(num_steps - t)
            if tables is not None:
                world = self._advance(t, tables, stretch)
                env.jump(world.places, tables.num_steps)
                t, told = t + tables.num_steps, told or tables.bonus is not None
                continue
            actions[t] = self(t, seen[:, t])
            observation, rewards[t], terminated[t], truncated[t], info = step(actions[t].flatten())
            seen[:, t + 1] = observation.reshape(*places, -1)
            led_to = final(observation, info)
            if led_to is not observation:
                finals[t] = led_to.reshape(*places, -1)  # [N B, ...] to [N, B, I]
            if "bonus" in info:
                stretch.bonuses[t], told = info["bonus"], True
            t += 1
        after = seen[:, 1:].clone() if finals else seen[:, 1:]
        for t, led_to in finals.items():
            after[:, t] = led_to
        bonus = stretch.bonuses if told else None

        def by_task(values: Tensor) -> Tensor:
            """``[T, N * B]`` to ``[N, T, B]``."""
            return values.view(num_steps, *places).transpose(0, 1)  # [T, N, B] first

        return Experience(
            seen[:, :-1].contiguous(),
            actions.transpose(0, 1).contiguous(),
            by_task(rewards if bonus is None else rewards - bonus),
            by_task(terminated),
            by_task(truncated),
            after,
            None if bonus is None else by_task(bonus),
            self.said,
        )


class RowPlayer(ByTables):
    """Plays T steps of B stretches of N tasks, one by one, by tables, or all at once."""

    said: Tensor

    def __init__(self, policy: Policy, params: Params, perturbations: Tensor) -> None:
        """Play with these parameters, under which a policy `Policy.acts_on_rows`.

        Args:
            policy: Who plays.
            params: Stacked parameters ``[N, ...]``.
            perturbations: Of the actor's means at every step, ``[N, T, B, A]``.
        """
        self._policy, self._perturbations = policy, perturbations.contiguous()
        self._actor = scope(params, "actor")
        self.dtype = next(iter(self._actor.values())).dtype
        self.said = perturbations.new_empty(perturbations.shape, dtype=self.dtype)
        num_tasks, num_steps, batch_size = perturbations.shape[:3]
        self.actions = torch.empty(num_steps, num_tasks, batch_size, dtype=torch.int64)

    def __call__(self, t: int, observations: Tensor) -> Tensor:
        """Actions ``[N, B]`` or ``[N, B, A]`` at step t, for observations ``[N, B, I]``."""
        means = self._policy.actor(self._actor, observations)
        self.said[:, t] = means
        return self._policy.distribution.choose(means + self._perturbations[:, t])

    def takes_tables(self, env: Any) -> bool:
        """Whether an environment can hand over tables that this policy can use."""
        is_choice = type(self._policy.distribution) is Categorical
        return is_choice and has_tables(env) and self._has_kernel()

    def _advance(self, t: int, tables: LookUp, stretch: Stretch) -> WorldView:
        net, params = self._layers()
        world, steps = WorldView(tables, stretch, None), (t, tables.num_steps)
        steps_by_tables(net, params, steps, self._perturbations, self.said, self.actions, world)
        return world

    def _layers(self) -> tuple[Perceptron, list[Tensor]]:
        """The actor as kernels take it: its layers, and their weights and biases."""
        actor = self._policy.actor
        assert isinstance(actor, MLP | WarpMLP)  # `Policy.acts_on_rows`
        layers = actor.layers()
        return layers.net, layers.own(self._actor)

    def _has_kernel(self) -> bool:
        """Whether a kernel can play with these layers."""
        net, params = self._layers()
        return playable(net, params, self._perturbations)

    def play_at_once(self, env: object) -> Experience | None:
        """Play the episodes that have begun; None: step by step, they are not for a kernel.

        Args:
            env: N * B environments after a reset.
        """
        hand_over: Any = getattr(type(env), "hand_over", None)
        if hand_over is None or not isinstance(self._policy.distribution, Gaussian):
            return None
        shifts, (net, params) = self._perturbations, self._layers()
        if (net.sizes[0], net.sizes[-1]) != IN_THE_PLANE or not self._has_kernel():
            return None
        world = hand_over(env, WORLDS, shifts.shape[1])
        if world is None:
            return None
        played = play(net, params, shifts, world)
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


class NativePlayer(ByTables):
    """A policy of linear heads, whose core, heads and choice are one call a step."""

    def __init__(
        self, policy: Policy, params: Params, perturbations: Tensor, trace: NativeTrace
    ) -> None:
        """Begin with an empty memory; see `StepPlayer`."""
        self._policy, self._trunk = policy, scope(params, "trunk")
        self._run = trace.run
        with own_precision(next(iter(params.values()))):
            trace.begin(policy.core_weights(params, trace))
        self.dtype = trace.run.dtype
        self._noise = perturbations.to(self.dtype)
        is_choice = type(policy.distribution) is Categorical
        self._choice = trace.run.choice(self._noise) if is_choice else None
        if self._choice is not None:
            self.actions = self._choice.actions

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

    def takes_tables(self, env: Any) -> bool:
        """Whether an environment can hand over tables that this policy can use."""
        trunk = self._policy.trunk
        reads = trunk is None or type(trunk) is ViewEncoder
        return reads and self._choice is not None and has_tables(env)

    def _advance(self, t: int, tables: LookUp, stretch: Stretch) -> WorldView:
        assert self._choice is not None
        world = WorldView(tables, stretch, self._encoded(tables))
        self._run.play(t, tables.num_steps, world, self._choice)
        return world

    def _encoded(self, tables: LookUp) -> Tensor | None:
        """Trunk's outputs for each view, ``[N, V, E]``; None: there is no trunk."""
        trunk = self._policy.trunk
        if trunk is None:
            return None
        assert isinstance(trunk, ViewEncoder)
        views = tables.views.to(self._run.dtype).expand(self._run.shape.num_agents, -1, -1)
        behind = views.new_zeros(*views.shape[:2], trunk.num_rest)
        encoded = trunk(self._trunk, torch.cat((views, behind), -1))
        return encoded[..., : encoded.shape[-1] - trunk.num_rest]
