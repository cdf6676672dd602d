"""Environments that are not ours: Gymnasium's own, Minigrid's, and one for each kind of space."""

from typing import Any

import gymnasium
import minigrid  # noqa: F401  # registers its environments
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Text, Tuple
from minigrid.wrappers import ImgObsWrapper

IDS = {  # observations as numbers, actions as numbers
    "CartPole-v1": (4, 2),
    "Acrobot-v1": (6, 3),
    "MountainCar-v0": (2, 3),
    "MountainCarContinuous-v0": (2, 1),
    "Pendulum-v1": (3, 1),
    "FrozenLake-v1": (16, 4),
    "Taxi-v4": (500, 6),
    "CliffWalking-v1": (48, 4),
    "Blackjack-v1": (32 + 11 + 2, 2),
}

SPACES: dict[str, Space[Any]] = {
    "a box": Box(-1, 1, (3,), np.float32),
    "a picture": Box(0, 255, (4, 3, 2), np.uint8),
    "wide numbers": Box(-1e300, np.inf, (2, 2), np.float64),
    "whole numbers": Box(-5, 5, (2,), np.int64),
    "a scalar": Box(-1, 1, (), np.float32),
    "one of three": Discrete(3),
    "one of three from -1": Discrete(3, start=-1),
    "several": MultiDiscrete([3, 4]),
    "several from 2": MultiDiscrete([[3, 4]], start=[[2, -1]]),
    "bits": MultiBinary((2, 2)),
    "a tuple": Tuple((Discrete(2, start=5), Box(0, 1, (2,), np.float32))),
    "a dict": Dict({"b": Discrete(2), "a": Dict({"c": MultiBinary(2)})}),
    "a text": Text(4),
}


class Numbers(gymnasium.Env[Any, Any]):
    """Shows samples of a space, drawn at reset by its seed: a task of the ``depth`` last ones.

    The episode ends when it has shown them all; a reward is the count of all steps ever made.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        observations: Space[Any],
        actions: Space[Any],
        depth: int = 4,
        limit: int | None = None,
    ) -> None:
        self.observation_space, self.action_space = observations, actions
        self.depth, self.steps = depth, 0
        if limit is not None:
            self.max_steps = limit
        self.options: list[Any] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.options.append(options)
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        self.left = (options or {}).get("depth", self.depth)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action in self.action_space
        self.steps += 1
        self.left -= 1
        return self.observation_space.sample(), self.steps, self.left == 0, False, {}


def made(env_id: str, **settings: Any) -> gymnasium.Env[Any, Any]:
    """Makes an environment; Minigrid's show their picture."""
    env = gymnasium.make(env_id, **settings)
    return ImgObsWrapper(env) if env_id.startswith("MiniGrid") else env
