"""Estimates with honest intervals, over seeds and over tasks.

- Percentile bootstrap: Efron (1979), "Bootstrap methods: another look at the jackknife".
- Interquartile mean and stratified bootstrap: Agarwal et al. (2021), "Deep reinforcement learning
  at the edge of the statistical precipice" (`rliable`).
- Crossed bootstrap: Owen (2007), "The pigeonhole bootstrap".
- Student's t interval: for means over a handful of seeds, where a bootstrap is too narrow.

Which to take: `bootstrap_ci` for one agent over many tasks; `mean_and_interval` over seeds;
`clustered_bootstrap_ci` for [seeds, tasks], where one agent plays all tasks of its row;
`crossed_bootstrap_ci` for the same where the tasks, too, are a sample of many, and
`crossed_difference_ci` for how far two sets of agents on the same tasks are apart;
`stratified_bootstrap_ci` for [runs, tasks], where every entry is a training run of its own.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
# Maps [R, ...] to [R]: R resamples in, R estimates out.
Statistic = Callable[[FloatArray], FloatArray]

_CHUNK = 2**21  # numbers resampled at a time; bounds the memory to some 50 MB


class Interval(NamedTuple):
    """An estimate and the interval around it, each a float."""

    estimate: float
    low: float
    high: float


class IntervalArray(NamedTuple):
    """Estimates and intervals, each an array of one shape."""

    estimate: FloatArray
    low: FloatArray
    high: FloatArray


def mean(samples: FloatArray) -> FloatArray:
    """The mean of each resample: [R, ...] → [R]."""
    result: FloatArray = samples.reshape(len(samples), -1).mean(axis=1)
    return result


def iqm(samples: FloatArray) -> FloatArray:
    """The interquartile mean of each resample: [R, ...] → [R]."""
    return interquartile_mean(samples.reshape(len(samples), -1), axis=1)


def interquartile_mean(values: ArrayLike, axis: int = -1) -> FloatArray:
    """The mean of the middle half: what is left without the lowest and the highest quarter.

    Exact for any n: value i (from 0, sorted) covers [i, i + 1], and counts for the share of it that
    lies in [n/4, 3n/4]. Where 4 divides n this is `scipy.stats.trim_mean(values, 0.25)`.

    Args:
        values: Finite numbers [..., n, ...].
        axis: The axis of n; at least one value.

    Returns:
        [..., ...], without that axis; float64.
    """
    ordered = np.sort(np.moveaxis(np.asarray(values, dtype=np.float64), axis, -1), axis=-1)
    _check(ordered, "values")
    n = ordered.shape[-1]
    left = np.arange(n, dtype=np.float64)
    weights = np.clip(np.minimum(left + 1, 0.75 * n) - np.maximum(left, 0.25 * n), 0.0, None)
    result: FloatArray = ordered @ (weights / (0.5 * n))
    return result


def bootstrap_ci(
    values: ArrayLike,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
    statistic: Statistic = mean,
) -> Interval:
    """Percentile bootstrap interval from independent values, such as returns on fresh tasks.

    Args:
        values: [n], finite.
        rng: Draws the resamples.
        confidence: Between 0 and 1.
        num_resamples: How often to resample.
        statistic: `mean`, `iqm`, or any function [R, n] → [R].

    Returns:
        The statistic of `values` itself, and the percentiles of its resamples.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"values must have one axis, got shape {array.shape}")

    def resample(count: int) -> FloatArray:
        return array[rng.integers(array.size, size=(count, array.size))]  # [R, n]

    return _percentile_interval(array, resample, statistic, confidence, num_resamples)


def clustered_bootstrap_ci(
    values: ArrayLike,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
    statistic: Statistic = mean,
) -> Interval:
    """Bootstrap interval for agents that each play all tasks: whole rows are resampled.

    The scores in a row share their seed's luck in training, so they are kept together. With fewer
    than some ten seeds it is too narrow, as every bootstrap is; see `mean_and_interval`.

    Args:
        values: [seeds, tasks], finite.
        rng: Draws the resamples.
        confidence: Between 0 and 1.
        num_resamples: How often to resample.
        statistic: `mean`, `iqm`, or any function [R, seeds, tasks] → [R].
    """
    array = _two_axes(values)

    def resample(count: int) -> FloatArray:
        return array[rng.integers(len(array), size=(count, len(array)))]  # [R, seeds, tasks]

    return _percentile_interval(array, resample, statistic, confidence, num_resamples)


def crossed_bootstrap_ci(
    values: ArrayLike,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
    statistic: Statistic = mean,
) -> Interval:
    """Bootstrap interval for agents that each play the same tasks, a sample of many.

    Rows and columns are resampled each on their own, so that both the luck of a seed in training
    and the luck of the draw of tasks count. With one row it is `bootstrap_ci` over its tasks. On
    average it is a little too wide, but with few seeds too narrow, as every bootstrap is.

    Args:
        values: [seeds, tasks], finite.
        rng: Draws the resamples.
        confidence: Between 0 and 1.
        num_resamples: How often to resample.
        statistic: `mean`, `iqm`, or any function [R, seeds, tasks] → [R].
    """
    array = _two_axes(values)
    num_rows, num_columns = array.shape

    def resample(count: int) -> FloatArray:
        rows = rng.integers(num_rows, size=(count, num_rows, 1))
        columns = rng.integers(num_columns, size=(count, 1, num_columns))
        return array[rows, columns]  # [R, seeds, tasks]

    return _percentile_interval(array, resample, statistic, confidence, num_resamples)


def crossed_difference_ci(
    first: ArrayLike,
    second: ArrayLike,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
) -> Interval:
    """Bootstrap interval of mean(first) - mean(second), of two sets of agents on the same tasks.

    As `crossed_bootstrap_ci`: the tasks are resampled once for both sides, the seeds of each side
    on their own, since they trained apart. A task that is easy for all does not count as noise.

    Args:
        first: [seeds, tasks], finite.
        second: [seeds, tasks], finite; as many tasks, in the same order.
        rng: Draws the resamples.
        confidence: Between 0 and 1.
        num_resamples: How often to resample.
    """
    sides = _two_axes(first), _two_axes(second)
    num_tasks = sides[0].shape[1]
    if sides[1].shape[1] != num_tasks:
        raise ValueError(
            f"both sides must have the same tasks, got {num_tasks} and {sides[1].shape[1]}"
        )
    for side in sides:
        _check(side, "values")
    both = np.concatenate([side.mean(0, keepdims=True) for side in sides])  # [2, tasks]

    def resample(count: int) -> FloatArray:
        columns = rng.integers(num_tasks, size=(count, 1, num_tasks))
        drawn = []
        for side in sides:
            rows = rng.integers(len(side), size=(count, len(side), 1))
            drawn.append(side[rows, columns].mean(1))
        return np.stack(drawn, 1)  # [R, 2, tasks]

    def difference(samples: FloatArray) -> FloatArray:
        result: FloatArray = (samples[:, 0] - samples[:, 1]).mean(-1)
        return result

    return _percentile_interval(both, resample, difference, confidence, num_resamples)


def stratified_bootstrap_ci(
    values: ArrayLike,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
    statistic: Statistic = mean,
) -> Interval:
    """Bootstrap interval as in `rliable`: runs are resampled within each task, tasks stay.

    Right where every entry is a run of its own (one agent a task and seed). Where one agent plays
    all tasks of a row it is far too narrow; take `clustered_bootstrap_ci`.

    Args:
        values: [runs, tasks], finite.
        rng: Draws the resamples.
        confidence: Between 0 and 1.
        num_resamples: How often to resample.
        statistic: `mean`, `iqm`, or any function [R, runs, tasks] → [R].
    """
    array = _two_axes(values)
    tasks = np.arange(array.shape[1])

    def resample(count: int) -> FloatArray:
        rows = rng.integers(len(array), size=(count, *array.shape))
        return array[rows, tasks]  # [R, runs, tasks]

    return _percentile_interval(array, resample, statistic, confidence, num_resamples)


def mean_and_interval(
    values: ArrayLike, *, confidence: float = 0.95, axis: int = 0
) -> IntervalArray:
    """The mean over seeds with Student's t interval, for every other axis at once.

        mean ± t(1 - (1 - confidence) / 2; n - 1) · s / √n

    Args:
        values: [..., n, ...], finite; n independent seeds along `axis`.
        confidence: Between 0 and 1.
        axis: The axis of the seeds.

    Returns:
        Arrays [..., ...] without that axis. With one seed there is no interval: its ends are NaN.
    """
    array = np.asarray(values, dtype=np.float64)
    _check(array, "values")
    _check_confidence(confidence)
    n = array.shape[axis]
    centre = array.mean(axis=axis)
    if n == 1:
        nothing = np.full_like(centre, math.nan)
        return IntervalArray(centre, nothing, nothing)
    half = student_t_quantile(0.5 + 0.5 * confidence, n - 1) * array.std(axis=axis, ddof=1)
    half = half / math.sqrt(n)
    return IntervalArray(centre, centre - half, centre + half)


def student_t_quantile(probability: float, degrees: int) -> float:
    """The quantile of Student's t distribution with a whole number of degrees of freedom.

    Bisection on the closed form of Abramowitz & Stegun (1964), 26.7.3 and 26.7.4.

    Args:
        probability: In (0, 1).
        degrees: At least 1.
    """
    if not 0.0 < probability < 1.0 or degrees < 1:
        raise ValueError(f"no t quantile for probability {probability}, degrees {degrees}")
    # A(t) = P(|T| < t) is a function of θ = arctan(t / √degrees), rising on [0, π/2).
    target = abs(2.0 * probability - 1.0)
    low, high = 0.0, 0.5 * math.pi
    for _ in range(100):
        middle = 0.5 * (low + high)
        if _t_central_probability(middle, degrees) < target:
            low = middle
        else:
            high = middle
    return math.copysign(math.sqrt(degrees) * math.tan(low), probability - 0.5)


def _t_central_probability(theta: float, degrees: int) -> float:
    sine, cosine = math.sin(theta), math.cos(theta)
    if degrees % 2:  # 26.7.3: 2/π (θ + sin θ (cos θ + 2/3 cos³ θ + ...)), up to cos^(degrees - 2)
        term, total = cosine, 0.0
        for power in range(1, degrees - 1, 2):
            total += term
            term *= cosine * cosine * (power + 1) / (power + 2)
        return 2.0 / math.pi * (theta + sine * total)
    term, total = 1.0, 0.0  # 26.7.4: sin θ (1 + 1/2 cos² θ + ...), up to cos^(degrees - 2)
    for power in range(0, degrees - 1, 2):
        total += term
        term *= cosine * cosine * (power + 1) / (power + 2)
    return sine * total


def _percentile_interval(
    values: FloatArray,
    resample: Callable[[int], FloatArray],
    statistic: Statistic,
    confidence: float,
    num_resamples: int,
) -> Interval:
    _check(values, "values")
    _check_confidence(confidence)
    if num_resamples < 1:
        raise ValueError(f"num_resamples must be at least 1, got {num_resamples}")
    estimate = float(statistic(values[None])[0])
    chunk = max(1, _CHUNK // values.size)
    counts = [min(chunk, num_resamples - done) for done in range(0, num_resamples, chunk)]
    estimates = np.concatenate([statistic(resample(count)) for count in counts])  # [num_resamples]
    tail = 0.5 * (1.0 - confidence)
    low, high = np.quantile(estimates, [tail, 1.0 - tail])
    return Interval(estimate, float(low), float(high))


def _two_axes(values: ArrayLike) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"values must have two axes, [seeds, tasks], got shape {array.shape}")
    return array


def _check(values: FloatArray, name: str) -> None:
    if values.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite; drop or count the others first")


def _check_confidence(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, such as 0.95, got {confidence}")
