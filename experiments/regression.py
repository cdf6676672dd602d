"""Regression: a learner that fits a new function of a line in a few gradient steps.

python -m experiments.regression train --family sine --method maml --run-dir runs/sine
python -m experiments.regression evaluate runs/sine
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args

from metarl.compare.command import compare_command
from metarl.compare.plan import Comparable
from metarl.compare.work import script_of
from metarl.evaluate.measures import BESIDE_TEST, ERROR, files_of
from metarl.meta.method import GradientMethod
from metarl.methods import gradient_methods_for, method_named
from metarl.run import Recipe, check_option, command, main, one_of
from metarl.run.counts import Held
from metarl.run.fits import EvaluateSettings, evaluate, validation_error
from metarl.run.supervised import SupervisedSettings, training
from metarl.search.command import search_command
from metarl.search.trials import Searchable
from metarl.supervised.curves import Curves, Family

METHODS = gradient_methods_for("data", "unlabelled")


@dataclass(frozen=True)
class TrainSettings(Curves, SupervisedSettings):
    """Meta-train a network that fits a new function from a few points."""

    method: Annotated[str, one_of(METHODS)] = "maml"
    """The learner. Default: maml; reptile for logistic, daml (and no other) for sine-domain."""
    iterations: int = 40_000
    checkpoint_every: int = 2_000

    PROBLEM: ClassVar[type[Any]] = Curves
    HELD: ClassVar[Held] = (
        (4, "meta_batch", "points"),
        (4, "meta_batch", "query_points"),
        (4, "meta_batch", "learner.inner_steps"),
        (4, "meta_batch", "hidden"),
        (48, "hidden"),  # weights, gradients, moments, a number in and one out
    )

    def __post_init__(self) -> None:
        """Check, before any work starts, what can be trained."""
        SupervisedSettings.__post_init__(self)


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


RECIPE: Recipe[TrainSettings] = Recipe(
    name="experiments.regression",
    module=f"{__package__}.regression",
    defaults=defaults,
    training=training,
    place=lambda settings: Path("runs") / f"{settings.family}-{settings.method}",
    methods=METHODS,
    picks=("family", "method"),
    commands={
        "evaluate": command(
            "measure the fit to unseen functions, step by step, and draw it",
            EvaluateSettings,
            lambda how: evaluate(how, RECIPE.settings_of),
        ),
        "compare": compare_command(lambda: COMPARABLE),
        "search": search_command(lambda: SEARCHABLE),
    },
)

COMPARABLE: Comparable = Comparable(
    RECIPE,
    script_of(RECIPE, evaluate, results=files_of(), beside_test=BESIDE_TEST),
    EvaluateSettings,
    ERROR,
    tasks=("family",),
    title=lambda settings: f"{settings.family} functions",
    methods=("maml", "fomaml", "reptile", "none"),
    beside_test=BESIDE_TEST,
)

SEARCHABLE: Searchable = Searchable(
    RECIPE,
    validation_error,
    "validation error",
    maximise=False,
    tasks=("family",),
)

if __name__ == "__main__":
    main(RECIPE)
