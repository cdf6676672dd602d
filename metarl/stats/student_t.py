"""Student's t interval: for means over a handful of seeds, where a bootstrap is too narrow."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from metarl.stats.intervals import IntervalArray, check_confidence, check_finite


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
