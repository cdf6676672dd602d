"""What curricula are told of trials: per episode, in the units of the rewards."""

import pytest
import torch

from metarl.rl import Trajectory
from metarl.rl.trajectory import ScoredTrajectory
from metarl.train.curriculum.side_by_side import episodes_begun, outcome

FLAG = 2


def trials(begins, rewards, values=None, mask=None):
    """Trials of one agent, ``[T, B]``: where episodes begin, and what they pay."""
    begins, rewards = (torch.tensor([x], dtype=torch.float64) for x in (begins, rewards))
    mask = torch.ones_like(rewards) if mask is None else torch.tensor([mask], dtype=torch.float64)
    observations = torch.zeros(*rewards.shape, FLAG + 1, dtype=torch.float64)
    observations[..., FLAG] = begins
    never = torch.zeros_like(rewards, dtype=torch.bool)
    return Trajectory(
        observations=observations,
        actions=torch.zeros_like(rewards, dtype=torch.int64),
        rewards=rewards,
        outputs=observations,
        log_p=torch.zeros_like(rewards),
        terminated=never,
        truncated=never,
        mask=mask,
        last_observations=observations[:, -1],
        values=torch.zeros_like(rewards) if values is None else torch.tensor([values]).double(),
    )


def test_episodes_are_counted_by_the_input_that_says_so():
    begins = [[1, 1], [0, 1], [1, 0], [1, 1]]
    played = trials(begins, [[0, 0]] * 4, mask=[[1, 1], [1, 1], [1, 1], [0, 1]])
    assert episodes_begun(played, FLAG).tolist() == [[2, 3]]
    assert episodes_begun(played, None).tolist() == [[1, 1]]


def test_a_near_goal_counts_no_more_for_the_episodes_that_fit_into_a_trial():
    """Two levels that surprise by 1 an episode: four episodes of one step, one of four steps."""
    begins = [[1, 1], [1, 0], [1, 0], [1, 0]]
    rewards = [[2, 0], [2, 0], [2, 0], [2, 2]]
    values = [[1, 1]] * 4
    played = trials(begins, rewards, values)
    advantages = torch.tensor([[[1, -1], [1, 0], [1, 0], [1, 1]]]).double()
    targets = played.values + advantages
    scored = ScoredTrajectory(played, advantages, targets, {}, None, reward_scale=0.5)
    told = outcome(scored, episodes_begun(played, FLAG))
    assert told.returns.tolist() == [[2, 2]]
    assert told.solved.tolist() == [[1, 1]]
    assert told.surprise.tolist() == [[4 / 4 / 4 / 0.5, 1 / 4 / 0.5]]  # mean over time, per episode
    assert told.values.tolist() == [[1 / 4 / 0.5, 1 / 0.5]]
    assert told.surprise[0, 0] == told.surprise[0, 1]


def test_levels_without_a_critic_are_refused():
    played = trials([[1]], [[0]])._replace(values=None)
    scored = ScoredTrajectory(played, played.rewards, played.rewards, {}, None)
    with pytest.raises(ValueError, match="critic"):
        outcome(scored, torch.ones(1, 1))
