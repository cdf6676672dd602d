"""Settings of the learners: which there are, what `--help` explains, what applies to which."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from metarl.core import (
    Execution,
    OptimiserSettings,
    OuterSettings,
    Schedule,
    UpdateRule,
    adam,
    adamw,
    chain,
    check_compiler,
    clip_by_norm,
    rmsprop,
    sgd,
)
from metarl.errors import UserError
from metarl.meta import LeapMetric

Method = Literal[
    "maml",
    "fomaml",
    "anil",
    "metasgd",
    "meta-curvature",
    "reptile",
    "leap",
    "imaml",
    "warp",
    "warp-leap",
    "warp-reptile",
    "warp-maml",
    "daml",
    "ft",
    "none",
]

WARP_METHODS = ("warp", "warp-leap", "warp-reptile", "warp-maml")
"""Learners of a network with warp layers."""


@dataclass(frozen=True)
class InnerSettings:
    """How a task is adapted to.

    Attributes:
        rule: The update rule; momentum, nesterov, adam, adamw and rmsprop as in `torch.optim`.
        lr: Its step size; the initial one where step sizes are learned.
        num_steps: Inner steps in meta-training.
        momentum: Of the rules momentum and nesterov.
        beta1: Adam's decay of the first moment.
        beta2: Adam's and RMSprop's decay of the second moment.
        weight_decay: Decoupled for adamw, coupled for the others.
        clip_norm: Each task's gradient is clipped to this norm; None does not clip.
        learned: Meta-learn the step size: no; parameter: one a tensor; element: one a number.
        per_step: What is learned is another for each inner step of meta-training (MAML++).
        later: Multiplies every step but the first; 1: all steps alike.
    """

    rule: Literal["sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop"] = "sgd"
    lr: float = 0.01
    num_steps: int = 1
    momentum: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0
    clip_norm: float | None = None
    learned: Literal["no", "parameter", "element"] = "no"
    per_step: bool = False
    later: float = 1.0

    def __post_init__(self) -> None:
        """Refuse, before any work starts, what cannot be stepped with."""
        if not (math.isfinite(self.later) and self.later > 0):
            raise ValueError(f"later must be finite and above 0, got {self.later}")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"lr must be finite and above 0, got {self.lr}")
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {self.num_steps}")
        if not 0 < self.momentum < 1:
            raise ValueError(f"momentum must lie between 0 and 1, got {self.momentum}")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(f"weight_decay must be finite and at least 0, got {self.weight_decay}")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm must be above 0, or None, got {self.clip_norm}")
        if self.per_step and self.learned == "no":
            raise ValueError("per_step is for step sizes that are learned: parameter or element")

    def build(self) -> UpdateRule:
        """Make the rule."""
        clips = [] if self.clip_norm is None else [clip_by_norm(self.clip_norm)]
        return chain(*clips, self._unclipped())

    def _unclipped(self) -> UpdateRule:
        lr = [self.lr] * self.num_steps if self.per_step else self.lr
        betas = (self.beta1, self.beta2)
        common: dict[str, Any] = {
            "weight_decay": self.weight_decay,
            "learned": self.learned,
            "later": self.later,
        }
        match self.rule:
            case "adam":
                return adam(lr, betas, **common)
            case "adamw":
                return adamw(lr, betas, **common)
            case "rmsprop":
                return rmsprop(lr, self.beta2, **common)
            case "sgd":
                return sgd(lr, **common)
            case "momentum" | "nesterov":
                return sgd(lr, self.momentum, nesterov=self.rule == "nesterov", **common)


@dataclass(frozen=True)
class WarpSettings:
    """How warp layers are learned (WarpGrad).

    Attributes:
        algorithm: online: one step a meta-batch, while tasks adapt; offline: tasks adapt first,
            then the points that they passed are drawn without replacement.
        objective: exact; first_order; replay: the loss at a point, without a look ahead.
        draws: Offline: points a step. None: all in one step.
        epochs: Offline: how often each point is drawn.
        stride: Offline: every how many steps a point is recorded.
    """

    algorithm: Literal["online", "offline"] = "online"
    objective: Literal["exact", "first_order", "replay"] = "exact"
    draws: int | None = 1
    epochs: int = 1
    stride: int = 1

    def __post_init__(self) -> None:
        """Refuse counts that mean nothing."""
        if min(self.epochs, self.stride) < 1 or (self.draws is not None and self.draws < 1):
            raise ValueError(
                "draws (or None), epochs and stride must be at least 1, "
                f"got {self.draws}, {self.epochs}, {self.stride}"
            )


@dataclass(frozen=True)
class ImplicitSettings:
    """The inner problem of implicit MAML, and the linear system of its gradient.

    Attributes:
        strength: Of the proximal term, lambda.
        solver: cg: conjugate gradient; neumann: the Neumann series.
        num_iterations: Most Hessian-vector products.
    """

    strength: float = 2.0
    solver: Literal["cg", "neumann"] = "cg"
    num_iterations: int = 5

    def __post_init__(self) -> None:
        """Refuse, before any work starts, what cannot be solved."""
        if not (math.isfinite(self.strength) and self.strength > 0):
            raise ValueError(f"strength must be finite and above 0, got {self.strength}")
        if self.num_iterations < 1:
            raise ValueError(f"num_iterations must be at least 1, got {self.num_iterations}")


@dataclass(frozen=True)
class LearnerSettings:
    """What every learner has, and what some have.

    Attributes:
        inner: Adaptation to a task.
        outer: The step on the meta-gradient.
        schedule: Of the outer learning rates.
        execution: How many tasks are worked on at a time.
        checkpoint: Second order in the memory of one inner step (maml and its kin).
        truncate: Go back through the last so many inner steps alone, and take those before to
            first order (maml and its kin); None: through all.
        order: Of the tasks in a meta-batch, for reptile: batch: one step for all; serial: one a
            task.
        leap: What the length of a path is (leap, warp-leap).
        leap_final: The point after the last inner step belongs to the path: K steps make K
            segments, else K - 1 as in the published code (leap, warp-leap).
        warp: How warp layers are learned (warp, warp-leap, ...).
        implicit: What implicit MAML solves (imaml).
    """

    inner: InnerSettings = field(default_factory=InnerSettings)
    outer: OuterSettings = field(default_factory=OuterSettings)
    schedule: Schedule = field(default_factory=Schedule)
    execution: Execution = field(default_factory=Execution)
    checkpoint: bool = False
    truncate: int | None = None
    order: Literal["batch", "serial"] = "batch"
    leap: LeapMetric = field(default_factory=LeapMetric)
    leap_final: bool = True
    warp: WarpSettings = field(default_factory=WarpSettings)
    implicit: ImplicitSettings = field(default_factory=ImplicitSettings)


ONLY_FOR: dict[str, tuple[str, ...]] = {
    "checkpoint": ("maml", "anil", "metasgd", "meta-curvature", "daml"),
    "truncate": ("maml", "anil", "metasgd", "meta-curvature"),
    "order": ("reptile",),
    "leap": ("leap", "warp-leap"),
    "leap_final": ("leap", "warp-leap"),
    "warp": WARP_METHODS,
    "implicit": ("imaml",),
}
"""The settings that not every learner has."""


def own_of_learner(config: Mapping[str, Any]) -> dict[str, Any]:
    """A stored config without the settings of its learner that the method does not read.

    They were left at their defaults, which may be others by now.
    """
    method, learner = config.get("method"), config.get("learner")
    if not isinstance(learner, Mapping):
        return dict(config)
    kept = {n: v for n, v in learner.items() if method in ONLY_FOR.get(n, (method,))}
    return {**config, "learner": kept}


COMPILABLE = (
    *("maml", "fomaml", "anil", "metasgd", "meta-curvature", "daml", "reptile", "leap"),
    *WARP_METHODS,
)
"""Those whose meta-gradient `core.compilation` can trace."""

LEARNS_STEP_SIZES = ("maml", "fomaml", "anil", "metasgd", "meta-curvature", "daml", *WARP_METHODS)


def check_applies(method: Method, settings: LearnerSettings) -> None:
    """Refuse settings that the learner would not read.

    Raises:
        UserError: A setting was changed that is not the method's.
    """
    usual = LearnerSettings()
    for one in fields(settings):
        methods = ONLY_FOR.get(one.name)
        changed = getattr(settings, one.name) != getattr(usual, one.name)
        if changed and methods is not None and method not in methods:
            option = one.name.replace("_", "-")
            raise UserError(f"--learner.{option} is for {', '.join(methods)}; {method} has none")
    if settings.inner.learned != "no" and method not in LEARNS_STEP_SIZES:
        raise UserError(
            f"--learner.inner.learned {settings.inner.learned}: {method} says nothing about step "
            f"sizes; {', '.join(LEARNS_STEP_SIZES)} learn them"
        )
    if settings.truncate is not None and settings.truncate < 0:
        raise UserError(f"--learner.truncate must be at least 0, got {settings.truncate}")
    if not settings.leap_final and settings.inner.num_steps < 2:
        raise UserError(
            "--learner.no-leap-final leaves one inner step no path: take at least 2 with "
            "--learner.inner.num-steps"
        )
    if method == "metasgd" and (settings.inner.rule, settings.inner.learned) != ("sgd", "element"):
        raise UserError(
            "metasgd is gradient descent with one learned step size a number: "
            "--learner.inner.rule sgd --learner.inner.learned element; or take maml"
        )
    if method == "meta-curvature" and settings.inner.rule != "sgd":
        raise UserError(
            f"meta-curvature is gradient descent: --learner.inner.rule sgd, "
            f"got {settings.inner.rule}"
        )
    if settings.execution.compile:
        _check_compiles(method, settings)


def check_compiler_of(settings: LearnerSettings) -> None:
    """Before training with these settings: look for the compiler that they need.

    Raises:
        UserError: There is none.
    """
    if settings.execution.compile:
        check_compiler()


def _check_compiles(method: Method, settings: LearnerSettings) -> None:
    if method not in COMPILABLE:
        raise UserError(f"--learner.execution.compile is for {', '.join(COMPILABLE)}; not {method}")
    if settings.checkpoint:
        raise UserError(
            "a compiled meta-gradient keeps its whole graph: leave out --learner.execution.compile "
            "or --learner.checkpoint"
        )
    if settings.warp.algorithm == "offline":
        raise UserError("--learner.execution.compile is for --learner.warp.algorithm online")


def adjusted(method: Method, base: LearnerSettings) -> LearnerSettings:
    """A protocol's settings with what the method needs otherwise.

    Args:
        method: The learner.
        base: What suits MAML there.

    Returns:
        Learners that follow the path of adaptation take at least five inner steps, implicit MAML
        16 (Rajeswaran et al. 2019). Reptile goes all the way to the mean of the adapted parameters
        at first, and less and less (Nichol et al. 2018).
    """
    inner, outer = base.inner, base.outer
    many = replace(inner, num_steps=max(inner.num_steps, 5))
    match method:
        case "metasgd":
            return replace(base, inner=replace(inner, learned="element"))
        case "reptile":
            whole = OptimiserSettings("sgd", lr=1.0, beta1=0.0)
            outer = replace(outer, optimiser=whole)
            return replace(base, inner=many, outer=outer, schedule=Schedule("linear"))
        case "imaml":
            return replace(base, inner=replace(inner, num_steps=max(inner.num_steps, 16)))
        case "leap" | "warp" | "warp-leap" | "warp-reptile" | "warp-maml":
            return replace(base, inner=many)
    return base
