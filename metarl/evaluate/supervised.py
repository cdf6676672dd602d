"""Accuracies and errors of adapted networks on N supervised tasks, after 0, 1, ... inner steps.

Batch norm uses the statistics of a batch. Where those of the query images help to classify them,
accuracy is *transductive*: every query is seen among the others. Where they are those of other
images, whose classes are known (the support set), it is not, and a query alone has the same answer.
The two differ by several points, so that both are always measured.

What is measured goes into summaries and into words: `CHARACTERS`, `ALPHABETS`, `FITS`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metarl.core import Params, share
from metarl.errors import UserError
from metarl.evaluate.adaptation import Array, Stage, measure
from metarl.evaluate.evaluation_result import Report
from metarl.meta import MetaLearner
from metarl.runs.directory import RunDirectory
from metarl.stats import mean_and_interval
from metarl.supervised.examples import Examples
from metarl.supervised.tasks import (
    SupervisedTasks,
    accuracy,
    mean_absolute_error,
    mean_squared_error,
)

ExamplesOf = Callable[[SupervisedTasks], Examples]


class AdaptationCurve(NamedTuple):
    """Accuracies of N tasks after S chosen numbers of inner steps: a view of `Adaptation`.

    Attributes:
        steps: The numbers of inner steps ``[S]``, rising.
        transductive: Fraction of the queries that is right, normalised together, ``[N, S]``.
        non_transductive: The same, normalised as the reference images are, ``[N, S]``.
        support_loss: Loss on the batch that each of the K steps learned from, ``[N, K]``.
    """

    steps: tuple[int, ...]
    transductive: Array
    non_transductive: Array
    support_loss: Array


class Errors(NamedTuple):
    """Errors of N tasks after 0 to K gradient steps, each ``[N, K + 1]``: a view of `Adaptation`.

    Attributes:
        squared: Mean squared error at the test points.
        absolute: Mean absolute error there.
        batch: Loss on the batch that the next step learns from; at the end on that of one more
            step. It is the family's, for DAML the learned one.
    """

    squared: Array
    absolute: Array
    batch: Array


def adaptation_curve(
    learner: MetaLearner,
    tasks: SupervisedTasks,
    num_steps: int,
    *,
    query: ExamplesOf,
    reference: ExamplesOf,
    at: Collection[int] | None = None,
    chunk_size: int | None = None,
) -> AdaptationCurve:
    """Adapt to tasks, and classify their queries on the way; leaves the learner untouched.

    Args:
        learner: Whose initialisation and update rule.
        tasks: N tasks of classification.
        num_steps: K.
        query: The images ``[n, B, ...]`` of some of the tasks to be judged by; called once per
            chunk.
        reference: Images ``[n, R, ...]`` of them that non-transductive batch norm looks at.
        at: After which numbers of steps to look, out of 0 to K; all if None.
        chunk_size: Tasks that are stacked; all if None.
    """

    def look(part: SupervisedTasks) -> Callable[[Stage], dict[str, Tensor]]:
        queries, known = query(part), reference(part).inputs
        both, num_known = torch.cat([known, queries.inputs], 1), known.shape[1]
        together = adapted_outputs(learner, part, queries.inputs)
        apart = adapted_outputs(learner, part, both, num_known)

        def accuracies(stage: Stage) -> dict[str, Tensor]:
            outputs = {
                "transductive": together(stage.fast),
                "non_transductive": apart(stage.fast)[:, num_known:],
            }
            return {n: accuracy(o.double(), queries.targets) for n, o in outputs.items()}

        return accuracies

    first = tasks.select(slice(None))  # from their first batch on
    found = measure(learner, first, num_steps, look, at=at, chunk_size=chunk_size)
    return AdaptationCurve(found.steps, **found.figures, support_loss=found.losses)


def fit_errors(learner: MetaLearner, tasks: SupervisedTasks, num_steps: int) -> Errors:
    """Adapt to tasks, and measure how far their query points are missed on the way.

    Args:
        learner: Whose initialisation and update rule.
        tasks: N tasks of regression.
        num_steps: K.
    """

    def look(part: SupervisedTasks) -> Callable[[Stage], dict[str, Tensor]]:
        query = part.source.draw("query")
        at_query = adapted_outputs(learner, part, query.inputs)

        def errors(stage: Stage) -> dict[str, Tensor]:
            outputs = at_query(stage.fast)
            return {
                "squared": mean_squared_error(outputs, query.targets),
                "absolute": mean_absolute_error(outputs, query.targets),
            }

        return errors

    first = tasks.select(slice(None))  # from their first batch on
    # One step more than is asked for: its loss is that of the batch after the last one.
    found = measure(learner, first, num_steps + 1, look, at=range(num_steps + 1))
    return Errors(**found.figures, batch=found.losses)


@torch.no_grad()
def adapted_outputs(
    learner: MetaLearner, tasks: SupervisedTasks, inputs: Tensor, num_reference: int = 0
) -> Callable[[Params], Tensor]:
    """Outputs of adapted networks for inputs, as a function of the fast parameters ``[N, ...]``.

    The stages before them are run once, now (`core.run_once`).

    Args:
        learner: Whose slow parameters the networks share.
        tasks: N tasks.
        inputs: ``[N, B, ...]``.
        num_reference: Number of them that normalisation looks at; 0: all (`nn.Network`).

    Returns:
        The function; its outputs are ``[N, B, D]``.
    """
    halves = tasks.halves(learner.adapting)
    if halves is None:
        slow = share(learner.slow, tasks.num_tasks)
        return lambda fast: tasks.outputs(fast, slow, inputs, num_reference)
    features = halves.of_inputs(learner.slow, inputs, num_reference)
    later = share(halves.later(learner.slow), tasks.num_tasks)
    return lambda fast: halves.outputs(fast, later, features, num_reference)


SIDES = ("non_transductive", "transductive")

CLASSIFICATION_FIGURES = tuple(f"{side}_{what}" for side in SIDES for what in ("accuracy", "curve"))
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


def describe_seeds_of_classification(summary: Mapping[str, Any]) -> str:
    """Return the accuracies over several runs, in a line."""
    shown = []
    for side in SIDES:
        low, high = summary[f"{side}_accuracy_over_runs_ci95"]
        mean = summary[f"{side}_accuracy"]
        words = side.replace("_", "-")
        shown.append(f"{words} {100 * mean:.2f} % [{100 * low:.2f}, {100 * high:.2f}]")
    return f"mean of {summary['num_runs']} runs: {', '.join(shown)} (95 % t interval over the runs)"


CHARACTERS = Report(describe_characters, CLASSIFICATION_FIGURES, describe_seeds_of_classification)
ALPHABETS = Report(describe_alphabets, CLASSIFICATION_FIGURES, describe_seeds_of_classification)


def area_under(curve: Array) -> Array:
    """Return the mean height of curves ``[N, T]`` by trapezoids, ``[N]``: a constant's is itself.

    # Deviation: the published code divides the area by T, not by the T - 1 it is wide.
    """
    if curve.shape[1] == 1:
        return curve[:, 0]
    area: Array = (0.5 * (curve[:, 1:] + curve[:, :-1])).mean(1)
    return area


FIT_PICTURES = ("fit.png", "steps.png", "training.png")
"""Files that `plots.regression.draw_fits` writes."""

FIT_FIGURES = ("mse", "mae", "batch_loss")
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


def describe_fits(run: RunDirectory, summary: Mapping[str, Any]) -> str:
    """Return the summary in a few lines."""
    last = len(summary["steps"]) - 1
    shown = sorted({k for k in (0, 1, 2, 5, 10, 20, 32) if k <= last} | {last})

    def row(values: list[float]) -> str:
        return " ".join(f"{values[k]:8.3f}" for k in shown)

    drawn = [name for name in FIT_PICTURES if (run.path / name).exists()]
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


def describe_seeds_of_fits(summary: Mapping[str, Any]) -> str:
    """Return the squared error after the last step, over several runs, in a line."""
    low, high = (ends[-1] for ends in summary["mse_over_runs_ci95"])
    return (
        f"mean of {summary['num_runs']} runs: squared error {summary['mse'][-1]:.3f}"
        f" [{low:.3f}, {high:.3f}] after {summary['steps'][-1]} steps"
        " (95 % t interval over the runs)"
    )


FITS = Report(describe_fits, FIT_FIGURES, describe_seeds_of_fits)


def _columns(name: str, errors: Array) -> dict[str, list[float]]:
    mean, _, high = mean_and_interval(errors)
    return {name: mean.tolist(), f"{name}_ci95": (high - mean).tolist()}
