"""Links that hold gradients or parameters small: clipping by norm or by value, weight decay."""

from __future__ import annotations

import math
from dataclasses import dataclass

from metarl.core.params import Params, along, task_norms
from metarl.core.update_rules import EMPTY, State, Transform


@dataclass(frozen=True)
class ClipByNorm(Transform):
    """Scale each task's gradient to a norm of at most ``max_norm``.

    The norm is that of all fast parameters of one task together, as in
    `torch.nn.utils.clip_grad_norm_`, and is differentiated through.

    Attributes:
        max_norm: The largest norm allowed.
    """

    max_norm: float

    def __post_init__(self) -> None:
        """Check that the norm is positive."""
        _check_positive("max_norm", self.max_norm)

    def update(
        self, grads: Params, fast: Params, state: State, params: Params
    ) -> tuple[Params, State]:
        """Scale gradients by one factor per task."""
        factors = (self.max_norm / (task_norms(grads.values()) + 1e-6)).clamp(max=1.0)
        return {n: g * along(factors, g) for n, g in grads.items()}, EMPTY


@dataclass(frozen=True)
class ClipByValue(Transform):
    """Clamp every number to ``[-max_value, max_value]``, as `torch.nn.utils.clip_grad_value_`.

    Attributes:
        max_value: The largest number allowed.
    """

    max_value: float

    def __post_init__(self) -> None:
        """Check that the value is positive."""
        _check_positive("max_value", self.max_value)

    def update(
        self, grads: Params, fast: Params, state: State, params: Params
    ) -> tuple[Params, State]:
        """Clip every number of the gradients."""
        return {n: g.clamp(-self.max_value, self.max_value) for n, g in grads.items()}, EMPTY


@dataclass(frozen=True)
class WeightDecay(Transform):
    """``g + decay * phi``, as in `torch.optim`.

    Before moments it is coupled (the gradient of decay / 2 |phi|^2 is added to the loss's), between
    moments and step size it is decoupled: Adam, then this, is AdamW (Loshchilov & Hutter 2019).

    Attributes:
        decay: Strength of the decay, at least 0.
    """

    decay: float

    def __post_init__(self) -> None:
        """Check that the decay does not make parameters grow."""
        if not (math.isfinite(self.decay) and self.decay >= 0):
            raise ValueError(f"weight decay must be finite and at least 0, got {self.decay}")

    def update(
        self, grads: Params, fast: Params, state: State, params: Params
    ) -> tuple[Params, State]:
        """Add the pull towards 0."""
        return {name: g + self.decay * fast[name] for name, g in grads.items()}, EMPTY


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be above 0, got {value}")
