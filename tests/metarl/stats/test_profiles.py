"""Performance profiles and the probability of improvement: closed forms, and a broken twin."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from metarl.stats import performance_profile, probability_of_improvement


def rng():
    return np.random.default_rng(0)


def test_a_profile_counts_what_is_above():
    scores = np.array([[0.0, 0.5, 1.0], [0.2, 0.5, 0.9]])
    found = performance_profile(scores, [-1.0, 0.2, 0.5, 1.0], rng=rng(), num_resamples=200)
    np.testing.assert_allclose(found.estimate, [1.0, 4 / 6, 2 / 6, 0.0])
    assert (found.low <= found.estimate).all()
    assert (found.estimate <= found.high).all()
    assert found.low[0] == found.high[0] == 1.0


def test_a_profile_falls_and_its_area_is_the_mean():
    scores = rng().random((4, 9))
    taus = np.linspace(0, 1, 1001)
    found = performance_profile(scores, taus, rng=rng(), num_resamples=2)
    assert (np.diff(found.estimate) <= 0).all()
    assert np.trapezoid(found.estimate, taus) == pytest.approx(scores.mean(), abs=1e-3)


def test_improvement_is_the_mann_whitney_statistic_of_every_task():
    draw = rng()
    x, y = draw.integers(0, 5, (6, 4)).astype(float), draw.integers(0, 5, (3, 4)).astype(float)
    found = probability_of_improvement(x, y, rng=rng(), num_resamples=200)
    of_tasks = [mannwhitneyu(x[:, n], y[:, n]).statistic / (6 * 3) for n in range(4)]
    assert found.estimate == pytest.approx(np.mean(of_tasks))
    back = probability_of_improvement(y, x, rng=rng(), num_resamples=200)
    assert found.estimate + back.estimate == pytest.approx(1.0)


def test_what_is_always_better_is_so_surely_and_ties_are_even():
    x = rng().random((3, 5))
    assert probability_of_improvement(x + 2, x, rng=rng()) == (1.0, 1.0, 1.0)
    one = np.zeros((2, 4))
    assert probability_of_improvement(one, one, rng=rng()) == (0.5, 0.5, 0.5)


def test_the_interval_covers_the_truth_of_methods_that_are_alike():
    """Of two methods that are alike but for the luck of their seeds."""
    covered = []
    for trial in range(60):
        draw = np.random.default_rng(trial)
        x, y = (draw.normal(size=(12, 1)) + 0.3 * draw.normal(size=(12, 20)) for _ in range(2))
        found = probability_of_improvement(x, y, rng=draw, num_resamples=200)
        covered.append(found.low <= 0.5 <= found.high)
    assert np.mean(covered) > 0.85


@pytest.mark.parametrize("shape", [(3,), (2, 5)])
def test_other_tasks_are_refused(shape):
    with pytest.raises(ValueError, match="with the same tasks"):
        probability_of_improvement(np.zeros(shape), np.zeros((2, 4)), rng=rng())
    with pytest.raises(ValueError, match="axes"):
        performance_profile(np.zeros(3), [0.5], rng=rng())
