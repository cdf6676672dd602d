"""Regression: a learner that fits a new function of a line in a few gradient steps.

python -m experiments.regression train --family sine --method maml --run-dir runs/sine
python -m experiments.regression evaluate runs/sine
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import numpy as np
import torch
import tyro

from metarl.errors import UserError
from metarl.evaluate.evaluation_result import EvaluationResult
from metarl.evaluate.supervised import FITS, check_finite, error_columns, fit_errors
from metarl.meta import MetaLearner
from metarl.meta.maml import MAMLSettings
from metarl.meta.method import GradientMethod, LearnedLoss, Untrained
from metarl.methods import gradient_methods_for, method_named
from metarl.nn import MLP, Network, WarpMLP
from metarl.run import (
    STREAMS,
    EvaluationSettings,
    Lessons,
    Recipe,
    RunSettings,
    Training,
    at_least,
    check_option,
    command,
    evaluate_runs,
    main,
    one_of,
    supervised,
)
from metarl.run.counts import Held
from metarl.runs.directory import RunDirectory
from metarl.seeding import spawn_generators
from metarl.supervised import REGRESSION_FAMILIES
from metarl.supervised.examples import in_minibatches
from metarl.supervised.tasks import ShowingTasks, Source
from metarl.train.trainer import load_learner

Family = Literal["sine", "sine-phase", "sine-domain", "logistic"]
METHODS = gradient_methods_for("data", "unlabelled")

# ---------------------------------------------------------------------------------- settings


@dataclass(frozen=True)
class TrainSettings(RunSettings):
    """Meta-train a network that fits a new function from a few points."""

    method: Annotated[str, one_of(METHODS)] = "maml"
    """The learner. Default: maml; reptile for logistic, daml (and no other) for sine-domain."""
    learner: Annotated[GradientMethod, tyro.conf.arg(name="")] = field(default_factory=MAMLSettings)
    family: Family = "sine"
    """sine: amplitude and phase vary; sine-phase: only the phase, 0 or π; sine-domain: the same,
    and unlabelled inputs of another domain tell which; logistic: growth curves."""
    iterations: int = 40_000
    checkpoint_every: int = 2_000
    meta_batch: int = 25
    """Tasks per iteration."""
    points: int = 10
    """Points of a task to adapt with."""
    query_points: int = 10
    """Other points of it to be judged by."""
    inner_batch: int | None = None
    """Points per inner step; they are shuffled for every pass over them. None: all, every step."""
    hidden: tuple[int, ...] = (40, 40)
    """Units of each hidden layer."""
    activation: Literal["relu", "tanh"] = "relu"
    """Between the layers."""

    HELD: ClassVar[Held] = (
        (4, "meta_batch", "points"),
        (4, "meta_batch", "query_points"),
        (4, "meta_batch", "learner.inner_steps"),
        (4, "meta_batch", "hidden"),
        (48, "hidden"),  # weights, gradients, moments, a number in and one out
    )

    def __post_init__(self) -> None:
        """Check, before any work starts, what can be trained."""
        super().__post_init__()
        at_least(1, self, "meta_batch", "points", "query_points")
        method_named(self.method, methods_of(self.family))
        if self.inner_batch is not None and not 1 <= self.inner_batch <= self.points:
            raise UserError(
                f"--inner-batch must lie between 1 and --points {self.points}, "
                f"got {self.inner_batch}"
            )
        if not self.hidden or min(self.hidden) < 1:
            raise UserError(f"--hidden must be positive counts, at least one, got {self.hidden}")


def methods_of(family: str) -> dict[str, type[GradientMethod]]:
    """Return the methods that learn from tasks of a family."""
    return gradient_methods_for("unlabelled" if family == "sine-domain" else "data")


def defaults(family: Family = "sine", method: str | None = None) -> TrainSettings:
    """Return the usual settings of a family and a method."""
    check_option("--family", family, get_args(Family))
    usual = {"logistic": "reptile", "sine-domain": "daml"}.get(family, "maml")
    learner = method_named(method or usual, methods_of(family))()
    match family:
        case "sine":
            # The budgets in CPU time are alike.
            iterations = {"reptile": 10_000, "leap": 10_000, "imaml": 1_500, "none": 1}
            usual_iterations = 5_000 if learner.warped else 30_000
            changes: dict[str, Any] = {"iterations": iterations.get(learner.name, usual_iterations)}
        case "sine-phase":
            changes = {"points": 4, "iterations": 10_000}
        case "sine-domain":
            changes = {"points": 4, "iterations": 5_000}
        case "logistic":
            changes = {"iterations": 10_000, "meta_batch": 10, "hidden": (32, 32, 32)}
            if learner.name == "reptile":  # one pass over the points, in batches
                changes |= {"points": 50, "inner_batch": 5}
    learner = preset(family, learner)
    return TrainSettings(family=family, method=learner.name, learner=learner, **changes)


ADAM = {"optimiser": "adam", "lr": 3e-3, "beta1": 0.9, "decay": "cosine"}


def preset(family: Family, method: GradientMethod) -> GradientMethod:
    """Return a method with the settings that suit a family, as far as it reads them.

    - sine: Finn et al. 2017, one step of 0.01; but Adam at 3e-3, which falls to 0. Learners that go
      far, or follow the path of adaptation, take ten steps of 0.02. The gradient of implicit MAML
      knows nothing of its inner steps, only of where they end: it takes forty of Adam, which get
      there, and a proximal term under which the curvature stays positive. Warp layers can make the
      steps of one function of a meta-batch diverge: their gradient is clipped.
    - sine-domain: one step of 0.01 on the learned loss.
    - logistic: for reptile an outer step of 0.1 that falls to 0. Now and then the way to one steep
      curve diverges: the mean of where the tasks went is clipped, or one such meta-batch ends the
      run.
    """
    match family, method.name:
        case "sine", "reptile" | "leap":
            return method.having(**ADAM, inner_lr=0.02, inner_steps=10)
        case "sine", "imaml":
            outer = {**ADAM, "lr": 1e-3, "max_grad_norm": 1.0}
            return method.having(**outer, inner_rule="adam", inner_steps=40, strength=10.0)
        case "sine" | "sine-domain", _:
            clip = 1.0 if method.warped else None
            return method.having(**ADAM, inner_lr=0.01, max_grad_norm=clip)
        case "logistic", "reptile":
            return method.having(inner_lr=0.02, inner_steps=10, lr=0.1, max_grad_norm=1.0)
        case "logistic", _:
            return method.having(inner_lr=0.02)
    return method.having(inner_lr=0.01)


# ---------------------------------------------------------------------------------- training


def prepare(settings: TrainSettings) -> Training:
    """Return the training: one learner per seed, one after the other."""
    points = settings.points, settings.query_points
    inner, steps = settings.inner_batch, settings.learner.inner_steps
    batches = None if inner is None else (inner, steps)

    def lessons(learner: MetaLearner, run: RunDirectory, device: torch.device) -> Lessons:
        return Lessons(
            lambda generator: draw_tasks(
                settings, settings.meta_batch, points, generator, device, batches
            )
        )

    return supervised(
        settings,
        settings.meta_batch,
        lambda generator, device, seed: make_untrained(settings, generator, device),
        lessons,
        draw_on_device=True,
    )


def make_network(settings: TrainSettings) -> Network:
    """Make a perceptron, with warp layers where the method learns them."""
    plain = MLP((1, *settings.hidden, 1), settings.activation)
    return WarpMLP(plain, start="identity") if settings.learner.warped else plain


def make_untrained(
    settings: TrainSettings, generator: torch.Generator, device: torch.device
) -> MetaLearner:
    """Make the learner before its first iteration; the generator draws its parameters."""
    network, loss = make_network(settings), MLP((2, 40, 40, 1), "tanh")
    params = {name: p.to(device) for name, p in network.init(generator).items()}
    of_loss = {name: p.to(device) for name, p in loss.init(generator).items()}
    return settings.learner.build(Untrained(params, network, LearnedLoss(loss, of_loss)))


def draw_tasks(
    settings: TrainSettings,
    num_tasks: int,
    points: tuple[int, int],
    generator: torch.Generator,
    device: torch.device,
    batches: tuple[int, int] | None = None,
) -> ShowingTasks:
    """Draw new tasks.

    Args:
        settings: Of the run.
        num_tasks: N.
        points: How many to adapt with, and how many others to be judged by.
        generator: Draws functions, points and the order of the points.
        device: Where the tasks live.
        batches: How many points per inner step, and how many steps. None: all points, every step.
    """
    family = REGRESSION_FAMILIES[settings.family]
    batch = family.sample_tasks(num_tasks, *points, generator, device)
    source: Source = batch
    if batches is not None:
        # One more than the steps: some learners look at where the last one led.
        source = in_minibatches(batch, batches[0], batches[1] + 1, generator)
    return ShowingTasks(make_network(settings), source, type(family).criterion)


# -------------------------------------------------------------------------------- evaluation


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


def evaluate(settings: EvaluateSettings) -> EvaluationResult:
    """Evaluate every run, and seeds together; draw pictures of each run."""
    return evaluate_runs(settings, partial(summary_of, settings), FITS)


def summary_of(
    settings: EvaluateSettings, run: RunDirectory, device: torch.device
) -> dict[str, Any]:
    """Return the summary of one run; draws its pictures."""
    # Half a second, of which training has no need.
    from metarl.plots.adaptation import draw_fits

    trained = RECIPE.settings_of(run.config)
    init = partial(spawn_generators, run.seed, STREAMS)
    untrained, learner = (make_untrained(trained, init()["init"], device) for _ in range(2))
    iteration = load_learner(run, learner)
    tasks, steps = draw_unseen_tasks(trained, settings, device)
    errors, beside = fit_errors(learner, tasks, steps), fit_errors(untrained, tasks, steps)
    check_finite(errors, run)
    shown = {trained.method: errors}
    if np.isfinite(np.stack(beside)).all():  # initial parameters may be too much for the step size
        shown["no meta-training"] = beside
    draw_fits(run, shown, learner, tasks)
    return {
        "family": trained.family,
        "method": trained.method,
        "steps": list(range(steps + 1)),
        **error_columns(errors, beside),
        "split": settings.split,
        "num_tasks": settings.tasks,
        "num_points": num_points(trained, settings),
        "num_test_points": settings.test_points,
        "iteration": iteration,
        "tasks_seen": iteration * trained.meta_batch,
    }


def draw_unseen_tasks(
    trained: TrainSettings, settings: EvaluateSettings, device: torch.device
) -> tuple[ShowingTasks, int]:
    """Return unseen tasks, whose query set is the test points; and how many steps to take.

    A learned loss leads to a fit in as many steps as it was learned for.
    """
    usual = {"logistic": 32, "sine-domain": trained.learner.inner_steps}.get(trained.family, 10)
    steps = settings.steps or usual
    # Streams of the seed that no training has, whatever its seed: further ones beside its own.
    generator = spawn_generators(settings.seed, (*STREAMS, "test", "validation"))[settings.split]
    points = num_points(trained, settings)
    inner = settings.inner_batch
    if inner is not None and inner > points:
        raise UserError(f"--inner-batch {inner} is more than the {points} points")
    batches = None if inner is None else (inner, steps)
    counts = points, settings.test_points
    return draw_tasks(trained, settings.tasks, counts, generator, device, batches), steps


def num_points(trained: TrainSettings, settings: EvaluateSettings) -> int:
    """Return how many points of a task there are to adapt with, whatever a step takes of them."""
    return settings.points or REGRESSION_FAMILIES[trained.family].num_points


RECIPE = Recipe(
    name="experiments.regression",
    module=f"{__package__}.regression",
    defaults=defaults,
    prepare=prepare,
    place=lambda settings: Path("runs") / f"{settings.family}-{settings.method}",
    methods=METHODS,
    picks=("family", "method"),
    commands={
        "evaluate": command(
            "measure the fit to unseen functions, step by step, and draw it",
            EvaluateSettings,
            evaluate,
        )
    },
)

if __name__ == "__main__":
    main(RECIPE)
