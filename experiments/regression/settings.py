"""Settings of the regression experiment: what `--help` explains, and what `config.json` keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import tyro

from experiments import stored_settings
from experiments.counts import Held
from experiments.learners import (
    WARP_METHODS,
    ImplicitSettings,
    InnerSettings,
    LearnerSettings,
    Method,
    adjusted,
    check_applies,
    own_of_learner,
)
from metarl.core import OptimiserSettings, OuterSettings, Schedule
from metarl.errors import UserError

Family = Literal["sine", "sine-phase", "sine-domain", "logistic"]


@dataclass(frozen=True)
class TrainSettings:
    """Meta-train a network that fits a new function from a few points."""

    run_dir: Path | None = None
    """Where the run goes; several seeds get a folder seed-N each. Default: under runs/."""
    family: Family = "sine"
    """sine: amplitude and phase vary; sine-phase: only the phase, 0 or π; sine-domain: the same,
    and unlabelled inputs of another domain tell which; logistic: growth curves."""
    method: Method = "maml"
    """The learner. Default: maml; reptile for logistic, daml (and no other) for sine-domain."""
    iterations: int = 40_000
    """Iterations; in each, the learner adapts to one meta-batch of tasks."""
    meta_batch: int = 25
    """Tasks an iteration."""
    points: int = 10
    """Points of a task to adapt with."""
    query_points: int = 10
    """Other points of it to be judged by."""
    inner_batch: int | None = None
    """Points an inner step; they are shuffled for every pass over them. None: all, every step."""
    hidden: tuple[int, ...] = (40, 40)
    """Units of each hidden layer."""
    activation: Literal["relu", "tanh"] = "relu"
    """Between the layers."""
    seeds: tuple[int, ...] = (0,)
    """One learner a seed, trained one after the other."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    log_every: int = 100
    """Iterations a line of metrics; each line is their mean."""
    checkpoint_every: int = 2_000
    """Iterations between checkpoints."""
    learner: LearnerSettings = field(default_factory=LearnerSettings)
    """Inner and outer loop; the defaults are the method's own."""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Continue this run; its settings come from its config.json.
    --iterations M: to M in all; a learning rate that changes does so as in a run of M."""

    HELD: ClassVar[Held] = (
        (4, "meta_batch", "points"),
        (4, "meta_batch", "query_points"),
        (4, "meta_batch", "learner.inner.num_steps"),
        (4, "meta_batch", "hidden"),
        (48, "hidden"),  # weights, gradients, moments, a number in and one out
    )

    def __post_init__(self) -> None:
        """Refuse, before any work starts, what cannot be trained."""
        counts = ("iterations", "meta_batch", "points", "query_points", "log_every")
        for name in (*counts, "checkpoint_every"):
            if getattr(self, name) < 1:
                option = name.replace("_", "-")
                raise UserError(f"--{option} must be at least 1, got {getattr(self, name)}")
        if self.inner_batch is not None and not 1 <= self.inner_batch <= self.points:
            raise UserError(
                f"--inner-batch must lie between 1 and --points {self.points}, "
                f"got {self.inner_batch}"
            )
        if not self.hidden or min(self.hidden) < 1:
            raise UserError(f"--hidden must be positive counts, at least one, got {self.hidden}")
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"--seeds must be different and not negative, got {self.seeds}")
        if (self.family == "sine-domain") != (self.method == "daml"):
            raise UserError(
                "sine-domain shows no labels to adapt with, and daml alone adapts without: "
                f"got --family {self.family} --method {self.method}"
            )
        if self.method == "ft":
            raise UserError(
                "ft has a head for each training task; functions are drawn anew every time: "
                "`--method reptile --learner.inner.num-steps 1` trains on all of them jointly"
            )
        check_applies(self.method, self.learner)


def default_method(family: Family) -> Method:
    """The learner that a family is usually learned with."""
    match family:
        case "logistic":
            return "reptile"
        case "sine-domain":
            return "daml"
        case _:
            return "maml"


def defaults(family: Family = "sine", method: Method | None = None) -> TrainSettings:
    """The settings of a family, with what the method needs otherwise."""
    method = method or default_method(family)
    match family:
        case "sine":
            changes = _sine(method)
        case "sine-phase":
            changes = _sine_phase(method)
        case "sine-domain":
            changes = _sine_domain()
        case "logistic":
            changes = _logistic(method)
    return replace(TrainSettings(), family=family, method=method, **changes)


ADAM = OuterSettings(OptimiserSettings(lr=3e-3))
COSINE = Schedule("cosine")

ITERATIONS: dict[str, int] = {"reptile": 10_000, "leap": 10_000, "imaml": 1_500, "none": 1}
"""Where they are not 30,000; the budgets in CPU time are alike."""
ITERATIONS |= dict.fromkeys(WARP_METHODS, 5_000)


def _sine(method: Method) -> dict[str, Any]:
    """Finn et al. 2017, one step of 0.01; but Adam at 3e-3, which falls to 0.

    Learners that go far, or follow the path of adaptation, take ten steps of 0.02. The gradient of
    implicit MAML knows nothing of its inner steps, only of where they end: it takes forty of Adam,
    which get there, and a proximal term under which the curvature stays positive. Warp layers can
    make the steps of one function of a meta-batch diverge: their gradient is clipped.
    """
    inner = InnerSettings(lr=0.01)
    base = adjusted(method, LearnerSettings(inner=inner, outer=ADAM, schedule=COSINE))
    if method in ("reptile", "leap"):
        inner = InnerSettings(lr=0.02, num_steps=10)
        base = replace(base, inner=inner, outer=ADAM, schedule=COSINE)
    elif method == "imaml":
        inner = InnerSettings(rule="adam", lr=0.01, num_steps=40)
        outer = OuterSettings(OptimiserSettings(lr=1e-3), max_grad_norm=1.0)
        implicit = ImplicitSettings(strength=10.0)
        base = replace(base, inner=inner, outer=outer, schedule=COSINE, implicit=implicit)
    elif method in WARP_METHODS:
        base = replace(base, outer=replace(base.outer, max_grad_norm=1.0))
    return {"learner": base, "iterations": ITERATIONS.get(method, 30_000)}


def _sine_phase(method: Method) -> dict[str, Any]:
    """Four points."""
    learner = adjusted(method, LearnerSettings(inner=InnerSettings(lr=0.01)))
    return {"points": 4, "iterations": 10_000, "learner": learner}


def _sine_domain() -> dict[str, Any]:
    """Four inputs of the other domain; one step of 0.01 on the learned loss."""
    inner = InnerSettings(lr=0.01)
    learner = LearnerSettings(inner=inner, outer=ADAM, schedule=COSINE)
    return {"points": 4, "iterations": 5_000, "learner": learner}


def _logistic(method: Method) -> dict[str, Any]:
    """For reptile batches of 5 of 50 points, one pass, and an outer step of 0.1 that falls to 0.

    Now and then the way to one steep curve diverges: the mean of where the tasks went is clipped,
    or one such meta-batch ends the run.
    """
    common = {"iterations": 10_000, "meta_batch": 10, "hidden": (32, 32, 32)}
    inner = InnerSettings(lr=0.02)
    if method != "reptile":
        return {**common, "learner": adjusted(method, LearnerSettings(inner=inner))}
    outer = OuterSettings(OptimiserSettings("sgd", lr=0.1, beta1=0.0), max_grad_norm=1.0)
    inner = replace(inner, num_steps=10)
    learner = LearnerSettings(inner=inner, outer=outer, schedule=Schedule("linear"))
    return {**common, "points": 50, "inner_batch": 5, "learner": learner}


def from_config(config: Mapping[str, Any]) -> TrainSettings:
    """The settings that a run's `config.json` keeps.

    Raises:
        RunDirectoryError: It is another script's run, or another version's.
    """
    required = ("family", "method", "meta_batch", "hidden", "learner")
    return stored_settings.from_config(
        TrainSettings, own_of_learner(config), required=required, what="a regression run"
    )


FAMILIES: tuple[Family, ...] = get_args(Family)
METHODS: tuple[Method, ...] = get_args(Method)
