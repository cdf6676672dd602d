"""`evaluate`: how well a learner fits functions it has not seen, gradient step by gradient step."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
import tyro

from experiments.counts import Held
from experiments.regression.errors import Array, Errors, measure
from experiments.regression.pictures import OwnError, draw_fit, draw_steps, draw_training
from experiments.regression.settings import TrainSettings, from_config
from experiments.regression.tasks import (
    RegressionTasks,
    draw_tasks,
    make_family,
    make_network,
    make_untrained,
)
from experiments.regression.train import STREAMS
from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.evaluate.evaluation_result import EvaluationResult, evaluation_result
from metarl.meta import MetaLearner
from metarl.plots.lines import save_figure
from metarl.runs.directory import RunDirectory, find_runs
from metarl.seeding import spawn_generators
from metarl.stats import mean_and_interval
from metarl.supervised.criteria import mean_absolute_error
from metarl.train.trainer import load_learner

Split = Literal["validation", "test"]
PICTURES = ("fit.png", "steps.png", "training.png")


@dataclass(frozen=True)
class EvaluateSettings:
    """Adapt to unseen functions, and sum the errors up in summary.json."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
    """A run directory, or a folder of seed-N runs."""
    tasks: int = 1000
    """Functions, none of them from training's stream of tasks."""
    steps: int | None = None
    """Gradient steps. Default: 10, for the logistic family 32, for sine-domain as in training."""
    points: int | None = None
    """Points of a task to adapt with. Default: what the family is usually learned from."""
    inner_batch: int | None = None
    """Points a gradient step. None: all."""
    test_points: int = 100
    """Other points of it, which the error is measured at."""
    split: Annotated[Split, tyro.conf.arg(aliases=("--side",))] = "test"
    """test: the functions that results are of; validation: others, to choose settings by."""
    seed: int = 10_000
    """Of tasks and points."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    json: bool = False
    """Print the summary as one line of JSON, the last of standard output."""

    HELD: ClassVar[Held] = (
        (4, "tasks", "test_points"),
        (4, "tasks", "points"),
        (24, "tasks", "steps"),
    )

    def __post_init__(self) -> None:
        """Refuse counts that mean nothing."""
        for name in ("tasks", "steps", "points", "inner_batch", "test_points"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
        if self.seed < 0:
            raise UserError(f"--seed must not be negative, got {self.seed}")


def evaluate(settings: EvaluateSettings) -> EvaluationResult:
    """Evaluate every run, and seeds together.

    Each run gets `summary.json` and its pictures; a folder of several a `summary.json`.
    """
    summaries = {}
    for run in find_runs(settings.run):
        summary = evaluate_run(run, settings)
        run.write_summary(summary)
        print(describe(run, summary))
        summaries[run.path.name] = run.read_summary()
    result = evaluation_result(settings.run, summaries, ("mse", "mae", "batch_loss"))
    if result.several:
        result.write(settings.run)
        print(describe_seeds(result.summary))
    if settings.json:
        print(result.as_line())
    return result


def describe_seeds(summary: dict[str, Any]) -> str:
    """The squared error after the last step, over several runs, in a line."""
    low, high = (ends[-1] for ends in summary["mse_over_runs_ci95"])
    return (
        f"mean of {summary['num_runs']} runs: squared error {summary['mse'][-1]:.3f}"
        f" [{low:.3f}, {high:.3f}] after {summary['steps'][-1]} steps"
        " (95 % t interval over the runs)"
    )


def evaluate_run(run: RunDirectory, settings: EvaluateSettings) -> dict[str, Any]:
    """The summary of one run; draws its pictures."""
    started = time.perf_counter()
    trained = from_config(run.config)
    device = resolve_device(settings.device)
    learner, iteration = trained_learner(run, trained, device)
    tasks, steps = draw_unseen_tasks(trained, settings, device)
    errors = measure(learner, tasks, steps)
    check_finite(errors, run)
    beside = measure(untrained_learner(run, trained, device), tasks, steps)
    shown: dict[str, Errors] = {trained.method: errors}
    if np.isfinite(np.stack(beside)).all():  # initial parameters may be too much for the step size
        shown["no meta-training"] = beside
    draw(run, shown, learner, tasks)
    return {
        "family": trained.family,
        "method": trained.method,
        "steps": list(range(steps + 1)),
        **_columns("mse", errors.squared),
        **_columns("mae", errors.absolute),
        **_columns("batch_loss", errors.batch),
        "untrained_mse": beside.squared.mean(0).tolist(),
        "untrained_mae": beside.absolute.mean(0).tolist(),
        "split": settings.split,
        "num_tasks": settings.tasks,
        "num_points": _num_points(trained, settings),
        "num_test_points": settings.test_points,
        "seed": settings.seed,
        "device": str(device),
        "iteration": iteration,
        "tasks_seen": iteration * trained.meta_batch,
        "wall_seconds": time.perf_counter() - started,
    }


def check_finite(errors: Errors, run: RunDirectory) -> None:
    """Refuse to sum up fits that have left the numbers.

    Raises:
        UserError: After some gradient step an error is not finite.
    """
    left = np.any(~np.isfinite(np.stack(errors)), axis=0)  # [N, K + 1]
    if left.any():
        first = int(left.any(0).argmax())
        raise UserError(
            f"{run.path}: after step {first} of {left.shape[1] - 1} the errors of "
            f"{left[:, first].sum()} of {left.shape[0]} functions are not finite: take "
            "fewer --steps, or train with a smaller --learner.inner.lr"
        )


def draw(
    run: RunDirectory, errors: dict[str, Errors], learner: MetaLearner, tasks: RegressionTasks
) -> None:
    """Write `fit.png`, `steps.png` and, where there are losses, `training.png`."""
    title = f"{run.config['family']}, {run.config['method']}"
    num_steps = next(iter(errors.values())).squared.shape[1] - 1
    save_figure(draw_fit(learner, tasks, num_steps, title), run.path / "fit.png")
    save_figure(draw_steps(errors, own_error(run), title), run.path / "steps.png")
    training = draw_training(run.read_metrics(), title)
    if training is not None:
        save_figure(training, run.path / "training.png")


def own_error(run: RunDirectory) -> OwnError:
    """Of the run's family."""
    learned = type(make_family(from_config(run.config))).criterion
    return "absolute" if learned is mean_absolute_error else "squared"


def trained_learner(
    run: RunDirectory, trained: TrainSettings, device: torch.device
) -> tuple[MetaLearner, int]:
    """The learner of a run's checkpoint, and its iteration."""
    learner = untrained_learner(run, trained, device)
    return learner, load_learner(run, learner)


def untrained_learner(
    run: RunDirectory, trained: TrainSettings, device: torch.device
) -> MetaLearner:
    """The same learner as it was before its first iteration."""
    generator = spawn_generators(run.seed, STREAMS)["init"]
    return make_untrained(trained, generator, device)


def draw_unseen_tasks(
    trained: TrainSettings, settings: EvaluateSettings, device: torch.device
) -> tuple[RegressionTasks, int]:
    """Unseen tasks, whose query set is the test points; and how many steps to take."""
    steps = settings.steps or default_steps(trained)
    # Streams of the seed that no training has, whatever its seed.
    generator = spawn_generators(settings.seed, (*STREAMS, "test", "validation"))[settings.split]
    points = _num_points(trained, settings)
    inner = settings.inner_batch
    if inner is not None and inner > points:
        raise UserError(f"--inner-batch {inner} is more than the {points} points")
    tasks = draw_tasks(
        trained,
        make_network(trained),
        settings.tasks,
        (points, settings.test_points),
        generator,
        device,
        batches=None if inner is None else (inner, steps),
    )
    return tasks, steps


def default_steps(trained: TrainSettings) -> int:
    """How far to adapt: a learned loss leads to a fit in as many steps as it was learned for."""
    by_family = {"logistic": 32, "sine-domain": trained.learner.inner.num_steps}
    return by_family.get(trained.family, 10)


def describe(run: RunDirectory, summary: dict[str, Any]) -> str:
    """The summary in a few lines."""
    shown = [k for k in (0, 1, 2, 5, 10, 20, 32) if k < len(summary["steps"])]
    shown += [len(summary["steps"]) - 1] if shown[-1] != len(summary["steps"]) - 1 else []
    lines = [
        f"{run.path}: {summary['num_tasks']} unseen functions ({summary['split']}) from"
        f" {summary['num_points']} points,"
        f" after {summary['iteration']} iterations",
        f"  gradient steps    {_row(shown)}",
        f"  squared error     {_row([summary['mse'][k] for k in shown])}",
        f"  95 % interval   ± {_row([summary['mse_ci95'][k] for k in shown])}",
        f"  absolute error    {_row([summary['mae'][k] for k in shown])}",
        f"  loss on batch     {_row([summary['batch_loss'][k] for k in shown])}",
        f"  no meta-training  {_row([summary['untrained_mse'][k] for k in shown])}",
        f"  drawn: {run.path / 'fit.png'}, "
        + ", ".join(name for name in PICTURES[1:] if (run.path / name).exists()),
    ]
    return "\n".join(lines)


def _row(values: list[Any]) -> str:
    return " ".join(
        f"{value:8d}" if isinstance(value, int) else f"{value:8.3f}" for value in values
    )


def _num_points(trained: TrainSettings, settings: EvaluateSettings) -> int:
    return settings.points or make_family(trained).num_points


def _columns(name: str, errors: Array) -> dict[str, list[float]]:
    """Mean over the tasks after every step, and half the width of its 95 % interval."""
    mean, _, high = mean_and_interval(errors)
    return {name: mean.tolist(), f"{name}_ci95": (high - mean).tolist()}
