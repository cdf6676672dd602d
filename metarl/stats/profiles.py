"""Whole distributions of scores: performance profiles, and the probability of improvement.

Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical precipice". A
mean hides who fails; a profile says for every score how often it is exceeded, and the probability
of improvement how often one method beats another on a task, however far.

Deviation: scores ``[seeds, tasks]`` are those of agents that each play all tasks, so intervals come
from resampling seeds and tasks each on their own (`crossed`), not every entry (`stratified`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metarl.stats.bootstrap import bootstrap_ci, crossed, two_sides
from metarl.stats.estimates import FloatArray, Interval, IntervalArray, check_finite


def performance_profile(
    scores: ArrayLike,
    thresholds: ArrayLike,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 2_000,
) -> IntervalArray:
    """Fraction of scores above each threshold, with pointwise intervals.

        F(tau) = mean over seeds and tasks of 1[score > tau]

    Args:
        scores: [seeds, tasks], finite.
        thresholds: [T], such as normalised scores from 0 to 1.
        rng: Draws the resamples; every threshold sees the same ones.
        confidence: Between 0 and 1.
        num_resamples: Number of resamples.

    Returns:
        Three arrays [T].
    """
    values, taus = (np.asarray(given, dtype=np.float64) for given in (scores, thresholds))
    check_finite(values)
    check_finite(taus)
    seed = int(rng.integers(2**62))
    found = [
        bootstrap_ci(
            (values > tau).astype(np.float64),
            rng=np.random.default_rng(seed),
            resampling=crossed,
            confidence=confidence,
            num_resamples=num_resamples,
        )
        for tau in taus
    ]
    estimate, low, high = (np.array(column) for column in zip(*found, strict=True))
    return IntervalArray(estimate, low, high)


def probability_of_improvement(
    first: ArrayLike,
    second: ArrayLike,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 2_000,
) -> Interval:
    """Probability that a run of the first scores higher than one of the second, on a task.

        P = mean over tasks of mean over pairs of seeds of 1[x > y] + 1[x = y] / 2

    which is the Mann-Whitney statistic of every task, averaged: 0.5 where neither is better.

    Args:
        first: [seeds, tasks], finite.
        second: [seeds, tasks], finite; as many tasks, in the same order; perhaps other seeds.
        rng: Draws the resamples: tasks once for both sides, the seeds of each on their own.
        confidence: Between 0 and 1.
        num_resamples: Number of resamples.

    Raises:
        ValueError: The tasks are not as many, or the scores have other axes, or are not finite.
    """
    x, y = two_sides(first, second)
    difference = x[:, None] - y  # [seeds, seeds, tasks]
    wins = (difference > 0) + 0.5 * (difference == 0)

    def resample(_: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
        rows = rng.integers(len(x), size=(count, len(x), 1, 1))
        others = rng.integers(len(y), size=(count, 1, len(y), 1))
        columns = rng.integers(x.shape[1], size=(count, 1, 1, x.shape[1]))
        drawn: FloatArray = wins[rows, others, columns]
        return drawn

    return bootstrap_ci(
        wins, rng=rng, resampling=resample, confidence=confidence, num_resamples=num_resamples
    )
