"""The mean and the interquartile mean (Agarwal et al. 2021), of one sample or many resamples."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metarl.stats.intervals import FloatArray, check_finite


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
    check_finite(ordered)
    n = ordered.shape[-1]
    left = np.arange(n, dtype=np.float64)
    weights = np.clip(np.minimum(left + 1, 0.75 * n) - np.maximum(left, 0.25 * n), 0.0, None)
    result: FloatArray = ordered @ (weights / (0.5 * n))
    return result
