"""Settings that methods are made of: adaptation, the step on the meta-gradient, execution.

A method is a frozen dataclass that inherits the mixins whose settings it reads, and no others: what
it does not read cannot be written down. Field names are the flags of the command line
(``inner_lr`` is ``--inner-lr``), and defaults are the method's own.

    @dataclass(frozen=True)
    class MAMLSettings(Compiled, RuleSide, LearnedSteps, InnerLoop, GradientMethod): ...

Bases are named from the last to the first, which is the order in which a dataclass lists fields.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, Self

from metarl.core.execution import Execution
from metarl.core.optimiser_rules import adam, adamw, chain, clip_by_norm, rmsprop, sgd
from metarl.core.optimisers import OptimiserSettings
from metarl.core.update_rules import UpdateRule
from metarl.errors import check_choices, check_counts, is_finite_number


@dataclass(frozen=True)
class Schedule:
    """The change of the learning rates over a run, as a factor.

    Attributes:
        decay: constant; or linear or cosine, down to the final factor.
        final: The factor that decay comes to behind the last iteration.
        warmup: Iterations over which the factor first rises from 0 in a line.
    """

    decay: Literal["constant", "linear", "cosine"] = "constant"
    final: float = 0.0
    warmup: int = 0

    def __post_init__(self) -> None:
        """Check decay, factor and count."""
        check_choices(self)
        if not 0.0 <= self.final <= 1.0:
            raise ValueError(f"final must lie in [0, 1], got {self.final}")
        if self.warmup < 0:
            raise ValueError(f"warmup must be at least 0, got {self.warmup}")

    def factor(self, iteration: int, num_iterations: int) -> float:
        """Return the factor for an iteration counted from 0."""
        done = iteration / max(num_iterations, 1)
        remaining = {
            "constant": 1.0,
            "linear": 1.0 - done,
            "cosine": 0.5 * (1.0 + math.cos(math.pi * done)),
        }[self.decay]
        factor = (
            remaining if self.decay == "constant" else self.final + (1 - self.final) * remaining
        )
        return factor * min(1.0, (iteration + 1) / self.warmup) if self.warmup else factor


@dataclass(frozen=True)
class OuterSettings:
    """The steps of the meta-parameters on their gradient.

    Attributes:
        optimiser: Optimiser of all sides; its learning rate is the initialisation's.
        slow_lr: Learning rate of the slow parameters. None: the optimiser's.
        rule_lr: Learning rate of what the update rule learns. None: the optimiser's.
        max_grad_norm: Clip the meta-gradient, over all sides, to this norm. None: never.
    """

    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    slow_lr: float | None = None
    rule_lr: float | None = None
    max_grad_norm: float | None = None

    def __post_init__(self) -> None:
        """Check learning rates and norm."""
        for name in ("slow_lr", "rule_lr"):
            value = getattr(self, name)
            if value is not None and not (is_finite_number(value) and value >= 0):
                raise ValueError(f"{name} must be finite and at least 0, got {value}")
        norm = self.max_grad_norm
        if norm is not None and not (is_finite_number(norm) and norm > 0):
            raise ValueError(f"max_grad_norm must be finite and above 0, or None, got {norm}")

    def of_side(self, side: str) -> OptimiserSettings:
        """Return the optimiser of one side."""
        lr = {"slow": self.slow_lr, "rule": self.rule_lr}.get(side)
        return self.optimiser if lr is None else replace(self.optimiser, lr=lr)


@dataclass(frozen=True)
class Method:
    """The settings of one method, and what there is to know of it.

    Attributes:
        name: Name for ``--method``.
        family: Methods of one family share a panel in pictures.
        suits: Kinds of tasks that it learns from, of `TASKS`; one of them is enough.
        warped: The network needs layers that stand still while it adapts.
    """

    name: ClassVar[str]
    family: ClassVar[str]
    suits: ClassVar[frozenset[str]]
    warped: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check all settings: named values at once, the others mixin by mixin."""
        check_choices(self)
        self.check()

    def check(self) -> None:
        """Check the settings that this class adds, after those of its bases.

        Raises:
            ValueError: One is out of its range; the message names it.
        """

    def having(self, **changes: Any) -> Self:
        """Return the method with other settings, as far as it reads them."""
        read = {one.name for one in fields(self)}
        return replace(self, **{name: value for name, value in changes.items() if name in read})

    @property
    def outer(self) -> OuterSettings:
        """Optimiser of the meta-parameters."""
        return OuterSettings()

    @property
    def schedule(self) -> Schedule:
        """Change of the outer learning rates over a run."""
        return Schedule()

    @property
    def execution(self) -> Execution:
        """Number of tasks that are worked on at a time."""
        return Execution()


TASKS: dict[str, str] = {
    "data": "tasks that are labelled data",
    "unlabelled": "tasks that show no labels to adapt with",
    "recurring": "training tasks that are met again",
    "policy": "tasks that a policy acts in",
}
"""Kinds of tasks, in words."""


@dataclass(frozen=True)
class InnerSteps(Method):
    """Adaptation to a task by gradient descent.

    Attributes:
        inner_lr: Step size; the initial one where step sizes are learned.
        inner_steps: Inner steps in meta-training.
        inner_weight_decay: Decoupled for adamw, coupled for other rules.
        inner_clip_norm: Clip each task's gradient to this norm. None: never.
        inner_later: Factor of every step but the first.
    """

    inner_lr: float = 0.01
    inner_steps: int = 1
    inner_weight_decay: float = 0.0
    inner_clip_norm: float | None = None
    inner_later: float = 1.0

    def check(self) -> None:
        """Check what the inner steps are made with."""
        super().check()
        for name in ("inner_lr", "inner_later"):
            value = getattr(self, name)
            if not (is_finite_number(value) and value > 0):
                raise ValueError(f"{name} must be finite and above 0, got {value}")
        check_counts(inner_steps=self.inner_steps)
        decay, norm = self.inner_weight_decay, self.inner_clip_norm
        if not (is_finite_number(decay) and decay >= 0):
            raise ValueError(f"inner_weight_decay must be finite and at least 0, got {decay}")
        if norm is not None and not norm > 0:
            raise ValueError(f"inner_clip_norm must be above 0, or None, got {norm}")

    def rule(self) -> UpdateRule:
        """Make the update rule."""
        clips = [] if self.inner_clip_norm is None else [clip_by_norm(self.inner_clip_norm)]
        common = {"weight_decay": self.inner_weight_decay, "later": self.inner_later}
        lr, learned = self._step_sizes()
        return chain(*clips, self._descent(lr, {**common, "learned": learned}))

    def _step_sizes(self) -> tuple[Any, str]:
        """Return the initial step sizes, and what is learned of them."""
        return self.inner_lr, "no"

    def _descent(self, lr: Any, common: dict[str, Any]) -> UpdateRule:
        """Make the rule without clipping."""
        return sgd(lr, **common)


@dataclass(frozen=True)
class InnerLoop(InnerSteps):
    """Adaptation to a task by any of the update rules.

    Attributes:
        inner_rule: Update rule; all but sgd as in `torch.optim`.
        inner_momentum: Momentum of the rules momentum and nesterov.
        inner_beta1: Adam's decay of the first moment.
        inner_beta2: Adam's and RMSprop's decay of the second moment.
    """

    inner_rule: Literal["sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop"] = "sgd"
    inner_momentum: float = 0.9
    inner_beta1: float = 0.9
    inner_beta2: float = 0.999

    def check(self) -> None:
        """Check momentum and moments."""
        super().check()
        if not 0 < self.inner_momentum < 1:
            raise ValueError(f"inner_momentum must lie between 0 and 1, got {self.inner_momentum}")
        for name in ("inner_beta1", "inner_beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")

    def _descent(self, lr: Any, common: dict[str, Any]) -> UpdateRule:
        betas = (self.inner_beta1, self.inner_beta2)
        match self.inner_rule:
            case "adam":
                return adam(lr, betas, **common)
            case "adamw":
                return adamw(lr, betas, **common)
            case "rmsprop":
                return rmsprop(lr, self.inner_beta2, **common)
            case "sgd":
                return sgd(lr, **common)
            case "momentum" | "nesterov":
                nesterov = self.inner_rule == "nesterov"
                return sgd(lr, self.inner_momentum, nesterov=nesterov, **common)


@dataclass(frozen=True)
class LearnedSteps(InnerSteps):
    """Step sizes that are meta-learned.

    Attributes:
        inner_learned: Step sizes to meta-learn: no; parameter: one per tensor; element: one per
            number.
        inner_per_step: Learn others for each inner step of meta-training (MAML++).
    """

    inner_learned: Literal["no", "parameter", "element"] = "no"
    inner_per_step: bool = False

    def check(self) -> None:
        """Check that what differs from step to step is learned."""
        super().check()
        if self.inner_per_step and self.inner_learned == "no":
            raise ValueError(
                "inner_per_step is for step sizes that are learned: inner_learned parameter or "
                "element"
            )

    def _step_sizes(self) -> tuple[Any, str]:
        lr = [self.inner_lr] * self.inner_steps if self.inner_per_step else self.inner_lr
        return lr, self.inner_learned


@dataclass(frozen=True)
class OuterLoop(Method):
    """The step on the meta-gradient.

    Attributes:
        optimiser: Optimiser of the meta-parameters.
        lr: Learning rate.
        beta1: Decay of the first moment; momentum of sgd.
        beta2: Decay of the second moment.
        eps: Added to the root of the second moment.
        weight_decay: Coupled L2 decay.
        max_grad_norm: Clip the meta-gradient to this norm. None: never.
        decay: The learning rates stay constant, or fall linear or cosine to the final factor.
        final: Factor that the learning rates come to behind the last iteration.
        warmup: Iterations over which the learning rates first rise from 0.
    """

    optimiser: Literal["adam", "rmsprop", "sgd"] = "adam"
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    max_grad_norm: float | None = None
    decay: Literal["constant", "linear", "cosine"] = "constant"
    final: float = 0.0
    warmup: int = 0

    def check(self) -> None:
        """Check what the outer steps are made with."""
        super().check()
        _ = self.outer, self.schedule

    @property
    def outer(self) -> OuterSettings:
        """Optimiser of the meta-parameters, side by side."""
        common = (self.lr, self.beta1, self.beta2, self.eps, self.weight_decay)
        optimiser = OptimiserSettings(self.optimiser, *common)
        return OuterSettings(optimiser, max_grad_norm=self.max_grad_norm)

    @property
    def schedule(self) -> Schedule:
        """Change of the outer learning rates over a run."""
        return Schedule(self.decay, self.final, self.warmup)


@dataclass(frozen=True)
class RuleSide(OuterLoop):
    """The step of what the update rule learns.

    Attributes:
        rule_lr: Learning rate of what the update rule learns. None: lr.
    """

    rule_lr: float | None = None

    @property
    def outer(self) -> OuterSettings:
        """Optimiser of the meta-parameters, side by side."""
        return replace(super().outer, rule_lr=self.rule_lr)


@dataclass(frozen=True)
class SlowSide(OuterLoop):
    """The step of parameters that stand still while tasks adapt.

    Attributes:
        slow_lr: Learning rate of the parameters that stand still in adaptation. None: lr.
    """

    slow_lr: float | None = None

    @property
    def outer(self) -> OuterSettings:
        """Optimiser of the meta-parameters, side by side."""
        return replace(super().outer, slow_lr=self.slow_lr)


@dataclass(frozen=True)
class Executed(Method):
    """Numbers of tasks that are worked on at a time.

    Attributes:
        chunk_size: Tasks that are stacked into one program. None: all; auto: what suits network
            and device, where that is known.
        num_threads: Chunks that are worked on at the same time, on a CPU.
    """

    chunk_size: int | Literal["auto"] | None = None
    num_threads: int = 1

    def check(self) -> None:
        """Check the counts."""
        super().check()
        _ = self.execution

    @property
    def execution(self) -> Execution:
        """Number of tasks that are worked on at a time."""
        return Execution(self.chunk_size, self.num_threads)


@dataclass(frozen=True)
class Compiled(Executed):
    """Meta-gradients that can be compiled.

    Attributes:
        compile: Compile the meta-gradient (`core.compilation`): for small networks on data sets;
            minutes at the start.
    """

    compile: bool = False

    @property
    def execution(self) -> Execution:
        """Number of tasks that are worked on at a time, and whether their gradient is compiled."""
        return replace(super().execution, compile=self.compile)
