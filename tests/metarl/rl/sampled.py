"""Tasks whose experience is sampled from a small decision process, divisible and repeatable."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metarl.rl import (
    Collector,
    Gaussian,
    Policy,
    PolicyGradientSettings,
    PolicyGradientTasks,
    mlp_policy,
)
from tests.metarl.rl.enumerable import TinyMDP, generators, tiny_environments


def sampled(
    policy: Policy,
    mdp: TinyMDP,
    *,
    batch_size: int = 8,
    seed: int = 0,
    settings: PolicyGradientSettings | None = None,
) -> PolicyGradientTasks:
    num_tasks = mdp.num_tasks
    collector = Collector(
        tiny_environments(mdp, batch_size),
        policy,
        generators(num_tasks, seed + 1),
        mdp.num_steps,
        num_episodes=batch_size,
        tasks=torch.arange(num_tasks),
        dynamics=generators(num_tasks, seed),
    )
    return PolicyGradientTasks(collector, settings or PolicyGradientSettings(gamma=1.0))


class Aim:
    """One step, actions ``[2]``: the nearer to the task's own target, the better. float64."""

    num_envs = 24

    def __init__(self) -> None:
        self.targets = torch.randn(3, 1, 2, generator=generators(1)[0], dtype=torch.float64)
        self.targets = self.targets.expand(3, 8, 2).flatten(0, 1)
        self.observation = torch.randn(24, 3, generator=generators(1, 1)[0], dtype=torch.float64)

    def reset(self, *, options: Any = None) -> tuple[Tensor, dict[str, Any]]:
        return self.observation, {}

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        reward = -(actions - self.targets).square().sum(-1)
        no = torch.zeros(24, dtype=torch.bool)
        return self.observation, reward, no, ~no, {}


def aiming(
    seed: int = 0, settings: PolicyGradientSettings | None = None
) -> tuple[Policy, PolicyGradientTasks]:
    """Three tasks of continuous actions."""
    policy = mlp_policy(3, Gaussian(2, initial_std=0.7), hidden=(4,))
    collector = Collector(Aim(), policy, generators(3, seed), 1)
    return policy, PolicyGradientTasks(collector, settings or PolicyGradientSettings(gamma=1.0))
