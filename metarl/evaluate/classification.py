"""Results of adaptation to tasks of classification: accuracies, for summaries and in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from metarl.evaluate.adaptation import Array
from metarl.evaluate.evaluation_result import Report
from metarl.evaluate.supervised import AdaptationCurve
from metarl.runs.directory import RunDirectory
from metarl.stats import mean_and_interval

SIDES = ("non_transductive", "transductive")

FIGURES = tuple(f"{side}_{what}" for side in SIDES for what in ("accuracy", "curve"))
"""Figures that are averaged over several runs."""


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


def describe_characters(run: RunDirectory, summary: Mapping[str, Any]) -> str:
    """Return the summary of a few-shot learner in a few lines."""
    steps, validated = summary["steps"], summary["split"] == "validation"
    classes = "classes for validation" if validated else "unseen classes"
    best = max(steps, key=lambda k: summary["transductive_curve"][k])
    chosen = (f"  transductive accuracy is highest after {best} inner steps",)
    return "\n".join(
        (
            f"{run.path}: {summary['ways']}-way {summary['shots']}-shot, {summary['num_tasks']}"
            f" tasks of {summary['num_classes']} {classes}, {steps[-1]} inner steps,"
            f" {summary['query_shots']} queries per class",
            f"  transductive (queries normalised together)      {percent(summary, 'transductive')}",
            f"  non-transductive (as the support set is)        "
            f"{percent(summary, 'non_transductive')}",
            *(chosen if validated else ()),
            f"  {summary['checkpoint']} checkpoint, of iteration {summary['iteration']}"
            f" of {summary['trained_iterations']}",
            f"  drawn: {drawn(run)}",
        )
    )


def describe_alphabets(run: RunDirectory, summary: Mapping[str, Any]) -> str:
    """Return the summary of a learner of alphabets in a few lines."""
    return "\n".join(
        (
            f"{run.path}: {summary['method']} ({summary['preset']}), {summary['pretrain']}"
            f" alphabets to meta-train on, {summary['num_tasks']} unseen ones,"
            f" {summary['steps'][-1]} steps",
            f"  non-transductive (normalised as training images) "
            f"{percent(summary, 'non_transductive')}",
            f"  transductive (held-out images together)          "
            f"{percent(summary, 'transductive')}",
            f"  mean training loss on the way {summary['area_under_training_loss']:.3f};"
            f" {summary['checkpoint']} checkpoint, of iteration {summary['iteration']}"
            f" of {summary['trained_iterations']}",
            f"  drawn: {drawn(run)}",
        )
    )


def drawn(run: RunDirectory) -> str:
    """Return the pictures of a run that there are, in words."""
    pictures = (run.path / name for name in ("steps.png", "training.png"))
    return ", ".join(str(picture) for picture in pictures if picture.exists())


def describe_seeds(summary: Mapping[str, Any]) -> str:
    """Return the accuracies over several runs, in a line."""
    shown = []
    for side in SIDES:
        low, high = summary[f"{side}_accuracy_over_runs_ci95"]
        mean = summary[f"{side}_accuracy"]
        words = side.replace("_", "-")
        shown.append(f"{words} {100 * mean:.2f} % [{100 * low:.2f}, {100 * high:.2f}]")
    return f"mean of {summary['num_runs']} runs: {', '.join(shown)} (95 % t interval over the runs)"


CHARACTERS = Report(describe_characters, FIGURES, describe_seeds)
ALPHABETS = Report(describe_alphabets, FIGURES, describe_seeds)


def area_under(curve: Array) -> Array:
    """Return the mean height of curves ``[N, T]`` by trapezoids, ``[N]``: a constant's is itself.

    # Deviation: the published code divides the area by T, not by the T - 1 it is wide.
    """
    if curve.shape[1] == 1:
        return curve[:, 0]
    area: Array = (0.5 * (curve[:, 1:] + curve[:, :-1])).mean(1)
    return area
