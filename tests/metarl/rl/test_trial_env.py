"""Trials: what agents are told of what they did and earned."""

import torch

from envs import GridMazeVectorEnv
from metarl.rl.trial_env import TrialEnv

CPU = torch.device("cpu")
B = 6


def mazes(**settings):
    generator = torch.Generator().manual_seed(0)
    return GridMazeVectorEnv(B, size=7, horizon=8, generator=generator, **settings)


def test_a_bonus_is_paid_in_every_episode_and_no_agent_is_told():
    """It is in the rewards, and beside them, at the last step of an episode too."""
    env, plain = mazes(exploration_bonus=0.25), mazes()
    trial, other = (TrialEnv(e, 8, 3, device=CPU) for e in (env, plain))
    seen, expected = trial.reset()[0], other.reset()[0]
    assert torch.equal(seen, expected)
    earned = torch.zeros(B)
    for step in range(24):
        actions = torch.randint(4, (B,), generator=torch.Generator().manual_seed(step))
        seen, rewards, _, _, info = trial.step(actions)
        expected, bare, _, _, none = other.step(actions)
        assert torch.equal(seen, expected), step
        assert torch.equal(rewards - info["bonus"], bare), step
        assert "bonus" not in none
        if step % 8 == 7:
            earned += info["bonus"]
    assert earned.any(), "a last step earned it"
