"""Meta-batches: tasks of a world, with episodes to adapt by, as the learners take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from experiments.maze_adapt.worlds import Tasks, TensorEnv, World
from metarl.rl import (
    Collector,
    Environments,
    Policy,
    PolicyGradientSettings,
    PolicyGradientTasks,
)

MAX_SEED = 2**62


def episodes_of(
    world: World,
    tasks: Tasks,
    num_episodes: int,
    policy: Policy,
    settings: PolicyGradientSettings,
    generator: torch.Generator,
    lent: Environments | None = None,
) -> PolicyGradientTasks:
    """N tasks to adapt to, divisible; what a task draws does not depend on its company.

    Args:
        world: The distribution that the tasks are of.
        tasks: N tasks.
        num_episodes: Episodes a task and gradient step.
        policy: Plays.
        settings: Of the loss.
        generator: Draws two seeds per task: of its policy's noise and of its environments.
        lent: The world's environments, where they are to serve other meta-batches too
            (`environments_of`); None: made for this one.
    """
    device = generator.device
    seeds = torch.randint(MAX_SEED, (2, len(tasks)), generator=generator, device=device).tolist()
    noise, dynamics = ([_generator(seed, device) for seed in row] for row in seeds)
    collector = Collector(
        lent or environments_of(world, device),
        policy,
        noise,
        world.horizon,
        num_episodes=num_episodes,
        tasks=tasks,
        dynamics=dynamics,
    )
    return PolicyGradientTasks(collector, settings)


def environments_of(world: World, device: torch.device) -> Environments:
    """Environments of a world, built once for each number of them."""
    return Environments(
        lambda num_envs, generators: world.make_env(num_envs, generator=generators, device=device)
    )


def environments(
    world: World,
    tasks: Tasks,
    num_episodes: int,
    generators: Sequence[torch.Generator],
    device: torch.device,
) -> tuple[TensorEnv, dict[str, Any]]:
    """``num_episodes`` environments a task, task-major, and the reset options that say which."""
    many = [task for task in tasks for _ in range(num_episodes)]
    return world.make_env(len(many), generator=generators, device=device), {"tasks": many}


def _generator(seed: int, device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)
