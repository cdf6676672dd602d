"""Percentile bootstrap intervals: Efron (1979), "Bootstrap methods: another look at the jackknife".

What is resampled is what was drawn at random, each source of luck on its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from metarl.stats.estimates import FloatArray, Interval, check_confidence, check_finite, mean

Statistic: TypeAlias = Callable[[FloatArray], FloatArray]
"""Maps [R, ...] to [R]: R resamples in, R estimates out."""

Resampling: TypeAlias = Callable[[FloatArray, int, np.random.Generator], FloatArray]
"""Called with the values [...], R and a generator; draws R samples like them, [R, ...]."""

_CHUNK = 2**21  # numbers resampled at a time; bounds the memory to some 50 MB


def independent(values: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Samples of independent values [n], such as returns on fresh tasks."""
    _check_axes(values, 1, "one axis")
    return values[rng.integers(values.size, size=(count, values.size))]


def clustered(values: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Samples of agents that each play all tasks, [seeds, tasks]: whole rows are resampled.

    The scores in a row share their seed's luck in training, so they are kept together. With fewer
    than some ten seeds it is too narrow, as every bootstrap is; see `mean_and_interval`.
    """
    _check_axes(values, 2, "two axes, [seeds, tasks]")
    return values[rng.integers(len(values), size=(count, len(values)))]


def crossed(values: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Samples of agents that each play the same tasks, of many such tasks, [seeds, tasks].

    Rows and columns are resampled each on their own (Owen 2007, "The pigeonhole bootstrap"), so
    that both the luck of a seed in training and the luck of the draw of tasks count. With one row
    it is `independent` over its tasks. On average it is a little too wide, but with few seeds too
    narrow, as every bootstrap is.
    """
    _check_axes(values, 2, "two axes, [seeds, tasks]")
    num_rows, num_columns = values.shape
    rows = rng.integers(num_rows, size=(count, num_rows, 1))
    columns = rng.integers(num_columns, size=(count, 1, num_columns))
    return values[rows, columns]


def stratified(values: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Samples of runs that each train on one task, [runs, tasks]: tasks stay, as in `rliable`.

    The stratified bootstrap of Agarwal et al. (2021), "Deep reinforcement learning at the edge of
    the statistical precipice". Where one agent plays all tasks of a row it is far too narrow; take
    `clustered` or `crossed`.
    """
    _check_axes(values, 2, "two axes, [seeds, tasks]")
    rows = rng.integers(len(values), size=(count, *values.shape))
    return values[rows, np.arange(values.shape[1])]


def bootstrap_ci(
    values: ArrayLike,
    *,
    rng: np.random.Generator,
    resampling: Resampling = independent,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
    statistic: Statistic = mean,
) -> Interval:
    """Percentile bootstrap interval.

    Args:
        values: Finite; [n], or [seeds, tasks] where the resampling asks for it.
        rng: Draws the resamples.
        resampling: `independent`, `clustered`, `crossed` or `stratified`.
        confidence: Between 0 and 1.
        num_resamples: Number of resamples.
        statistic: `mean`, `iqm`, or any function [R, ...] → [R].

    Returns:
        The statistic of `values` itself, and the percentiles of its resamples.

    Raises:
        ValueError: The values are none, not finite, or of another shape.
    """
    array = np.asarray(values, dtype=np.float64)
    check_finite(array)
    check_confidence(confidence)
    if num_resamples < 1:
        raise ValueError(f"num_resamples must be at least 1, got {num_resamples}")
    chunk = max(1, _CHUNK // array.size)
    counts = [min(chunk, num_resamples - done) for done in range(0, num_resamples, chunk)]
    estimates = np.concatenate([statistic(resampling(array, count, rng)) for count in counts])
    tail = 0.5 * (1.0 - confidence)
    low, high = np.quantile(estimates, [tail, 1.0 - tail])
    return Interval(float(statistic(array[None])[0]), float(low), float(high))


def crossed_difference_ci(
    first: ArrayLike,
    second: ArrayLike,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
) -> Interval:
    """Bootstrap interval of mean(first) - mean(second), of two sets of agents on the same tasks.

    As `crossed`: the tasks are resampled once for both sides, the seeds of each side on their own,
    since they trained apart. A task that is easy for all does not count as noise.

    Args:
        first: [seeds, tasks], finite.
        second: [seeds, tasks], finite; as many tasks, in the same order.
        rng: Draws the resamples.
        confidence: Between 0 and 1.
        num_resamples: Number of resamples.
    """
    sides = two_sides(first, second)
    num_tasks = sides[0].shape[1]

    def resample(_: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
        columns = rng.integers(num_tasks, size=(count, 1, num_tasks))
        drawn = []
        for side in sides:
            rows = rng.integers(len(side), size=(count, len(side), 1))
            drawn.append(side[rows, columns].mean(1))
        return np.stack(drawn, 1)  # [R, 2, tasks]

    def difference(samples: FloatArray) -> FloatArray:
        result: FloatArray = (samples[:, 0] - samples[:, 1]).mean(-1)
        return result

    return bootstrap_ci(
        np.stack([side.mean(0) for side in sides]),  # [2, tasks]
        rng=rng,
        resampling=resample,
        confidence=confidence,
        num_resamples=num_resamples,
        statistic=difference,
    )


def two_sides(first: ArrayLike, second: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return the scores of two sides, each [seeds, tasks], on the same tasks.

    Raises:
        ValueError: The tasks are not as many, or the scores have other axes, or are not finite.
    """
    x, y = (np.asarray(side, dtype=np.float64) for side in (first, second))
    for side in (x, y):
        check_finite(side)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        got = (side.shape[1] if x.ndim == y.ndim == 2 else side.shape for side in (x, y))
        raise ValueError(
            "both sides must be [seeds, tasks] with the same tasks, got {} and {}".format(*got)
        )
    return x, y


def _check_axes(values: FloatArray, number: int, what: str) -> None:
    if values.ndim != number:
        raise ValueError(f"values must have {what}, got shape {values.shape}")
