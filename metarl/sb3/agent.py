"""An SB3 model as an agent of our evaluator (SB3's conventions of version 2.9)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import MultiBinary
from numpy.typing import NDArray
from stable_baselines3.common.type_aliases import PolicyPredictor
from torch import Tensor

from metarl.sb3.global_generators import draw_seed, seeded


class SB3Agent:
    """Plays trials with a model's ``predict`` (`metarl.rl.Agent`).

    A recurrent model (sb3-contrib's RecurrentPPO) keeps its hidden state through a trial, across
    the ends of episodes in it: ``episode_start`` is only true where a trial begins. A model that is
    to forget at the end of an episode must be given trials of one episode.
    """

    def __init__(
        self,
        model: PolicyPredictor,
        generator: torch.Generator,
        *,
        deterministic: bool = False,
    ) -> None:
        """Play with this model.

        Args:
            model: An SB3 algorithm or policy, or anything else with its ``predict``.
            generator: Draws the seeds with which SB3 draws the actions.
            deterministic: Take the most probable action instead of drawing one.
        """
        self.model, self.generator, self.deterministic = model, generator, deterministic
        self._state: tuple[NDArray[Any], ...] | None = None
        self._start = np.zeros(0, dtype=np.bool_)

    def begin(self, num_trials: int) -> None:
        """Forget; B trials begin."""
        self._state, self._start = None, np.ones(num_trials, dtype=np.bool_)

    def act(self, observations: Tensor) -> Tensor:
        """Actions ``[B]`` or ``[B, A]`` for observations ``[B, ...]``."""
        array = observations.cpu().numpy()
        device = getattr(self.model, "device", "cpu")
        with seeded(draw_seed(self.generator), device):
            actions, self._state = self.model.predict(
                array, self._state, self._start, self.deterministic
            )
        if isinstance(getattr(self.model, "action_space", None), MultiBinary):
            actions = actions.astype(np.int64)  # SB3's bits are floats
        self._start = np.zeros_like(self._start)
        return torch.as_tensor(actions, device=observations.device)

    def observe(self, rewards: Tensor, terminated: Tensor, truncated: Tensor) -> None:
        """Observe: there is nothing to do, since observations hold all a recurrent model needs."""
