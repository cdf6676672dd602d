"""A learned step size and momentum of every adapting parameter: `OptimizerParameters` of a `Warp`.

They are ordinary update rules: alpha = exp(log_lr), beta = sigmoid(logit), so that no step of the
outer optimiser makes them negative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metarl.core import Chain, Params, StepSize, Transform, UpdateRule
from metarl.core.update_rules import State


@dataclass(frozen=True)
class LearnedMomentum(Transform):
    """``m' = beta m + g``, u = m', with one learned beta a parameter.

    Attributes:
        beta: Its initial value.
    """

    beta: float

    def __post_init__(self) -> None:
        """Refuse what has no logit."""
        if not 0 < self.beta < 1:
            raise ValueError(f"a learned momentum must lie between 0 and 1, got {self.beta}")

    def parameters(self, fast: Params) -> dict[str, Tensor]:
        """``logit.NAME``, scalars."""
        logit = math.log(self.beta / (1 - self.beta))
        return {f"logit.{n}": torch.full_like(p.new_empty(()), logit) for n, p in fast.items()}

    def init(self, fast: Params) -> State:
        """M = 0."""
        return {name: torch.zeros_like(p) for name, p in fast.items()}

    def update(
        self, grads: Params, fast: Params, state: State, params: Params
    ) -> tuple[Params, State]:
        """The moving sum of the gradients."""
        moments = {n: params[f"logit.{n}"].sigmoid() * state[n] + g for n, g in grads.items()}
        return moments, moments


@dataclass(frozen=True)
class OptimizerParameters:
    """Step size and momentum of every adapting parameter, meta-learned.

    Attributes:
        lr: Initial step size.
        momentum: Initial momentum; 0 has none and learns none.
    """

    lr: float
    momentum: float = 0.0

    @property
    def rule(self) -> UpdateRule:
        """The update rule whose parameters they are."""
        step_size = StepSize(self.lr, "parameter")
        return Chain((LearnedMomentum(self.momentum), step_size) if self.momentum else (step_size,))

    def groups(self, fast: dict[str, Any], learned: Params) -> list[dict[str, Any]]:
        """Parameter groups of `torch.optim.SGD`, one a parameter, with the values of now."""
        last = len(self.rule.links) - 1
        momentum = {
            n: float(learned[f"0.logit.{n}"].detach().sigmoid()) if last else 0.0 for n in fast
        }
        return [
            {
                "params": [p],
                "lr": float(learned[f"{last}.log_lr.{n}"].detach().exp()),
                "momentum": momentum[n],
            }
            for n, p in fast.items()
        ]
