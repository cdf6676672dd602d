"""Fits of functions: errors by gradient step, for summaries and in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from metarl.errors import UserError
from metarl.evaluate.adaptation import Array
from metarl.evaluate.evaluation_result import Report
from metarl.evaluate.supervised import Errors
from metarl.runs.directory import RunDirectory
from metarl.stats import mean_and_interval

PICTURES = ("fit.png", "steps.png", "training.png")
"""Files that `plots.regression.draw_fits` writes."""

FIGURES = ("mse", "mae", "batch_loss")
"""Figures that are averaged over several runs."""


def error_columns(errors: Errors, untrained: Errors) -> dict[str, list[float]]:
    """Return errors after every step for a summary: mean over tasks, half a 95 % interval.

    Args:
        errors: Errors of a learner that was trained.
        untrained: Errors of the same before its first iteration.
    """
    return {
        **_columns("mse", errors.squared),
        **_columns("mae", errors.absolute),
        **_columns("batch_loss", errors.batch),
        "untrained_mse": untrained.squared.mean(0).tolist(),
        "untrained_mae": untrained.absolute.mean(0).tolist(),
    }


def check_finite(errors: Errors, run: RunDirectory) -> None:
    """Check that fits have not left the numbers.

    Raises:
        UserError: After some gradient step an error is not finite.
    """
    left = np.any(~np.isfinite(np.stack(errors)), axis=0)  # [N, K + 1]
    if left.any():
        first = int(left.any(0).argmax())
        raise UserError(
            f"{run.path}: after step {first} of {left.shape[1] - 1} the errors of "
            f"{left[:, first].sum()} of {left.shape[0]} functions are not finite: take "
            "fewer --steps, or train with a smaller --inner-lr"
        )


def describe(run: RunDirectory, summary: Mapping[str, Any]) -> str:
    """Return the summary in a few lines."""
    last = len(summary["steps"]) - 1
    shown = sorted({k for k in (0, 1, 2, 5, 10, 20, 32) if k <= last} | {last})

    def row(values: list[float]) -> str:
        return " ".join(f"{values[k]:8.3f}" for k in shown)

    drawn = [name for name in PICTURES if (run.path / name).exists()]
    return "\n".join(
        (
            f"{run.path}: {summary['num_tasks']} unseen functions ({summary['split']}) from"
            f" {summary['num_points']} points, after {summary['iteration']} iterations",
            f"  gradient steps    {' '.join(f'{k:8d}' for k in shown)}",
            f"  squared error     {row(summary['mse'])}",
            f"  95 % interval   ± {row(summary['mse_ci95'])}",
            f"  absolute error    {row(summary['mae'])}",
            f"  loss on batch     {row(summary['batch_loss'])}",
            f"  no meta-training  {row(summary['untrained_mse'])}",
            f"  drawn: {run.path}/{', '.join(drawn)}",
        )
    )


def describe_seeds(summary: Mapping[str, Any]) -> str:
    """Return the squared error after the last step, over several runs, in a line."""
    low, high = (ends[-1] for ends in summary["mse_over_runs_ci95"])
    return (
        f"mean of {summary['num_runs']} runs: squared error {summary['mse'][-1]:.3f}"
        f" [{low:.3f}, {high:.3f}] after {summary['steps'][-1]} steps"
        " (95 % t interval over the runs)"
    )


FITS = Report(describe, FIGURES, describe_seeds)


def _columns(name: str, errors: Array) -> dict[str, list[float]]:
    mean, _, high = mean_and_interval(errors)
    return {name: mean.tolist(), f"{name}_ci95": (high - mean).tolist()}
