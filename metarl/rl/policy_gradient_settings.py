"""What the loss of a policy gradient task is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from metarl.rl.surrogates import Estimator


@dataclass(frozen=True)
class PolicyGradientSettings:
    """The loss of a batch of episodes.

    Attributes:
        gamma: Discount.
        gae_lambda: Weight of longer returns in the advantage; 1 uses whole returns.
        baseline: none; linear: `LinearBaseline`, fitted to each batch; critic: the policy's own,
            whose squared error is part of the loss.
        estimator: See `surrogates`.
        loaded_lambda: Of the estimator loaded_dice.
        normalise_advantages: To mean 0 and deviation 1 per task and batch. It changes the size of
            every task's inner steps.
        divide_by_horizon: Divide the sums over time by T, a constant, so that step sizes need not
            depend on the horizon.
        entropy_coef: Weight of the policy's entropy (nats a step), which is to be large.
        start_entropy_coef: Weight of the entropy (nats a step) of the policy before adaptation, in
            the meta-objective alone: it keeps looking where no goal of training was, and what is
            not found cannot be adapted to (`start_entropy`).
        value_coef: Weight of the critic's squared error.
        auxiliary_critic: Beside another baseline, a critic of ``(1 - gamma) * return`` whose error
            is in the loss of adaptation alone. It shares the actor's trunk, so that its gradient
            tells the actor what a policy gradient hardly can (how far away a goal is). Nothing
            but the meta-gradient through adaptation trains it.
    """

    gamma: float = 0.99
    gae_lambda: float = 1.0
    baseline: Literal["none", "linear", "critic"] = "linear"
    estimator: Estimator = "lvc"
    loaded_lambda: float = 0.5
    normalise_advantages: bool = True
    divide_by_horizon: bool = False
    entropy_coef: float = 0.0
    start_entropy_coef: float = 0.0
    value_coef: float = 0.5
    auxiliary_critic: bool = False

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        for name in ("gamma", "gae_lambda", "loaded_lambda"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        for name in ("value_coef", "entropy_coef", "start_entropy_coef"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} must be finite and at least 0, got {getattr(self, name)}")
        if self.estimator not in get_args(Estimator):
            raise ValueError(
                f"estimator must be one of {', '.join(get_args(Estimator))}, got {self.estimator!r}"
            )
        if self.baseline not in ("none", "linear", "critic"):
            raise ValueError(f"baseline must be none, linear or critic, got {self.baseline!r}")
        if self.auxiliary_critic and self.baseline == "critic":
            raise ValueError("auxiliary_critic goes with another baseline: linear or none")

    @property
    def has_critic(self) -> bool:
        """Whether a critic is part of the loss."""
        return self.baseline == "critic" or self.auxiliary_critic
