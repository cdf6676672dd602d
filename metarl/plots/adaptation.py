"""Pictures of adaptation: returns, accuracies and fits, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from metarl.evaluate.adaptation import Stage, measure
from metarl.evaluate.returns import AdaptationResult
from metarl.evaluate.supervised import AdaptationCurve, Errors, adapted_outputs
from metarl.meta import MetaLearner
from metarl.plots.lines import COLOURS, Curves, learning_curves, save_figure
from metarl.runs.directory import RunDirectory
from metarl.supervised.tasks import SupervisedTasks, mean_absolute_error
from metarl.train.selection import VALIDATION


def draw_adaptation(
    methods: Mapping[str, Sequence[AdaptationResult]],
    *,
    control: Sequence[AdaptationResult],
    anchors: Mapping[str, float],
    axis: str,
    title: str,
) -> Figure:
    """One line per method, with its interval over tasks, or over seeds where there are several.

    Args:
        methods: Results by name, one per seed.
        control: Results of learners that were not trained.
        anchors: Returns to judge by.
        axis: Name of the steps.
        title: Words above.
    """
    lines = []
    for name, results in {**methods, "no meta-training": control}.items():
        curves = np.stack([result.curve for result in results])  # [seeds, N, K + 1]
        values = curves.mean(1) if len(results) > 1 else curves[0]
        lines.append(Curves(name, np.arange(values.shape[1]), values))
    return learning_curves(
        lines,
        anchors=anchors,
        xlabel=axis,
        ylabel="return per episode",
        title=title,
        over="seeds" if len(control) > 1 else "tasks",
    )


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


LOSSES = ("support_loss", "last_support_loss", "query_loss")
"""Losses that learners log in training; each logs some of them."""

OwnError = Literal["squared", "absolute"]
"""The error that a family is learned with, and shown by."""

NUM_SHOWN = 6
"""Functions in the picture of fits."""

_INK = "#333333"


def draw_fits(
    run: RunDirectory,
    errors: Mapping[str, Errors],
    learner: MetaLearner,
    tasks: SupervisedTasks,
    title: str,
    end: str = "",
) -> None:
    """Write `fit.png`, `steps.png` and, where there are losses, `training.png`.

    Args:
        run: Whose folder the pictures go to.
        errors: Errors of learners, by name.
        learner: Fits what is drawn.
        tasks: The functions.
        title: Words above.
        end: End of the names of the pictures, but `training.png`.
    """
    num_steps = next(iter(errors.values())).squared.shape[1] - 1
    own: OwnError = "absolute" if tasks.criterion is mean_absolute_error else "squared"
    save_figure(draw_fit(learner, tasks, num_steps, title), run.path / f"fit{end}.png")
    save_figure(draw_steps(errors, own, title), run.path / f"steps{end}.png")
    training = draw_training(run.read_metrics(), title)
    if training is not None:
        save_figure(training, run.path / "training.png")


def draw_fit(learner: MetaLearner, tasks: SupervisedTasks, num_steps: int, title: str) -> Figure:
    """Unseen functions: the truth, the points to adapt with, and the fit before and after."""
    few = tasks.select(slice(0, NUM_SHOWN))
    points, query = few.source.draw("support"), few.source.draw("query")
    order = query.inputs.argsort(1)
    x, y = query.inputs.gather(1, order), query.targets.gather(1, order)
    fits = _fits(learner, few.select(slice(None)), x, {0, 1, num_steps})
    figure = Figure(figsize=(9.6, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, 3, squeeze=False).flatten()[: few.num_tasks]
    for i, axes in enumerate(grid):
        across = x[i, :, 0].cpu()
        axes.plot(across, y[i, :, 0].cpu(), color=_INK, label="function")
        for colour, (index, fit) in zip(COLOURS, fits.items(), strict=False):
            label = f"after {index} steps" if index != 1 else "after 1 step"
            axes.plot(across, fit[i, :, 0], "-" if index else ":", color=colour, label=label)
        inputs, targets = points.inputs[i, :, 0].cpu(), points.targets[i, :, 0].cpu()
        if targets.isnan().all():  # what is shown is no point of the function
            axes.set_title("shown: " + ", ".join(f"{z:.2f}" for z in inputs.tolist()), fontsize=8)
        else:
            axes.plot(inputs, targets, "o", color=_INK, markersize=4, label="points")
        known = [] if targets.isnan().all() else [targets.numpy()]
        after = [fit[i] for index, fit in fits.items() if index]
        axes.set_ylim(*_limits([y[i].cpu().numpy(), *known, *after]))
        _note_where(axes, fits[0][i])
        _plain(axes)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    figure.suptitle(f"{title}: unseen functions", fontsize=12)
    return figure


def draw_steps(errors: Mapping[str, Errors], shown: OwnError, title: str) -> Figure:
    """Error against gradient steps: at unseen points of unseen functions, and on the batch.

    Args:
        errors: Errors of the learners compared, by name.
        shown: The family's own error; the loss on the batch is what the steps descend.
        title: Words above it.
    """
    curves = []
    for name, found in errors.items():
        steps = np.arange(found.squared.shape[1])
        curves.append(Curves(f"{name}, unseen points", steps, getattr(found, shown)))
        curves.append(Curves(f"{name}, loss on the batch", steps, found.batch))
    return learning_curves(
        curves,
        xlabel="gradient steps",
        ylabel=f"mean {shown} error, loss",
        title=f"{title}: unseen functions",
        over="functions",
        log=True,
    )


def draw_training(metrics: Mapping[str, Any], title: str) -> Figure | None:
    """The losses in meta-training; None where no line of the log has any.

    A line without a loss is one whose meta-batches were all skipped.
    """
    curves = []
    for name in LOSSES:
        losses = np.asarray(metrics.get(name, ()), dtype=np.float64)
        seen = np.isfinite(losses)
        if seen.any():
            x = np.asarray(metrics["tasks_seen"])[seen]
            curves.append(Curves(name.replace("_", " "), x, losses[seen][None]))
    if not curves:
        return None
    return learning_curves(
        curves,
        smoothing=max(1, max(len(curve.x) for curve in curves) // 50),
        xlabel="tasks seen",
        ylabel="loss",
        title=f"{title}: meta-training",
        log=True,
    )


def _fits(
    learner: MetaLearner, tasks: SupervisedTasks, x: Tensor, after: set[int]
) -> dict[int, NDArray[Any]]:
    """Outputs of the networks at x, after some numbers of steps."""

    def look(part: SupervisedTasks) -> Callable[[Stage], dict[str, Tensor]]:
        at_x = adapted_outputs(learner, part, x)
        return lambda stage: {"fit": at_x(stage.fast)}

    found = measure(learner, tasks, max(after), look, at=after)
    fits = found.figures["fit"]  # [N, S, B, 1]
    return {index: fits[:, stage] for stage, index in enumerate(found.steps)}


def _limits(curves: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """Room for these curves and some around them: before adaptation a fit may be far away."""
    low, high = min(float(c.min()) for c in curves), max(float(c.max()) for c in curves)
    margin = 0.3 * (high - low)
    return low - margin, high + margin


def _note_where(axes: Axes, before: NDArray[Any]) -> None:
    """Say where the fit before adaptation is, if no part of it is in the picture."""
    bottom, top = axes.get_ylim()
    low, high = float(before.min()), float(before.max())
    if low > top or high < bottom:
        words = f"after 0 steps: {low:.1f} to {high:.1f}"
        place: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
        axes.text(0.5, 0.96, words, color=COLOURS[0], fontsize=8, **place)


def _plain(axes: Axes) -> None:
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, labelsize=8)
