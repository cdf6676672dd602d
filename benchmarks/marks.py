"""Learning curves in a few marks: means over stretches of environment steps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_MARKS = 40
"""Stretches of a training."""


def marks_of(steps: NDArray[Any], values: NDArray[Any]) -> Iterator[dict[str, Any]]:
    """The mean of what is finite in each stretch, and where the stretch ends.

    Args:
        steps: Environment steps of each line of metrics, ``[n]``.
        values: Training return of each, ``[n]``.
    """
    for before, mark in pairwise(np.linspace(0, steps[-1], NUM_MARKS + 1)):
        chosen = (steps > before) & (steps <= mark) & np.isfinite(values)
        if chosen.any():
            mean = round(float(values[chosen].mean()), 3)
            yield {"env_steps": round(mark), "return": mean}
