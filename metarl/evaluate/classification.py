"""What adaptation to tasks of classification comes to: accuracies, for summaries and in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from metarl.evaluate.adaptation import Array
from metarl.evaluate.supervised import AdaptationCurve
from metarl.stats import mean_and_interval

SIDES = ("non_transductive", "transductive")

FIGURES = tuple(f"{side}_{what}" for side in SIDES for what in ("accuracy", "curve"))
"""What is averaged over several runs."""


def accuracies(curve: AdaptationCurve) -> dict[str, Any]:
    """Return both accuracies after every number of steps: mean, half a 95 % interval."""
    columns: dict[str, Any] = {"steps": list(curve.steps)}
    for name in SIDES:
        mean, _, high = mean_and_interval(getattr(curve, name))
        columns[f"{name}_accuracy"] = float(mean[-1])
        columns[f"{name}_ci95"] = float(high[-1] - mean[-1])
        columns[f"{name}_curve"] = mean.tolist()
        columns[f"{name}_curve_ci95"] = (high - mean).tolist()
    return columns


def percent(summary: Mapping[str, Any], name: str) -> str:
    """Return an accuracy with its interval, such as ``94.03 ± 0.98 %``."""
    mean, half = summary[f"{name}_accuracy"], summary[f"{name}_ci95"]
    interval = f" ± {100 * half:.2f}" if half is not None and np.isfinite(half) else ""
    return f"{100 * mean:.2f}{interval} %"


def describe_seeds(summary: Mapping[str, Any]) -> str:
    """Return the accuracies over several runs, in a line."""
    shown = []
    for side in SIDES:
        low, high = summary[f"{side}_accuracy_over_runs_ci95"]
        mean = summary[f"{side}_accuracy"]
        words = side.replace("_", "-")
        shown.append(f"{words} {100 * mean:.2f} % [{100 * low:.2f}, {100 * high:.2f}]")
    return f"mean of {summary['num_runs']} runs: {', '.join(shown)} (95 % t interval over the runs)"


def area_under(curve: Array) -> Array:
    """Return the mean height of curves ``[N, T]`` by trapezoids, ``[N]``: a constant's is itself.

    # Deviation: the published code divides the area by T, not by the T - 1 it is wide.
    """
    if curve.shape[1] == 1:
        return curve[:, 0]
    area: Array = (0.5 * (curve[:, 1:] + curve[:, :-1])).mean(1)
    return area
