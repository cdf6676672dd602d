"""RecurrentPPO of sb3-contrib (2.9) as a learner of trials; it is a package of its own.

SB3 collects a number of steps in every environment: here all steps of one trial each, begun anew in
every iteration. Nothing lies behind the end of a trial, so that no value of it is added to the last
reward.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
from torch import Tensor

from metarl.errors import UserError
from metarl.sb3.episodes import bonus_of
from metarl.sb3.learner import PPOLearner
from metarl.sb3.task_vec_env import TaskVecEnv


def recurrent_ppo() -> Any:
    """The class RecurrentPPO.

    Raises:
        UserError: sb3-contrib is not installed.
    """
    try:
        return importlib.import_module("sb3_contrib").RecurrentPPO
    except ImportError as error:
        raise UserError(
            "--method recurrent-ppo is sb3-contrib's: pip install sb3-contrib"
        ) from error


class TrialVecEnv(TaskVecEnv):
    """Trials whose end is no mere limit."""

    def step_wait(self) -> VecEnvStepReturn:
        """Step; the last one of a trial terminates it."""
        observations, rewards, dones, infos = super().step_wait()
        for info in infos:
            info["TimeLimit.truncated"] = False
        return observations, rewards, dones, infos


class RecurrentPPOLearner(PPOLearner):
    """A RecurrentPPO that `metarl.train.loop.MetaTraining` can train, save and restore."""

    def _collect(self, env: TaskVecEnv, num_tasks: int) -> dict[str, Tensor]:
        """Fill the model's buffer with one trial of every environment; metrics ``[1]`` of them."""
        model: Any = self.model
        model.set_env(env)
        noted = _Rewards()
        steps = model.n_steps
        _, callback = model._setup_learn(steps * env.num_envs, noted)
        for side in (model._last_lstm_states.pi, model._last_lstm_states.vf):
            for part in side:
                part.zero_()
        model.collect_rollouts(env, callback, model.rollout_buffer, n_rollout_steps=steps)
        rewards = torch.stack(noted.rewards)  # [T, B]
        return {
            "return": rewards.sum(0).mean().reshape(1),
            "unrewarded": (rewards == 0).all(0).double().mean().reshape(1),
        }


class _Rewards(BaseCallback):
    """Rewards of every step, without what is paid for learning alone."""

    def __init__(self) -> None:
        super().__init__()
        self.rewards: list[Tensor] = []

    def _on_step(self) -> bool:
        paid = self.locals["rewards"].astype("float64") - bonus_of(self.locals["infos"])
        self.rewards.append(torch.as_tensor(paid))
        return True
