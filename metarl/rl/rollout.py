"""Trials of N agents on B mazes each, without a graph and without waiting for the device.

The collector steps an environment of N * B mazes (agent-major) with N stacked policies. Each agent
has a generator of its own, so that it sees the same noise whoever shares the program with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from metarl.core import Params, own_precision, scope
from metarl.nn import Trace
from metarl.rl.distributions import Categorical, gumbel
from metarl.rl.policy import ActorCritic
from metarl.rl.spaces import check_spaces


class TensorVectorEnv(Protocol):
    """What a rollout asks of an environment: Gymnasium's vector interface, on tensors."""

    @property
    def num_envs(self) -> int:
        """N * B."""

    def reset(self, *, options: dict[str, Any] | None = None) -> tuple[Tensor, dict[str, Any]]:
        """Start a trial in every maze; observations ``[N * B, I]``."""

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Take actions ``[N * B]``; observations, rewards, terminated, truncated, info."""


def in_tensors(env: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The ``reset`` and ``step`` of an environment, with tensors even where it speaks NumPy.

    The tensor environments that `gymnasium.make_vec` makes speak NumPy to everybody else, and have
    ``reset_tensors`` and ``step_tensors`` beside.
    """
    return getattr(env, "reset_tensors", env.reset), getattr(env, "step_tensors", env.step)


class Rollout(NamedTuple):
    """A batch of trials. ``rewards[t]`` is the consequence of ``actions[t]``."""

    observations: Tensor  # [N, T, B, I], before each action
    actions: Tensor  # [N, T, B], int64
    rewards: Tensor  # [N, T, B]
    trace: Trace  # the core's activations; the next rollout writes over them


class Collector:
    """Collects trials; the core's activations go into buffers that the next call writes over."""

    def __init__(
        self,
        env: TensorVectorEnv,
        policy: ActorCritic,
        generators: Sequence[torch.Generator],
        num_steps: int,
        options: dict[str, Any] | None = None,
    ) -> None:
        """Allocate for ``len(generators)`` agents and trials of ``num_steps`` steps.

        Args:
            env: The mazes of all agents.
            policy: Of all agents.
            generators: One an agent.
            num_steps: T.
            options: For the environment's ``reset``.
        """
        if env.num_envs % len(generators):
            raise ValueError(
                f"{env.num_envs} environments cannot be shared evenly by {len(generators)} agents"
            )
        check_spaces(env, Categorical(policy.num_actions), policy.core.input_size)
        self.env, self.policy, self.generators = env, policy, generators
        self.options = options
        self.shape = (len(generators), num_steps, env.num_envs // len(generators))
        core, like = policy.core, torch.empty(0, device=generators[0].device)
        self._trace = core.new_trace(self.shape, like)

    @torch.no_grad()
    def collect(self, params: Params) -> Rollout:
        """Play one trial in every maze, in the parameters' precision.

        Args:
            params: Stacked parameters ``[N, ...]``.

        Returns:
            The trials.
        """
        with own_precision(params["actor.weight"]):
            return self._collect(params)

    def _collect(self, params: Params) -> Rollout:
        num_agents, num_steps, batch_size = self.shape
        core = self.policy.core
        weights = core.fuse(scope(params, "core"))
        state = core.initial_state(weights, batch_size, num_steps)
        actor = params["actor.weight"]
        # The largest logit plus Gumbel noise is a sample of the softmax.
        noise = (self._gumbel() + params["actor.bias"][:, None, None]).unbind(1)
        reset, step = in_tensors(self.env)
        observation, _ = reset(options=self.options)
        observations, actions, rewards = [], [], []
        for noise_t, slot in zip(noise, self._trace.slots, strict=True):
            x = observation.view(num_agents, batch_size, -1)
            hidden, state = core.step(weights, x, state, slot)
            action = torch.baddbmm(noise_t, hidden, actor).argmax(-1)
            observation, reward, _, _, _ = step(action.view(-1))
            observations.append(x)
            actions.append(action)
            rewards.append(reward.view(num_agents, batch_size))
        return Rollout(
            torch.stack(observations, 1),
            torch.stack(actions, 1),
            torch.stack(rewards, 1),
            self._trace,
        )

    def _gumbel(self) -> Tensor:
        """Standard Gumbel noise ``[N, T, B, A]``, one stream an agent."""
        size = (*self.shape[1:], self.policy.num_actions)
        return torch.stack([gumbel(size, g) for g in self.generators])
