"""Advantages by hand, ends told apart, and no signal made of noise; the linear baseline.

Of the baseline its regression, its time, its ridge, task by task.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from metarl.rl import LinearBaseline, Trajectory
from metarl.rl.advantages import (
    delayed_returns,
    discounted_returns,
    generalised_advantages,
    normalised,
    returns_to_go,
    standardised,
)

T = 4


def episodes(rewards: Tensor, lengths: list[int], how: list[str]) -> Trajectory:
    """One task; episode b lasts ``lengths[b]`` steps and ends ``how[b]``."""
    time = torch.arange(T)[:, None]
    mask = (time < torch.tensor(lengths)).double()[None]
    last = (time == torch.tensor(lengths) - 1)[None]
    terminated = last & torch.tensor([h == "terminated" for h in how])
    truncated = last & torch.tensor([h == "truncated" for h in how])
    blank = torch.zeros(1, T, len(lengths), 1)
    return Trajectory(
        blank,
        torch.zeros(1, T, len(lengths), dtype=torch.int64),
        rewards.double() * mask,
        blank,
        mask * 0,
        terminated,
        truncated,
        mask,
        blank[:, 0],
    )


def several(rewards: Tensor, lengths: list[int]) -> Trajectory:
    return episodes(rewards, lengths, ["truncated"] * len(lengths))


def test_generalised_advantages_by_hand() -> None:
    """Three episodes of three steps: terminated, truncated, and (all four steps) just stopped."""
    rewards = torch.tensor([[1.0, 2.0, 3.0, 99.0]]).T.expand(T, 3)[None]
    played = episodes(rewards, [3, 3, 4], ["terminated", "truncated", ""])
    values = torch.tensor([[0.5, 1.5, 2.5, 7.0]], dtype=torch.float64).T.expand(T, 3)[None]
    last_values = torch.tensor([[10.0, 20.0, 30.0]], dtype=torch.float64)
    gamma, lambda_ = 0.9, 0.8
    found = generalised_advantages(played, values, last_values, gamma, lambda_)
    for b, after in enumerate([0.0, 20.0, 30.0]):
        steps = 4 if b == 2 else 3
        advantage = 0.0
        for t in reversed(range(steps)):
            following = after if t == steps - 1 else values[0, t + 1, b].item()
            delta = played.rewards[0, t, b].item() + gamma * following - values[0, t, b].item()
            advantage = delta + gamma * lambda_ * advantage
            assert abs(found[0, t, b].item() - advantage) < 1e-12, (b, t)
        assert (found[0, steps:, b] == 0).all()


def test_nothing_follows_for_a_baseline_of_time() -> None:
    rewards = torch.ones(1, T, 2)
    played = episodes(rewards, [4, 2], ["truncated", "terminated"])
    found = generalised_advantages(played, torch.zeros(1, T, 2).double(), None, 1.0, 1.0)
    assert found[0].T.tolist() == [[4, 3, 2, 1], [2, 1, 0, 0]]
    assert torch.equal(found, returns_to_go(played, 1.0))


def test_at_lambda_1_advantages_are_returns_minus_values() -> None:
    g = torch.Generator().manual_seed(0)
    played = several(torch.randn(1, T, 3, generator=g), [4, 2, 3])
    values = torch.randn(1, T, 3, generator=g).double()
    found = generalised_advantages(played, values, None, 0.9, 1.0)
    expected = (returns_to_go(played, 0.9) - values) * played.mask
    assert torch.allclose(found, expected, atol=1e-12)


def test_normalised_to_mean_0_and_deviation_1_over_the_valid_steps() -> None:
    """Divided by the deviation; divided by the variance, the scale of the rewards would matter."""
    g = torch.Generator().manual_seed(1)
    played = several(torch.randn(1, T, 3, generator=g), [4, 2, 3])
    advantages = 100 * torch.randn(1, T, 3, generator=g).double() * played.mask + 5 * played.mask
    found = normalised(advantages, played)
    valid = found[played.mask.bool()]
    assert abs(valid.mean()) < 1e-9
    assert abs(valid.std(unbiased=False) - 1) < 1e-9
    assert (found[played.mask == 0] == 0).all()
    assert torch.allclose(normalised(1000 * advantages, played), found)


def test_every_task_is_normalised_on_its_own() -> None:
    g = torch.Generator().manual_seed(2)
    one, two = (several(torch.randn(1, T, 3, generator=g), [4, 4, 4]) for _ in range(2))
    both = Trajectory(*(torch.cat(pair) for pair in zip(one[:9], two[:9], strict=True)))
    advantages = torch.cat((one.rewards, 1e4 * two.rewards))
    found = normalised(advantages, both)
    assert torch.allclose(found[:1], normalised(one.rewards, one))
    assert torch.allclose(found[1:], normalised(two.rewards, two))


def test_without_rewards_the_errors_of_a_baseline_are_no_signal() -> None:
    g = torch.Generator().manual_seed(3)
    noise = 1e-3 * torch.randn(1, T, 3, generator=g).double()
    for reward in (0.0, -1.0):
        played = several(torch.full((1, T, 3), reward), [4, 4, 4])
        assert torch.equal(normalised(noise, played), torch.zeros_like(noise))
    eventful = several(torch.zeros(1, T, 3).index_fill(1, torch.tensor([2]), 1.0), [4, 4, 4])
    assert normalised(noise, eventful).abs().max() > 0.5


def test_equal_rewards_in_episodes_of_unequal_length_are_a_signal() -> None:
    """Each step costs 1 and a goal ends the episode: the short one is the better one."""
    played = episodes(-torch.ones(1, T, 2), [4, 2], ["truncated", "terminated"])
    found = normalised(returns_to_go(played, 1.0), played)
    assert found[0, 0, 1] > found[0, 0, 0]


def test_differences_of_rounding_are_no_signal() -> None:
    g = torch.Generator().manual_seed(4)
    played = several(torch.rand(1, T, 3, generator=g), [4, 4, 4])
    advantages = torch.full((1, T, 3), 0.1) + 5e-8 * torch.rand(1, T, 3, generator=g)
    assert advantages.unique().numel() > 2
    assert (normalised(advantages, played) == 0).all()


def whole(rewards: Tensor) -> Trajectory:
    """Stretches ``[N, T, B]`` or ``[T, B]`` that nothing ends."""
    rewards = rewards if rewards.dim() == 3 else rewards[None]
    no = torch.zeros_like(rewards, dtype=torch.bool)
    blank, ones = torch.zeros(*rewards.shape, 1), torch.ones_like(rewards)
    return Trajectory(blank, no.long(), rewards, blank, 0 * ones, no, no, ones, blank[:, -1])


REWARDS = torch.tensor([[1.0, 0.0], [0.0, 0.0], [4.0, 8.0]])  # [T = 3, B = 2]


def test_returns_by_hand() -> None:
    returns = discounted_returns(REWARDS, 0.5)
    assert returns.tolist() == [[2.0, 2.0], [2.0, 4.0], [4.0, 8.0]]


def test_published_returns_are_one_step_late_and_lose_the_last_reward() -> None:
    returns = delayed_returns(REWARDS, 0.5)
    # r shifted by one: [0, 0], [1, 0], [0, 0]
    assert returns.tolist() == [[0.5, 0.0], [1.0, 0.0], [0.0, 0.0]]


def test_advantages_by_hand() -> None:
    values = torch.tensor([[1.0], [2.0], [3.0]])
    rewards = torch.tensor([[1.0], [0.0], [4.0]])
    # deltas at gamma = 0.5: 1 + 1 - 1 = 1; 0 + 1.5 - 2 = -0.5; 4 - 3 = 1
    # A at gamma * lambda = 0.25: 1 + 0.25 * (-0.25) = 0.9375; -0.5 + 0.25 = -0.25; 1
    advantages = generalised_advantages(whole(rewards), values[None], None, 0.5, 0.5)
    assert advantages.flatten().tolist() == [0.9375, -0.25, 1.0]


def test_advantages_reduce_to_returns_minus_values_and_to_deltas() -> None:
    g = torch.Generator().manual_seed(0)
    rewards = torch.randn(2, 7, 3, generator=g, dtype=torch.float64)
    values = torch.randn(2, 7, 3, generator=g, dtype=torch.float64)
    played = whole(rewards)
    monte_carlo = generalised_advantages(played, values, None, 0.9, 1.0)
    torch.testing.assert_close(monte_carlo, discounted_returns(rewards, 0.9) - values)
    one_step = generalised_advantages(played, values, None, 0.9, 0.0)
    torch.testing.assert_close(one_step[:, -1], rewards[:, -1] - values[:, -1])
    expected = rewards[:, :-1] + 0.9 * values[:, 1:] - values[:, :-1]
    torch.testing.assert_close(one_step[:, :-1], expected)


@pytest.mark.parametrize(
    ("estimator", "aligned"), [(discounted_returns, True), (delayed_returns, False)]
)
def test_a_reward_is_credited_to_its_action(
    estimator: Callable[[Tensor, float], Tensor], aligned: bool
) -> None:
    """A reward at time 1 must reach the action at time 1; the published returns fail this."""
    rewards = torch.tensor([[0.0], [1.0], [0.0]])
    credit = estimator(rewards, 0.0)
    assert (credit[1].item() == 1.0) is aligned


def test_nothing_flows_back_over_a_start_and_standardised_steps_are_those_of_the_mask() -> None:
    """Two episodes in one trajectory, the memory emptied between; the twin runs on."""
    rewards = torch.tensor([[[1.0], [2.0], [4.0], [8.0]]])
    starts = torch.tensor([[[True], [False], [True], [False]]])
    cut = whole(rewards)._replace(starts=starts)
    assert returns_to_go(cut, 0.5).flatten().tolist() == [2.0, 2.0, 8.0, 8.0]
    assert returns_to_go(whole(rewards), 0.5).flatten().tolist() == [4.0, 6.0, 8.0, 8.0]
    values = torch.tensor([[[10.0], [20.0], [30.0], [40.0]]])
    found = generalised_advantages(cut, values, None, 1.0, 0.0).flatten().tolist()
    assert found == [1 + 20 - 10, 2 - 20, 4 + 40 - 30, 8 - 40]
    played = several(torch.rand(1, T, 3), [4, 2, 3])
    steps = standardised(7 + torch.randn(1, T, 3).double() * played.mask, played.mask)
    valid = steps[played.mask.bool()]
    assert abs(valid.mean()) < 1e-9
    assert abs(valid.std() - 1) < 1e-6
    assert (steps[played.mask == 0] == 0).all()
    full = torch.randn(2, T, 3).double()
    ones = torch.ones_like(full)
    expected = (full - full.mean((1, 2), keepdim=True)) / (
        full.flatten(1).std(1).view(-1, 1, 1) + 1e-8
    )
    assert torch.allclose(standardised(full, ones), expected)


@pytest.mark.parametrize("padding", [0, 3])
def test_one_step_alone_has_no_deviation_and_stays_as_it_is(padding: int) -> None:
    """Agent 0 took one step, agent 1 two: of the same task the second is scaled as ever."""
    advantages = torch.tensor([[5.0, 7.0, *[9.0] * padding], [1.0, 3.0, *[9.0] * padding]])
    mask = torch.zeros_like(advantages)
    mask[0, :1] = mask[1, :2] = 1
    found = standardised(advantages.unsqueeze(-1), mask.unsqueeze(-1)).squeeze(-1)
    assert found[0].tolist() == [5.0] + [0.0] * (1 + padding)
    assert torch.allclose(found[1, :2], torch.tensor([-1.0, 1.0]) / 2**0.5)
    alone = torch.tensor([[[5.0]]])
    assert standardised(alone, torch.ones_like(alone)).tolist() == [[[5.0]]]


B, T = 5, 4


def played(num_tasks: int = 1, observations: Tensor | None = None, lengths=(4,) * B):
    one = several(torch.ones(1, T, B), list(lengths))
    if observations is None:
        g = torch.Generator().manual_seed(num_tasks)
        observations = torch.randn(num_tasks, T, B, 2, generator=g)
    grown = [part.expand(num_tasks, *part.shape[1:]) for part in one if part is not None]
    return type(one)(observations, *grown[1:])


def test_returns_that_are_linear_in_the_features_are_found() -> None:
    episodes = played(3)
    o = episodes.observations.double()
    time = torch.arange(T, dtype=torch.float64)[:, None]
    returns = 2 * o[..., 0] - o[..., 1].square() + 3 + 0.5 * time
    found = LinearBaseline(reg=1e-9).values(episodes, returns)
    assert torch.allclose(found, returns, atol=1e-4)


def test_it_is_the_ridge_regression_of_every_task() -> None:
    episodes = played(2, lengths=(4, 3, 2, 4, 1))
    g = torch.Generator().manual_seed(5)
    returns = torch.randn(2, T, B, generator=g).double() * episodes.mask
    baseline = LinearBaseline(reg=0.1)
    found = baseline.values(episodes, returns)
    for i in range(2):
        valid = episodes.mask[i].bool()
        o = episodes.observations[i].double()[valid]
        t = (torch.arange(T)[:, None].expand(T, B)[valid].double() / 100)[:, None]
        x = torch.cat((o, o**2, t, t**2, t**3, torch.ones_like(t)), 1)
        rows = torch.cat((x, 0.1**0.5 * torch.eye(x.shape[1], dtype=x.dtype)))
        y = torch.cat((returns[i][valid], torch.zeros(x.shape[1], dtype=x.dtype)))
        expected = x @ torch.linalg.lstsq(rows, y[:, None]).solution[:, 0]
        assert torch.allclose(found[i][valid], expected, atol=1e-9)
        assert (found[i][~valid] == 0).all()


def test_observations_are_clipped_and_time_is_that_of_the_episode() -> None:
    features = LinearBaseline().features(torch.full((1, T, 1, 1), 1e6))
    assert features.dtype == torch.float64
    assert features[0, 3, 0].tolist() == pytest.approx([10, 100, 0.03, 0.0009, 0.000027, 1])


def test_collinear_observations_are_no_obstacle() -> None:
    """One-hot observations: squares equal them, and they sum to the constant."""
    g = torch.Generator().manual_seed(0)
    states = torch.randint(2, (1, T, B), generator=g)
    episodes = played(1, torch.nn.functional.one_hot(states, 2).float())
    returns = states.double() * 3 + 1
    found = LinearBaseline().values(episodes, returns)
    assert torch.allclose(found, returns, atol=1e-3)


def test_the_ridge_grows_until_it_serves_task_by_task() -> None:
    """A ridge below the rounding of the squares: one task fails at first, the other does not."""
    big = torch.zeros(2, T, B, 2)
    big[0] = 10.0
    episodes = played(2, big)
    returns = torch.ones(2, T, B)
    tiny = LinearBaseline(reg=1e-14).values(episodes, returns)
    assert tiny.isfinite().all()
    assert torch.allclose(tiny, returns, atol=1e-2)


def test_no_number_in_no_number_out() -> None:
    episodes = played(2)
    returns = torch.ones(2, T, B)
    returns[0, 0, 0] = torch.nan
    found = LinearBaseline().values(episodes, returns)
    assert found[0].isnan().all()
    assert found[1].isfinite().all()


def test_a_ridge_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"reg and clip must be above 0, got 0\.0"):
        LinearBaseline(reg=0.0)
