"""`evaluate` of learners of curves: adapted to unseen functions, measured at every step, drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
import tyro

from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.evaluate.evaluation_result import EvaluationResult
from metarl.evaluate.measures import ERROR, end_of, files_of, write_values
from metarl.evaluate.supervised import FITS, check_finite, error_columns, fit_errors
from metarl.methods.supervised import STREAMS, SupervisedLearning
from metarl.run.counts import Held
from metarl.run.evaluation import EvaluationSettings, evaluate_runs
from metarl.run.settings import at_least
from metarl.run.supervised import Trained
from metarl.runs.directory import RunDirectory
from metarl.seeding import spawn_generators
from metarl.supervised.curves import Curves
from metarl.supervised.tasks import ShowingTasks
from metarl.train.trainer import load_learner


@dataclass(frozen=True)
class EvaluateSettings(EvaluationSettings):
    """Adapt to unseen functions, and sum the errors up in summary.json."""

    tasks: int = 1000
    """Functions, none of them from training's stream of tasks."""
    steps: int | None = None
    """Gradient steps. Default: 10, for the logistic family 32, for sine-domain as in training."""
    points: int | None = None
    """Points of a task to adapt with. Default: what the family is usually learned from."""
    inner_batch: int | None = None
    """Points per gradient step. None: all."""
    test_points: int = 100
    """Other points of it, which the error is measured at."""
    split: Annotated[Literal["validation", "test"], tyro.conf.arg(aliases=("--side",))] = "test"
    """test: the functions that results are of; validation: others, to choose settings by."""

    HELD: ClassVar[Held] = (
        (4, "tasks", "test_points"),
        (4, "tasks", "points"),
        (24, "tasks", "steps"),
    )

    def __post_init__(self) -> None:
        """Check the counts."""
        super().__post_init__()
        at_least(1, self, "tasks", "steps", "points", "inner_batch", "test_points")

    def steps_of(self, learning: SupervisedLearning) -> int:
        """Return gradient steps: a learned loss leads to a fit in as many as it was learned for."""
        assert isinstance(learning.problem, Curves)
        usual = {"logistic": 32, "sine-domain": learning.method.inner_steps}
        return self.steps or usual.get(learning.problem.family, 10)

    def points_of(self, problem: Curves) -> int:
        """Return points of a task to adapt with, whatever a step takes of them."""
        return self.points or problem.functions.num_points


def evaluate(
    settings: EvaluateSettings, read: Callable[[Mapping[str, Any]], Trained]
) -> EvaluationResult:
    """Evaluate every run, and seeds together; draw pictures of each run.

    What is of functions for validation lies beside what is of the test: `summary-validation.json`.

    Args:
        settings: Which runs, and how.
        read: Reads the settings of a run from its `config.json`.
    """
    summary, _ = files_of(end_of(settings.split))
    return evaluate_runs(settings, partial(summary_of, settings, read), FITS, summary)


def summary_of(
    settings: EvaluateSettings,
    read: Callable[[Mapping[str, Any]], Trained],
    run: RunDirectory,
    device: torch.device,
) -> dict[str, Any]:
    """Return the summary of one run; draws its pictures, writes the values of every task."""
    # Half a second, of which training has no need.
    from metarl.plots.adaptation import draw_fits

    trained = read(run.config)
    learning = SupervisedLearning(trained.problem, trained.learner)
    problem = learning.problem
    assert isinstance(problem, Curves)
    untrained, learner = (learning.untrained(run, device, trained.meta_batch) for _ in range(2))
    iteration = load_learner(run, learner)
    tasks, steps = unseen_curves(learning, settings, device), settings.steps_of(learning)
    errors, beside = fit_errors(learner, tasks, steps), fit_errors(untrained, tasks, steps)
    check_finite(errors, run)
    shown = {learning.method.name: errors}
    if np.isfinite(np.stack(beside)).all():  # initial parameters may be too much for the step size
        shown["no meta-training"] = beside
    end = end_of(settings.split)
    draw_fits(run, shown, learner, tasks, f"{problem.family}, {learning.method.name}", end)
    _, file = files_of(end)
    write_values(
        run.path / file,
        ERROR,
        errors.squared,
        names_of(problem, settings),
        range(steps + 1),
    )
    return {
        "family": problem.family,
        "method": learning.method.name,
        "steps": list(range(steps + 1)),
        **error_columns(errors, beside),
        "split": settings.split,
        "num_tasks": settings.tasks,
        "num_points": settings.points_of(problem),
        "num_test_points": settings.test_points,
        "iteration": iteration,
        "tasks_seen": iteration * trained.meta_batch,
    }


def names_of(problem: Curves, settings: EvaluateSettings) -> list[str]:
    """Return names of functions: what they and the points of them were drawn by."""
    points = f"{settings.points_of(problem)} + {settings.test_points} points"
    drawn = f"{problem.family}, {settings.split}, seed {settings.seed}, {points}"
    return [f"{drawn}, function {number} of {settings.tasks}" for number in range(settings.tasks)]


def validation_error(
    run: RunDirectory, trained: Trained, num_tasks: int | None, seed: int, device: str
) -> float:
    """Return the mean squared error of a run after its last step, on functions for validation.

    Args:
        run: As it is now.
        trained: Its settings.
        num_tasks: Functions; None: as many as an evaluation has.
        seed: Of functions and points.
        device: Where they are fitted.
    """
    how = EvaluateSettings(run.path, seed=seed, split="validation")
    how = how if num_tasks is None else replace(how, tasks=num_tasks)
    place = resolve_device(device)
    learning = SupervisedLearning(trained.problem, trained.learner)
    learner = learning.untrained(run, place, trained.meta_batch)
    load_learner(run, learner)
    errors = fit_errors(learner, unseen_curves(learning, how, place), how.steps_of(learning))
    return float(errors.squared[:, -1].mean())


def unseen_curves(
    learning: SupervisedLearning, settings: EvaluateSettings, device: torch.device
) -> ShowingTasks:
    """Return unseen tasks, whose query set is the test points.

    Raises:
        UserError: A step takes more points than a task has.
    """
    problem = learning.problem
    assert isinstance(problem, Curves)
    # Streams of the seed that no training has, whatever its seed: further ones beside its own.
    generator = spawn_generators(settings.seed, (*STREAMS, "test", "validation"))[settings.split]
    points, inner = settings.points_of(problem), settings.inner_batch
    if inner is not None and inner > points:
        raise UserError(f"--inner-batch {inner} is more than the {points} points")
    batches = None if inner is None else (inner, settings.steps_of(learning))
    counts = points, settings.test_points
    return problem.draw(settings.tasks, counts, learning.network, generator, device, batches)
