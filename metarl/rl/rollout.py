"""Trials of N agents on B mazes each, without a graph and without waiting for the device.

The collector steps an environment of N * B mazes (agent-major) with N stacked policies. Each agent
has a generator of its own, so that it sees the same noise whoever shares the program with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from metarl.core import Params, scope
from metarl.nn import FusedCore, Trace
from metarl.nn.recurrent import NO_SLOTS
from metarl.rl.policy import ActorCritic


class TensorVectorEnv(Protocol):
    """What a rollout asks of an environment: Gymnasium's vector interface, on tensors."""

    num_envs: int

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Start a trial in every maze; observations ``[N * B, I]``."""

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Take actions ``[N * B]``; observations, rewards, terminated, truncated, info."""


class Rollout(NamedTuple):
    """A batch of trials. ``rewards[t]`` is the consequence of ``actions[t]``."""

    observations: Tensor  # [N, T, B, I], before each action
    actions: Tensor  # [N, T, B], int64
    rewards: Tensor  # [N, T, B]
    trace: Trace | None  # the core's activations, for its backward pass


class Collector:
    """Collects trials into buffers that the next call writes over."""

    def __init__(
        self,
        env: TensorVectorEnv,
        policy: ActorCritic,
        generators: Sequence[torch.Generator],
        num_steps: int,
    ) -> None:
        """Allocate for ``len(generators)`` agents and trials of ``num_steps`` steps."""
        if env.num_envs % len(generators):
            raise ValueError(
                f"{env.num_envs} environments cannot be shared evenly by {len(generators)} agents"
            )
        self.env, self.policy, self.generators = env, policy, generators
        self.shape = (len(generators), num_steps, env.num_envs // len(generators))
        device = generators[0].device
        sizes = (*self.shape, policy.core.input_size)
        self._observations = torch.empty(sizes, device=device)
        self._actions = torch.empty(self.shape, dtype=torch.int64, device=device)
        self._rewards = torch.empty(self.shape, device=device)
        core = policy.core
        self._trace = (
            core.new_trace(self.shape, self._rewards) if isinstance(core, FusedCore) else None
        )

    @torch.no_grad()
    def collect(self, params: Params, options: dict[str, Any] | None = None) -> Rollout:
        """Play one trial in every maze.

        Args:
            params: Stacked parameters ``[N, ...]``.
            options: Passed to the environment's ``reset``, e.g. its tasks.

        Returns:
            The trials; overwritten by the next call.
        """
        num_agents, num_steps, batch_size = self.shape
        core = self.policy.core
        weights = core.fuse(scope(params, "core"))
        actor, bias = params["actor.weight"], params["actor.bias"].unsqueeze(-2)
        state = core.initial_state(weights, batch_size)
        noise = self._gumbel()
        observation, _ = self.env.reset(options=options)
        for t in range(num_steps):
            x = observation.view(num_agents, batch_size, -1)
            self._observations[:, t] = x
            slot = self._trace.slots[t] if self._trace else NO_SLOTS
            hidden, state = core.step(weights, x, state, slot)
            # The largest logit plus Gumbel noise is a sample of the softmax.
            action = torch.baddbmm(bias, hidden, actor).add_(noise[:, t]).argmax(-1)
            self._actions[:, t] = action
            observation, reward, _, _, _ = self.env.step(action.view(-1))
            self._rewards[:, t] = reward.view(num_agents, batch_size)
        return Rollout(self._observations, self._actions, self._rewards, self._trace)

    def _gumbel(self) -> Tensor:
        """Standard Gumbel noise ``[N, T, B, A]``, one stream an agent."""
        size = (*self.shape[1:], self.policy.num_actions)
        uniform = torch.stack(
            [torch.rand(size, generator=g, device=g.device) for g in self.generators]
        )
        return uniform.clamp_(min=1e-20).log_().neg_().log_().neg_()
