"""SB3's PPO as a learner of meta-batches: one iteration, its metrics, its state."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from torch import Tensor

from metarl.meta import KL_LIMIT, NonFiniteLossError
from metarl.rl import Trajectory
from metarl.sb3.episodes import play_episodes, rollout_buffer
from metarl.sb3.global_generators import seeded
from metarl.sb3.task_vec_env import TaskVecEnv
from metarl.train.trainer import Skips

logger = logging.getLogger(__name__)

LOGGED = {
    "value_loss": "train/value_loss",
    "approx_kl": "train/approx_kl",
    "clip_fraction": "train/clip_fraction",
}
"""Metrics that SB3 computes, and what it calls them."""


class PPOLearner:
    """A PPO that `metarl.train.loop.MetaTraining` can train, save and restore.

    SB3's draws begin at a seed in every iteration: its state is that of policy and optimiser.
    An iteration whose losses or weights are not finite is undone whole and counted (``skipped``).
    """

    def __init__(self, model: PPO, lr: float) -> None:
        """Train this model, in place, with this learning rate."""
        self.model, self.lr = model, lr
        self.skips, self._warned = Skips(), False
        model.set_logger(Logger(folder=None, output_formats=[]))

    def set_learning_rate_factor(self, factor: float) -> None:
        """Scale the learning rate, for a schedule."""
        lr = self.lr * factor
        self.model.lr_schedule = lambda _: lr

    def update(self, env: TaskVecEnv, seed: int, num_tasks: int) -> dict[str, Tensor]:
        """Learn from one episode in every environment.

        Returns:
            Metrics ``[1]``: of the loss, where it was stepped on; of the episodes; ``skipped``: 1
            where the iteration was undone; ``kl_stops``: 1 where the epochs ended early;
            ``kl_exceeded``: 1 where the policy moved by more than `KL_LIMIT`.

        Raises:
            NonFiniteLossError: Too many iterations in a row were skipped (`Skips`).
        """
        with seeded(seed, self.model.device):
            metrics = self._collect(env, num_tasks)
            before = copy.deepcopy(self._state())
            try:
                found = self._learn()
            except NonFiniteLossError as error:
                self._restore(before)
                self.skips.note([0], str(error))
                found = {"skipped": torch.ones(1)}
        self.skips.end(found["skipped"].tolist())
        return {**found, **metrics}

    def _collect(self, env: TaskVecEnv, num_tasks: int) -> dict[str, Tensor]:
        """Fill the model's buffer with an episode of every environment; metrics ``[1]`` of them."""
        played = play_episodes(self.model.policy, env)
        self.model.rollout_buffer = rollout_buffer(self.model, played)
        return episode_metrics(played, num_tasks)

    def agent_state(self, index: int) -> dict[str, Any]:
        """Everything the one agent needs to go on."""
        return {**self._state(), "skipped_in_a_row": self.skips.in_a_row[0]}

    def load_agent_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Take up where the one agent left off.

        Raises:
            KeyError: Something is missing in its state.
            RuntimeError: It is another network's.
        """
        (state,) = states
        try:
            self._restore(state)
        except ValueError as error:
            raise RuntimeError(str(error)) from error
        self.skips.in_a_row = [int(state.get("skipped_in_a_row", 0))]

    def _state(self) -> dict[str, Any]:
        """State of policy and optimiser; the tensors are theirs."""
        policy = self.model.policy
        return {"params": policy.state_dict(), "optimiser": policy.optimizer.state_dict()}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.model.policy.load_state_dict(state["params"])
        self.model.policy.optimizer.load_state_dict(state["optimiser"])

    def _learn(self) -> dict[str, Tensor]:
        """Take all epochs of an iteration.

        Raises:
            NonFiniteLossError: Losses or parameters are no numbers any more.
        """
        before = self._num_steps()
        try:
            self.model.train()
        except ValueError as error:  # a distribution refuses its parameters
            raise NonFiniteLossError(str(error).partition("\n")[0]) from error
        values = self._logged()
        # The losses were taken before the last step.
        if not all(bool(p.isfinite().all()) for p in self.model.policy.parameters()):
            raise NonFiniteLossError(f"a parameter is not finite ({values})")
        values["kl_exceeded"] = float(values["approx_kl"] > KL_LIMIT)
        buffer = self.model.rollout_buffer
        minibatches = math.ceil(buffer.buffer_size * buffer.n_envs / self.model.batch_size)
        taken = self._num_steps() - before
        values["kl_stops"] = float(taken < self.model.n_epochs * minibatches)
        if values["kl_exceeded"] and not self._warned:
            self._warned = True
            logger.warning(
                "an iteration moved the policy by %.3g nats (counted as kl_exceeded): "
                "lower --lr, or set --target-kl",
                values["approx_kl"],
            )
        return {name: torch.tensor([value]) for name, value in values.items()} | {
            "skipped": torch.zeros(1)
        }

    def _num_steps(self) -> int:
        """Number of steps that the optimiser has taken."""
        states = self.model.policy.optimizer.state.values()
        return max((int(state["step"]) for state in states), default=0)

    def _logged(self) -> dict[str, float]:
        """Metrics that SB3 has noted."""
        found = self.model.logger.name_to_value
        values = {name: float(found[theirs]) for name, theirs in LOGGED.items()}
        values["entropy"] = -float(found["train/entropy_loss"])
        if not np.isfinite(list(values.values())).all():
            raise NonFiniteLossError(f"loss is not finite ({values})")
        return values


def episode_metrics(played: Trajectory, num_tasks: int) -> dict[str, Tensor]:
    """Metrics of the episodes that were learned from, ``[1]`` each, means over tasks and episodes.

    Returns:
        ``return``; ``length``; ``unrewarded``: the fraction of tasks whose episodes paid nothing.
    """
    paid = (played.rewards != 0).any(1).view(num_tasks, -1).any(1).double()  # [N]
    values = {
        "return": played.returns.mean(),
        "length": played.lengths.mean(),
        "unrewarded": 1.0 - paid.mean(),
    }
    return {name: torch.tensor([float(value)]) for name, value in values.items()}
