"""Playing by tables: many steps in a call, where environments hand over their dynamics.

Environments say that they do by two methods: ``look_up(num_steps)`` returns the tables of as many
steps at most (`metarl.native.world.LookUp`), or None; ``jump(places, num_steps)`` takes what these
steps have come to. Between tables they are stepped, which the last step of an episode always is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from metarl.native.world import LookUp, Stretch, WorldView
from metarl.rl.trajectory import Experience


def has_tables(env: Any) -> bool:
    """Whether an environment may hand over tables: on its own class, or a wrapper is passed by."""
    return hasattr(type(env), "look_up")


class ByTables(ABC):
    """A player of T steps of B stretches of N tasks that takes tables.

    Attributes:
        said: The actor's means ``[N, T, B, A]``, if it would say them again to the last bit.
    """

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

    @abstractmethod
    def _room(self) -> tuple[Tensor, torch.dtype]:
        """Room for the actions, int64 ``[T, N, B]``; and the precision of observations."""

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
        actions, dtype = self._room()
        num_steps, *places = actions.shape  # T, [N, B]
        num_agents, batch_size = places
        width = observation.flatten(1).shape[1]
        stretch = Stretch((num_agents, num_steps, batch_size, width), dtype)
        seen, rewards = stretch.observations, stretch.rewards
        terminated, truncated = stretch.terminated, torch.zeros(rewards.shape, dtype=torch.bool)
        seen[:, 0] = observation.reshape(*places, -1)  # [N B, ...] to [N, B, I]
        after, told, t = seen[:, 1:], False, 0
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
                after = after.clone() if after.data_ptr() == seen[:, 1:].data_ptr() else after
                after[:, t] = led_to.reshape(*places, -1)  # [N B, ...] to [N, B, I]
            if "bonus" in info:
                stretch.bonuses[t], told = info["bonus"], True
            t += 1
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
