"""PPO fine-tuned to tasks: the baseline of every learner that adapts by gradient (SB3 2.9).

A model that was trained on a mixture of tasks goes on learning on one, from as many episodes per
step as a gradient learner sees in an inner step. PPO uses them for several epochs.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv

from metarl.evaluate.returns import AdaptationResult, outcomes
from metarl.rl.problem import Goal
from metarl.rl.trajectory import Trajectory
from metarl.sb3.episodes import play_episodes, rollout_buffer
from metarl.sb3.global_generators import child_seed, seeded


@dataclass(frozen=True)
class FineTuning:
    """Settings of a copy of a model that goes on learning. None: as the model itself.

    Attributes:
        lr: Learning rate of its optimiser, which starts afresh.
        num_epochs: Passes over the episodes of a step.
        batch_size: Transitions a minibatch.
    """

    lr: float | None = None
    num_epochs: int | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        """Check all numbers, before any work starts."""
        if self.lr is not None and not (math.isfinite(self.lr) and self.lr >= 0):
            raise ValueError(f"lr must be finite and at least 0, got {self.lr}")
        for name in ("num_epochs", "batch_size"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise ValueError(f"{name} must be at least 1, got {count}")


def fine_tune(
    model: PPO,
    make_env: Callable[[int, int], VecEnv],
    num_tasks: int,
    num_steps: int,
    *,
    seed: int,
    settings: FineTuning | None = None,
    has_goal: Goal = True,
) -> AdaptationResult:
    """Fine-tune a copy of a model to each of N tasks, and look at the episodes on the way.

    What is recorded at k are the episodes that step k + 1 learns from. The model stays as it is,
    and a task's result does not depend on how many others there are.

    Args:
        model: Trained.
        make_env: Called with the number of a task and a seed for its environments; gives E
            environments on that task, which are closed afterwards.
        num_tasks: N.
        num_steps: K, at least 0.
        seed: Seed of all draws.
        settings: Settings of the learning. Default: as the model itself.
        has_goal: When an episode succeeds.

    Returns:
        Episodes ``[N, K + 1, E]``.
    """
    if num_tasks < 1 or num_steps < 0:
        raise ValueError(
            f"need at least 1 task and 0 steps, got num_tasks={num_tasks}, num_steps={num_steps}"
        )
    tasks = []
    for n in range(num_tasks):
        env = make_env(n, child_seed(seed, n, 0))
        try:
            steps = adaptation(
                model, env, num_steps, seed=child_seed(seed, n, 1), settings=settings
            )
            tasks.append(
                [torch.cat(tuple(outcomes(e, has_goal).values())).numpy() for _, e in steps]
            )
        finally:
            env.close()
    returns, lengths, successes = np.moveaxis(np.array(tasks), 2, 0)  # each [N, K + 1, E]
    experience = tuple(k * returns.shape[-1] for k in range(num_steps + 1))
    return AdaptationResult(returns, lengths, successes if has_goal else None, experience)


def adaptation(
    model: PPO,
    env: VecEnv,
    num_steps: int,
    *,
    seed: int,
    settings: FineTuning | None = None,
) -> Iterator[tuple[PPO, Trajectory]]:
    """The copy of a model after 0 to K steps on one task, and the episodes it plays there.

    Args:
        model: Trained; it stays as it is.
        env: E environments on the task.
        num_steps: K.
        seed: Seed of all draws of the copy.
        settings: Settings of the learning. Default: as the model itself.

    Yields:
        The copy, which the next step changes, and its episodes, which the next step learns from.
    """
    learner = copy_of(model, settings)
    for k in range(num_steps + 1):
        with seeded(child_seed(seed, k, 0), learner.device):
            played = play_episodes(learner.policy, env)
        yield learner, played
        if k < num_steps:
            with seeded(child_seed(seed, k, 1), learner.device):
                learner.rollout_buffer = rollout_buffer(learner, played)
                learner.train()


def copy_of(model: PPO, settings: FineTuning | None = None) -> PPO:
    """A PPO with the same weights that shares nothing that learning changes; it has no env.

    Args:
        model: Stays as it is.
        settings: Settings of the copy. Default: as the model itself.

    Raises:
        ValueError: It explores with gSDE, whose noise belongs to a rollout of fixed length.
    """
    if model.use_sde:
        raise ValueError("a model with use_sde=True cannot be fine-tuned here: train one without")
    settings = settings or FineTuning()
    learner = copy.copy(model)
    learner.env = learner._last_obs = learner.ep_info_buffer = learner.ep_success_buffer = None
    before = model.policy.optimizer.param_groups[0]["lr"]
    lr = before if settings.lr is None else settings.lr
    learner.lr_schedule = lambda _: lr
    with seeded(0):  # a policy is not copied deeply: it holds the graph of its last loss
        policy = model.policy_class(
            model.observation_space, model.action_space, learner.lr_schedule, **model.policy_kwargs
        )
    policy.load_state_dict(model.policy.state_dict())
    learner.policy = cast(ActorCriticPolicy, policy.to(model.device))
    learner.n_epochs = settings.num_epochs or model.n_epochs
    learner.batch_size = settings.batch_size or model.batch_size
    learner.set_logger(Logger(folder=None, output_formats=[]))
    return learner
