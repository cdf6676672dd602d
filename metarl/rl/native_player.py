"""A policy that plays by kernels: core, heads and choice of one step are one call.

Environments that hand over their dynamics as tables (`metarl.native.world.LookUp`) are played many
steps in a call. They say so by two methods: ``look_up(num_steps)`` returns the tables of as many
steps at most, or None; ``jump(places, num_steps)`` takes what these steps have come to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from metarl.core import Params, own_precision, scope
from metarl.native.world import LookUp, Stretch, WorldView
from metarl.nn.native_core import NativeTrace
from metarl.nn.view_encoder import ViewEncoder
from metarl.rl.distributions import Categorical
from metarl.rl.policies import Policy
from metarl.rl.trajectory import Experience


class NativePlayer:
    """A policy of linear heads, whose core, heads and choice are one call a step."""

    def __init__(
        self, policy: Policy, params: Params, perturbations: Tensor, trace: NativeTrace
    ) -> None:
        """Begin with an empty memory; see `StepPlayer`."""
        self._policy, self._trunk = policy, scope(params, "trunk")
        self._run = trace.run
        with own_precision(next(iter(params.values()))):
            trace.begin(policy.core_weights(params, trace))
        self._noise = perturbations.to(trace.run.dtype)
        is_choice = type(policy.distribution) is Categorical
        self._choice = trace.run.choice(self._noise) if is_choice else None

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
        return reads and self._choice is not None and hasattr(type(env), "look_up")

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
        shape, choice = self._run.shape, self._choice
        assert choice is not None
        num_agents, num_steps, batch_size = shape[:3]
        width, places = observation.flatten(1).shape[1], (num_agents, batch_size)
        stretch = Stretch((num_agents, num_steps, batch_size, width), self._run.dtype)
        seen, rewards = stretch.observations, stretch.rewards
        terminated, truncated = stretch.terminated, torch.zeros(rewards.shape, dtype=torch.bool)
        seen[:, 0] = observation.reshape(*places, -1)
        after, told, t = seen[:, 1:], False, 0
        while t < num_steps:
            tables = env.look_up(num_steps - t)
            if tables is not None:
                world = WorldView(tables, stretch, self._encoded(tables))
                self._run.play(t, tables.num_steps, world, choice)
                env.jump(world.places, tables.num_steps)
                t, told = t + tables.num_steps, told or tables.bonus is not None
                continue
            actions = self(t, seen[:, t]).flatten()
            observation, rewards[t], terminated[t], truncated[t], info = step(actions)
            seen[:, t + 1] = observation.reshape(*places, -1)
            led_to = final(observation, info)
            if led_to is not observation:
                after = after.clone() if after.data_ptr() == seen[:, 1:].data_ptr() else after
                after[:, t] = led_to.reshape(*places, -1)
            if "bonus" in info:
                stretch.bonuses[t], told = info["bonus"], True
            t += 1
        bonus = stretch.bonuses if told else None

        def by_task(values: Tensor) -> Tensor:
            """``[T, N * B]`` to ``[N, T, B]``."""
            return values.view(num_steps, *places).transpose(0, 1)

        return Experience(
            seen[:, :-1].contiguous(),
            choice.actions.transpose(0, 1).contiguous(),
            by_task(rewards if bonus is None else rewards - bonus),
            by_task(terminated),
            by_task(truncated),
            after,
            None if bonus is None else by_task(bonus),
        )

    def _encoded(self, tables: LookUp) -> Tensor | None:
        """What the trunk makes of each view, ``[N, V, E]``; None: there is no trunk."""
        trunk = self._policy.trunk
        if trunk is None:
            return None
        assert isinstance(trunk, ViewEncoder)
        views = tables.views.to(self._run.dtype).expand(self._run.shape.num_agents, -1, -1)
        behind = views.new_zeros(*views.shape[:2], trunk.num_rest)
        encoded = trunk(self._trunk, torch.cat((views, behind), -1))
        return encoded[..., : encoded.shape[-1] - trunk.num_rest]
