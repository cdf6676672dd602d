"""Learners back from their checkpoints, and pictures of what they do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure

from metarl.errors import UserError
from metarl.evaluate.adaptation_curve import AdaptationCurve
from metarl.meta import MetaLearner
from metarl.plots.lines import Curves, learning_curves
from metarl.runs.directory import RunDirectory
from metarl.stats import mean_and_interval
from metarl.train.selection import VALIDATION

Which = Literal["best", "last"]


def load_trained(run: RunDirectory, learner: MetaLearner, which: Which) -> dict[str, Any]:
    """Give a learner what its run has learned.

    Args:
        run: Of the learner.
        learner: As it was before its first iteration; changed in place.
        which: As it was when it did best in validation, or at the end.

    Returns:
        For the summary: which checkpoint, its ``iteration``, and its ``validation_accuracy``.

    Raises:
        UserError: The checkpoint is not of these settings, or there was no validation yet.
    """
    state = run.load_checkpoint()
    with run.fits_settings():
        best = state["learner"]["selection"]["best"]
        if which == "best" and best is None:
            raise UserError(
                f"{run.path} has not been validated yet: train it further, or --checkpoint last"
            )
        learner.load_state_dict(best["learner"] if which == "best" else state["learner"])
        iteration = best["iteration"] if which == "best" else state["iteration"]
        score = best["score"] if best is not None and iteration == best["iteration"] else None
        return {
            "checkpoint": which,
            "iteration": int(iteration),
            "trained_iterations": int(state["iteration"]),
            "train_seconds": float(state["wall_seconds"]),
            VALIDATION: score,
        }


def accuracies(curve: AdaptationCurve) -> dict[str, Any]:
    """Both accuracies after every number of steps, for the summary: mean, half a 95 % interval."""
    columns: dict[str, Any] = {"steps": list(curve.steps)}
    for name, side in (
        ("transductive", curve.transductive),
        ("non_transductive", curve.non_transductive),
    ):
        mean, _, high = mean_and_interval(side)
        columns[f"{name}_accuracy"] = float(mean[-1])
        columns[f"{name}_ci95"] = float(high[-1] - mean[-1])
        columns[f"{name}_curve"] = mean.tolist()
        columns[f"{name}_curve_ci95"] = (high - mean).tolist()
    return columns


def draw_steps(curves: Mapping[str, AdaptationCurve], title: str) -> Figure:
    """Accuracy against inner steps, both ways."""
    lines = []
    for name, curve in curves.items():
        steps = np.asarray(curve.steps)
        lines.append(Curves(f"{name}, transductive", steps, curve.transductive))
        lines.append(Curves(f"{name}, non-transductive", steps, curve.non_transductive))
    return learning_curves(
        lines, xlabel="inner steps", ylabel="accuracy", title=title, over="tasks"
    )


def draw_validation(run: RunDirectory, title: str) -> Figure | None:
    """Accuracy in validation over meta-training; None before the first one."""
    metrics = run.read_metrics()
    if VALIDATION not in metrics:
        return None
    seen = np.isfinite(metrics[VALIDATION].astype(np.float64))
    if not seen.any():
        return None
    values = metrics[VALIDATION][seen][None].astype(np.float64)
    return learning_curves(
        [Curves("validation", metrics["iteration"][seen], values)],
        xlabel="iterations",
        ylabel="accuracy",
        title=title,
    )


def drawn(run: RunDirectory) -> str:
    """The pictures of a run that there are."""
    pictures = (run.path / name for name in ("steps.png", "training.png"))
    return ", ".join(str(picture) for picture in pictures if picture.exists())


def percent(summary: Mapping[str, Any], name: str) -> str:
    """``94.03 ± 0.98 %``."""
    mean, half = summary[f"{name}_accuracy"], summary[f"{name}_ci95"]
    interval = f" ± {100 * half:.2f}" if half is not None and np.isfinite(half) else ""
    return f"{100 * mean:.2f}{interval} %"
