import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metarl.stats import (
    bootstrap_ci,
    clustered,
    crossed,
    crossed_difference_ci,
    interquartile_mean,
    iqm,
    mean,
    mean_and_interval,
    normalised_score,
    stratified,
    student_t_quantile,
)

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3, 100], 2.5),
        ([0, 0, 2, 4, 6, 8, 99, 99], 5.0),
        ([5], 5.0),
        ([1, 3], 2.0),
        ([0, 3, 90], (0.25 * 0 + 1 * 3 + 0.25 * 90) / 1.5),  # [0.75, 2.25] of [0, 3]
        ([0, 1, 2, 3, 40], (0.75 * 1 + 1 * 2 + 0.75 * 3) / 2.5),  # [1.25, 3.75] of [0, 5]
    ],
)
def test_interquartile_mean_by_hand(values: list[float], expected: float) -> None:
    assert interquartile_mean(values) == pytest.approx(expected, rel=1e-12)
    assert interquartile_mean(values[::-1]) == pytest.approx(expected, rel=1e-12)


@given(numbers)
def test_interquartile_mean_is_that_of_four_copies(values: list[float]) -> None:
    """With every value four times, 4 divides n, and trimming is exact."""
    middle = np.sort(np.repeat(values, 4))[len(values) : 3 * len(values)]
    assert interquartile_mean(values) == pytest.approx(middle.mean(), rel=1e-9, abs=1e-6)


def test_interquartile_mean_works_along_an_axis() -> None:
    values = _rng().normal(size=(3, 7, 2))
    result = interquartile_mean(values, axis=1)
    assert result.shape == (3, 2)
    assert result[2, 1] == pytest.approx(interquartile_mean(values[2, :, 1]))
    np.testing.assert_allclose(iqm(values), interquartile_mean(values.reshape(3, 14)))


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [
        (1, 12.7062),
        (2, 4.30265),
        (3, 3.18245),
        (4, 2.77645),
        (9, 2.26216),
        (30, 2.04227),
        (1000, 1.96234),
    ],
)
def test_t_quantiles_are_those_of_the_tables(degrees: int, expected: float) -> None:
    assert student_t_quantile(0.975, degrees) == pytest.approx(expected, rel=3e-6)
    assert student_t_quantile(0.025, degrees) == pytest.approx(-expected, rel=3e-6)


def test_t_quantiles_in_closed_form() -> None:
    for p in (0.6, 0.9, 0.999):
        assert student_t_quantile(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-12)
        exact = (2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p)))
        assert student_t_quantile(p, 2) == pytest.approx(exact, rel=1e-12)
    assert student_t_quantile(0.5, 3) == pytest.approx(0.0, abs=1e-12)
    for probability, degrees in [(0.0, 3), (1.0, 3), (0.9, 0)]:
        with pytest.raises(ValueError, match="no t quantile"):
            student_t_quantile(probability, degrees)


def test_mean_and_interval_by_hand() -> None:
    estimate, low, high = mean_and_interval([[1.0, 10.0], [2.0, 10.0], [3.0, 10.0]])
    half = 4.302653 / math.sqrt(3)  # s = 1, n = 3
    np.testing.assert_allclose(estimate, [2.0, 10.0])
    np.testing.assert_allclose(low, [2.0 - half, 10.0], rtol=1e-6)
    np.testing.assert_allclose(high, [2.0 + half, 10.0], rtol=1e-6)


def test_one_seed_has_no_interval() -> None:
    estimate, low, high = mean_and_interval([[1.0, 2.0]])
    assert estimate.tolist() == [1.0, 2.0]
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_t_interval_covers_as_often_as_it_says() -> None:
    samples = _rng(1).normal(loc=3.0, size=(3, 4000))  # 3 seeds, 4,000 repetitions
    _, low, high = mean_and_interval(samples, confidence=0.9)
    coverage = np.mean((low < 3.0) & (high > 3.0))
    assert coverage == pytest.approx(0.9, abs=0.02)


def test_bootstrap_of_two_values_in_closed_form() -> None:
    """The mean of a resample of {0, 1} is 0, 1/2, 1 with probability 1/4, 1/2, 1/4."""
    values = [0.0, 1.0]
    assert bootstrap_ci(values, rng=_rng(), confidence=0.95) == (0.5, 0.0, 1.0)
    assert bootstrap_ci(values, rng=_rng(), confidence=0.4) == (0.5, 0.5, 0.5)


def test_bootstrap_agrees_with_the_normal_interval_of_many_values() -> None:
    values = _rng(2).normal(loc=5.0, scale=2.0, size=1000)
    estimate, low, high = bootstrap_ci(values, rng=_rng())
    half = 1.96 * values.std() / math.sqrt(1000)
    assert estimate == pytest.approx(values.mean())
    assert low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_bootstrap_covers_as_often_as_it_says() -> None:
    rng = _rng(3)
    hits = 0
    for _ in range(500):
        values = rng.exponential(size=60)
        _, low, high = bootstrap_ci(values, rng=rng, num_resamples=400)
        hits += low < 1.0 < high
    assert 0.89 <= hits / 500 <= 0.97


def test_bootstrap_of_other_statistics() -> None:
    values = np.r_[np.zeros(50), np.ones(50), 1e6]
    estimate, _, high = bootstrap_ci(values, rng=_rng(), statistic=iqm)
    assert estimate == pytest.approx(interquartile_mean(values))
    assert high <= 1.0, "the interquartile mean does not see the outlier"
    assert bootstrap_ci(values, rng=_rng(), statistic=mean).high > 1000


def test_stratified_bootstrap_keeps_tasks_apart() -> None:
    """Tasks of very different scores, runs alike: nothing to resample, so no width."""
    values = np.tile([0.0, 100.0, 200.0], (5, 1))
    assert bootstrap_ci(values, resampling=stratified, rng=_rng()) == pytest.approx(
        (100.0, 100.0, 100.0)
    )
    pooled = bootstrap_ci(values.ravel(), rng=_rng())
    assert pooled.high - pooled.low > 50, "the negative control: pooling mixes the tasks"


def test_stratified_bootstrap_has_the_width_of_independent_runs() -> None:
    values = _rng(4).normal(size=(10, 50))
    low, high = bootstrap_ci(values, resampling=stratified, rng=_rng())[1:]
    expected = 2 * 1.96 * math.sqrt(values.var(axis=0).mean() / 500)
    assert high - low == pytest.approx(expected, rel=0.05)


def test_crossed_bootstrap_counts_the_luck_of_seeds_and_of_tasks() -> None:
    """Where both are drawn anew, resampling the seeds alone misses the luck of the tasks."""
    truth = np.random.default_rng(3)
    hits = {crossed: 0, clustered: 0}
    for _ in range(150):
        seeds, tasks = truth.normal(0, 0.3, (12, 1)), truth.normal(0, 1.0, (1, 12))
        values = seeds + tasks + truth.normal(0, 0.3, (12, 12))
        for method in hits:
            interval = bootstrap_ci(values, resampling=method, rng=truth, num_resamples=200)
            hits[method] += interval.low <= 0.0 <= interval.high
    assert hits[crossed] / 150 >= 0.85
    assert hits[clustered] / 150 <= 0.7


def test_crossed_bootstrap_of_one_seed_is_the_bootstrap_over_its_tasks() -> None:
    values = np.random.default_rng(4).normal(size=40)
    one = bootstrap_ci(values[None], resampling=crossed, rng=_rng())
    assert one == pytest.approx(bootstrap_ci(values, rng=_rng()), abs=0.02)
    assert one.low < one.estimate < one.high


def test_crossed_difference_pairs_tasks_and_draws_the_seeds_of_each_side_apart() -> None:
    """What a task is worth to all does not count; the luck of either side's seeds does."""
    truth = np.random.default_rng(8)
    hits = paired_seeds = 0
    for _ in range(150):
        tasks = truth.normal(0, 10.0, 12)
        first, second = (tasks + truth.normal(0, 0.5, (n, 1)) for n in (12, 10))
        first = first + truth.normal(0, 0.3, (12, 12))
        interval = crossed_difference_ci(first, second, rng=truth, num_resamples=200)
        hits += interval.low <= 0.0 <= interval.high
        assert interval.high - interval.low < 2.0  # not some 10, as with tasks drawn apart
        of_means = first[:10] - second
        alone = bootstrap_ci(of_means.mean(0), rng=truth, num_resamples=200)
        paired_seeds += alone.low <= 0.0 <= alone.high
    assert hits / 150 >= 0.87
    assert paired_seeds / 150 <= 0.75


def test_crossed_difference_of_one_side_with_nothing_is_the_crossed_bootstrap() -> None:
    values = np.random.default_rng(9).normal(size=(5, 30))
    found = crossed_difference_ci(values, np.zeros((1, 30)), rng=_rng())
    assert found == pytest.approx(bootstrap_ci(values, resampling=crossed, rng=_rng()), abs=0.02)
    assert found.estimate == pytest.approx(values.mean())
    with pytest.raises(ValueError, match="same tasks, got 30 and 29"):
        crossed_difference_ci(values, np.zeros((1, 29)), rng=_rng())


def test_clustered_bootstrap_covers_where_the_stratified_one_does_not() -> None:
    """Scores of one seed move together; resampling them apart pretends to more seeds."""
    rng = _rng(5)
    hits = {clustered: 0, stratified: 0}
    for _ in range(200):
        values = rng.normal(size=(20, 1)) + 0.5 * rng.normal(size=(20, 30))
        for method in hits:
            _, low, high = bootstrap_ci(values, resampling=method, rng=rng, num_resamples=200)
            hits[method] += low < 0.0 < high
    assert hits[clustered] / 200 >= 0.87
    assert hits[stratified] / 200 <= 0.6


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    values = _rng(6).normal(size=100)
    whole = bootstrap_ci(values, rng=_rng(), num_resamples=1000)
    monkeypatch.setattr("metarl.stats.bootstrap._CHUNK", 777)
    assert bootstrap_ci(values, rng=_rng(), num_resamples=1000) == whole


def test_the_same_generator_gives_the_same_interval() -> None:
    values = _rng(7).normal(size=100)
    assert bootstrap_ci(values, rng=_rng(1)) == bootstrap_ci(values, rng=_rng(1))
    assert bootstrap_ci(values, rng=_rng(1)) != bootstrap_ci(values, rng=_rng(2))


def test_bad_values_are_refused() -> None:
    for values, message in [([], "not be empty"), ([1.0, math.nan], "must be finite")]:
        with pytest.raises(ValueError, match=message):
            bootstrap_ci(values, rng=_rng())
        with pytest.raises(ValueError, match=message):
            mean_and_interval(values)
        with pytest.raises(ValueError, match=message):
            interquartile_mean(values)
    with pytest.raises(ValueError, match="one axis"):
        bootstrap_ci([[1.0]], rng=_rng())
    with pytest.raises(ValueError, match=r"\[seeds, tasks\]"):
        bootstrap_ci([1.0], rng=_rng(), resampling=clustered)
    with pytest.raises(ValueError, match="got 95"):
        bootstrap_ci([1.0], rng=_rng(), confidence=95)
    with pytest.raises(ValueError, match="num_resamples"):
        bootstrap_ci([1.0], rng=_rng(), num_resamples=0)


def test_a_score_needs_a_scale_whatever_the_sign_of_the_returns():
    assert normalised_score(1.5, 1.0, 2.0) == 0.5
    assert normalised_score(-3.0, -2.0, -1.0) == -1.0
    for floor in (-2.0, 0.0, 2.0, 1e9):
        assert normalised_score(1.0, floor, floor) is None
        assert normalised_score(1.0, floor, floor - 1.0) is None
        assert normalised_score(1.0, floor, floor * (1 + 1e-12)) is None
    assert normalised_score(1.0, math.nan, 1.0) is None
