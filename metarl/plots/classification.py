"""Pictures of learners of classification: accuracy on the way of adaptation, and in validation."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from metarl.evaluate.supervised import AdaptationCurve
from metarl.plots.lines import Curves, learning_curves, save_figure
from metarl.runs.directory import RunDirectory
from metarl.train.selection import VALIDATION


def draw_classification(
    run: RunDirectory, curve: AdaptationCurve, name: str, side: str, file: str = "steps.png"
) -> None:
    """Write accuracy by inner step, both ways, and `training.png` where there was a validation.

    Args:
        run: Whose folder the pictures go to.
        curve: Results of adaptation.
        name: Name of the learner, in words.
        side: Side of the tasks, in words.
        file: Name of the picture by inner step.
    """
    method, steps = run.config["method"], np.asarray(curve.steps)
    lines = [
        Curves(f"{method}, transductive", steps, curve.transductive),
        Curves(f"{method}, non-transductive", steps, curve.non_transductive),
    ]
    figure = learning_curves(
        lines,
        xlabel="inner steps",
        ylabel="accuracy",
        title=f"{name}: {side}",
        over="tasks",
    )
    save_figure(figure, run.path / file)
    validation = draw_validation(run, f"{name}: validation")
    if validation is not None:
        save_figure(validation, run.path / "training.png")


def draw_validation(run: RunDirectory, title: str) -> Figure | None:
    """Draw accuracy in validation over meta-training; None before the first one."""
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
