"""Evaluation of trials against numbers that can be counted."""

import numpy as np
import pytest
import torch

from metarl.evaluate.trials import play, trial_statistics
from metarl.rl import UniformAgent

# Four trials of six steps.
REWARDS = np.array(
    [
        [0, 0, 0, 0],
        [10, 0, 0, 0],
        [0, 10, 0, 0],
        [10, 0, 0, 0],
        [0, 10, 0, 0],
        [10, 10, 10, 0],
    ],
    dtype=float,
)


def test_statistics_by_hand():
    statistics = trial_statistics(REWARDS, window=4)
    assert statistics.mean_return == (30 + 30 + 10 + 0) / 4
    assert statistics.iqm == (30 + 10) / 2
    assert statistics.first_find_rate == 0.75
    # First finds at steps 2, 3, 6 and never.
    assert statistics.first_find_median == 4.5
    assert statistics.first_find_mean == (2 + 3 + 6) / 3
    # Finds at steps 2, 4, 6; at 3, 5, 6; at 6 alone.
    assert statistics.find_interval_mean == (2 + 2 + 2 + 1) / 4
    assert statistics.within_trial == ((20 + 10) / 4, (10 + 20 + 10) / 4)
    assert sum(statistics.within_trial) == statistics.mean_return
    low, high = statistics.ci95
    assert 0 <= low < statistics.mean_return < high <= 30


def test_no_median_where_most_trials_find_nothing():
    statistics = trial_statistics(np.zeros((5, 3)), window=2)
    assert statistics.first_find_median is None
    assert statistics.first_find_mean is None
    assert statistics.find_interval_mean is None
    assert statistics.first_find_rate == 0
    assert len(statistics.within_trial) == 3


@pytest.mark.parametrize(("rewards", "window"), [(np.zeros((5, 0)), 1), (np.zeros((5, 2)), 0)])
def test_refuses_what_cannot_be_summed_up(rewards, window):
    with pytest.raises(ValueError, match="need rewards"):
        trial_statistics(rewards, window=window)


def test_play_asks_in_turn_and_returns_the_consequences():
    """Rewards are those of the actions, in their order, and the options reach the reset."""
    calls = []

    class Env:
        num_envs = 2

        def reset(self, *, options=None):
            calls.append(("reset", options))
            return torch.zeros(2, 1), {}

        def step(self, actions):
            calls.append(("step", actions.tolist()))
            no = torch.zeros(2, dtype=torch.bool)
            return torch.zeros(2, 1), actions.float(), no, no, {}

    class Counter:
        def begin(self, num_trials):
            self.count = 0
            calls.append(("begin", num_trials))

        def act(self, observations):
            self.count += 1
            return torch.tensor([self.count, 2 * self.count])

        def observe(self, rewards, terminated, truncated):
            calls.append(("observe", rewards.tolist()))

    rewards = play(Counter(), Env(), 2, {"goals": "g"})
    assert rewards.tolist() == [[1, 2], [2, 4]]
    assert calls == [
        ("begin", 2),
        ("reset", {"goals": "g"}),
        *(("step", [1, 2]), ("observe", [1, 2]), ("step", [2, 4]), ("observe", [2, 4])),
    ]


def test_play_steps_as_the_reset_has_chosen():
    class Env:
        num_envs = 1

        def reset(self, *, options=None):
            self.step = self.chosen
            return torch.zeros(1, 1), {}

        def step(self, actions):
            raise AssertionError("as before the reset")

        def chosen(self, actions):
            no = torch.zeros(1, dtype=torch.bool)
            return torch.zeros(1, 1), torch.ones(1), no, no, {}

    agent = UniformAgent(2, torch.Generator())
    assert play(agent, Env(), 3).tolist() == [[1], [1], [1]]


def test_the_uniform_agent_is_uniform_and_seeded():
    draws = [
        UniformAgent(4, torch.Generator().manual_seed(1)).act(torch.zeros(4000, 2))
        for _ in range(2)
    ]
    assert torch.equal(*draws)
    counts = torch.bincount(draws[0], minlength=4)
    assert ((counts - 1000).abs() < 120).all()
