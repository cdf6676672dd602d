"""An estimate and what lies around it, and what no estimate can be made of."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

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


def check_finite(values: FloatArray) -> None:
    """Refuse nothing at all, and numbers that are none.

    Raises:
        ValueError: There are no values, or one is not finite.
    """
    if values.size == 0:
        raise ValueError(f"values must not be empty, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("values must be finite; drop or count the others first")


def check_confidence(confidence: float) -> None:
    """Refuse a confidence that is no probability.

    Raises:
        ValueError: It does not lie between 0 and 1.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, such as 0.95, got {confidence}")
