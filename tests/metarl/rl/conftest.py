"""A maze small enough to reason about: a corridor, as tensors."""

import pytest
import torch


class Corridor:
    """B corridors of five cells; action 1 goes right, others left; the right end pays 1.

    Observations ``[B, 3]``: position / 4, previous reward, previous action.
    """

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.position = torch.zeros(num_envs)

    def observe(self, reward: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        return torch.stack((self.position / 4, reward, action.float()), -1)

    def reset(self, *, seed=None, options=None):
        self.position = torch.zeros(self.num_envs)
        zeros = torch.zeros(self.num_envs)
        return self.observe(zeros, zeros), {}

    def step(self, actions):
        self.position = (self.position + 2 * (actions == 1).float() - 1).clamp(0, 4)
        reward = (self.position == 4).float()
        no = torch.zeros(self.num_envs, dtype=torch.bool)
        return self.observe(reward, actions), reward, no, no, {}


@pytest.fixture
def corridor():
    return Corridor
