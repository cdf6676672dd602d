"""Statistics of finds, against counts made by hand and in loops."""

import numpy as np
import pytest

from metarl.evaluate.finds import (
    by_layout,
    find_statistics,
    ratio,
    steps_between_finds,
    steps_of_episodes,
    worst,
)


def rewards(*finds, num_steps=10):
    """Rewards ``[T, B]`` of trials that find at these steps, from 1."""
    found = np.zeros((num_steps, len(finds)))
    for trial, steps in enumerate(finds):
        found[np.array(steps, int) - 1, trial] = 10.0
    return found


def test_steps_since_the_find_before():
    nan = np.nan
    gaps = steps_between_finds(rewards([2, 5, 6], [], [10]), num_finds=4)
    np.testing.assert_array_equal(gaps, [[2, 3, 1, nan], [nan] * 4, [10, nan, nan, nan]])


def test_steps_since_the_find_before_in_a_loop():
    played = (np.random.default_rng(0).random((40, 30)) < 0.1).astype(float)
    gaps = steps_between_finds(played, num_finds=3)
    for trial, own in enumerate(gaps):
        steps = np.flatnonzero(played[:, trial])[:3] + 1
        expected = np.diff(np.concatenate([[0], steps]))
        np.testing.assert_array_equal(own[: len(expected)], expected)
        assert np.isnan(own[len(expected) :]).all()


def test_statistics_of_a_few_trials():
    found = find_statistics(rewards([4, 6, 8], [6, 10], []), np.array([2.0, 3.0, 5.0]))
    assert found.success == pytest.approx(2 / 3)
    assert found.first_find_censored_mean == pytest.approx((4 + 6 + 11) / 3)
    assert found.steps_per_find == pytest.approx((2 + 2 + 4) / 3)
    assert found.shortest == pytest.approx((2 + 2 + 3) / 3)
    assert found.gap_over_shortest[:4] == (2.0, pytest.approx(1.2), 1.0, None)
    assert found.gap_num_trials[:4] == (2, 2, 1, 0)
    assert found.second_over_first == pytest.approx(6 / 10)
    assert found.second_is_shorter == 1.0


def test_trials_without_a_find():
    found = find_statistics(rewards([], []), np.array([2.0, 3.0]))
    assert (found.success, found.first_find_censored_mean) == (0.0, 11.0)
    assert found.steps_per_find is found.shortest is found.second_over_first is None
    assert set(found.gap_over_shortest) == {None}


def test_every_later_find_counts_not_the_first_eight_alone():
    found = find_statistics(rewards(range(1, 31), num_steps=30), np.array([1.0]))
    assert found.steps_per_find == found.shortest == 1.0
    assert len(found.gap_over_shortest) == 8


def test_the_interval_of_a_ratio_covers_it():
    rng, covered = np.random.default_rng(1), 0
    for _ in range(300):
        below = rng.uniform(1, 9, 60)
        _, (low, high) = ratio(below * rng.exponential(1.5, 60), below)
        covered += low <= 1.5 <= high
    assert 0.88 < covered / 300 < 0.99


def test_the_worst_of_them():
    values = np.arange(100.0)
    assert [worst(values, p) for p in (1, 5, 10)] == [0.0, 2.0, 4.5]
    assert worst(np.array([3.0, 1.0]), 1) == 1.0


def test_means_by_layout_in_order():
    found = by_layout(np.array([7, 5, 7]), {"return": np.array([1.0, 2.0, 5.0])})
    assert found["return"].tolist() == [3.0, 2.0]
    assert found["trials"].tolist() == [2.0, 1.0]


def test_episodes_that_a_find_ends_are_counted_each_from_its_start():
    played = rewards([2, 8], [7], [], num_steps=10)
    nan = np.nan
    steps = steps_of_episodes(played, 5, num_finds=3)
    np.testing.assert_array_equal(steps, [[2, 3, nan], [nan, 2, nan], [nan] * 3])
    found = find_statistics(played, np.array([2.0, 2.0, 2.0]), ends_at=5)
    assert (found.steps_per_find, found.second_over_first) == (2.5, 1.5)
    assert found.gap_num_trials[:3] == (1, 2, 0)


def test_success_and_first_find_are_of_the_trial_wherever_its_episodes_end():
    played = rewards([8], [4, 7], [], num_steps=10)
    whole = find_statistics(played, np.ones(3))
    parted = find_statistics(played, np.ones(3), ends_at=5)
    assert parted.success == whole.success == pytest.approx(2 / 3)
    assert parted.first_find_censored_mean == whole.first_find_censored_mean
    assert whole.first_find_censored_mean == pytest.approx((8 + 4 + 11) / 3)
    assert parted.gap_num_trials[:2] == (1, 2)  # by episode: the first, the second
