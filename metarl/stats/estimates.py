"""Estimates of a sample: mean, interquartile mean, and Student's t interval over a few seeds."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]


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
    """Mean of each resample: [R, ...] → [R]."""
    result: FloatArray = samples.reshape(len(samples), -1).mean(axis=1)
    return result


def iqm(samples: FloatArray) -> FloatArray:
    """Interquartile mean of each resample: [R, ...] → [R]."""
    return interquartile_mean(samples.reshape(len(samples), -1), axis=1)


def interquartile_mean(values: ArrayLike, axis: int = -1) -> FloatArray:
    """Mean of the middle half: what is left without the lowest and the highest quarter.

    Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical precipice".
    Exact for any n: value i (from 0, sorted) covers [i, i + 1], and counts for the share of it that
    lies in [n/4, 3n/4]. Where 4 divides n this is `scipy.stats.trim_mean(values, 0.25)`.

    Args:
        values: Finite numbers [..., n, ...].
        axis: The axis of n; at least one value.

    Returns:
        [..., ...], without that axis; float64.

    Raises:
        ValueError: There are no values, or one is not finite.
    """
    ordered = np.sort(np.moveaxis(np.asarray(values, dtype=np.float64), axis, -1), axis=-1)
    check_finite(ordered)
    n = ordered.shape[-1]
    left = np.arange(n, dtype=np.float64)
    weights = np.clip(np.minimum(left + 1, 0.75 * n) - np.maximum(left, 0.25 * n), 0.0, None)
    result: FloatArray = ordered @ (weights / (0.5 * n))
    return result


def mean_and_interval(
    values: ArrayLike, *, confidence: float = 0.95, axis: int = 0
) -> IntervalArray:
    """Mean over seeds with Student's t interval, for every other axis at once.

        mean ± t(1 - (1 - confidence) / 2; n - 1) · s / √n

    For a handful of seeds, where a bootstrap is too narrow.

    Args:
        values: [..., n, ...], finite; n independent seeds along `axis`.
        confidence: Between 0 and 1.
        axis: The axis of the seeds.

    Returns:
        Arrays [..., ...] without that axis. With one seed there is no interval: its ends are NaN.

    Raises:
        ValueError: There are no values, one is not finite, or the confidence is no probability.
    """
    array = np.asarray(values, dtype=np.float64)
    check_finite(array)
    check_confidence(confidence)
    n = array.shape[axis]
    centre = array.mean(axis=axis)
    if n == 1:
        nothing = np.full_like(centre, math.nan)
        return IntervalArray(centre, nothing, nothing)
    half = student_t_quantile(0.5 + 0.5 * confidence, n - 1) * array.std(axis=axis, ddof=1)
    half = half / math.sqrt(n)
    return IntervalArray(centre, centre - half, centre + half)


def student_t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t distribution, of a probability in (0, 1) and degrees of freedom.

    Raises:
        ValueError: The probability lies outside, or there is less than one degree.
    """
    if not 0.0 < probability < 1.0 or degrees < 1:
        raise ValueError(f"no t quantile for probability {probability}, degrees {degrees}")
    # A tenth of a second and 15 MB, which training, that imports this module, has no use for.
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


ROUNDING = 1e-9
"""Differences of two returns that are this part of them, or less, are none."""


def normalised_score(value: float, floor: float, top: float) -> float | None:
    """Return where a return lies between two others: 0 at the floor, 1 at the top; not clipped.

    Args:
        value: The return.
        floor: Return of those who score 0.
        top: Return of those who score 1.

    Returns:
        The score; None where the top is not above the floor, but for rounding: there is no scale.
    """
    scale = top - floor
    if not scale > ROUNDING * max(abs(floor), abs(top)):
        return None
    return (value - floor) / scale


def check_finite(values: FloatArray) -> None:
    """Check that there are values, and that they are finite.

    Raises:
        ValueError: There are no values, or one is not finite.
    """
    if values.size == 0:
        raise ValueError(f"values must not be empty, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("values must be finite; drop or count the others first")


def check_confidence(confidence: float) -> None:
    """Check that a confidence is a probability.

    Raises:
        ValueError: It does not lie between 0 and 1.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, such as 0.95, got {confidence}")
