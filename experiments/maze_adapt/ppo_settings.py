"""Settings of PPO on the mixture of tasks, and of its fine-tuning to one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from metarl.core import Schedule


@dataclass(frozen=True)
class FineTuningSettings:
    """How PPO learns from the episodes of one task, with a new optimiser.

    Attributes:
        lr: Learning rate.
        num_epochs: Passes over the episodes of a step.
        batch_size: Transitions a minibatch.
    """

    lr: float = 3e-3
    num_epochs: int = 10
    batch_size: int = 250

    def __post_init__(self) -> None:
        """Refuse what cannot be learned with."""
        check_learning(self.lr, self.num_epochs, self.batch_size)


@dataclass(frozen=True)
class PPOSettings:
    """Of SB3's PPO, on ``meta_batch * episodes`` whole episodes an iteration.

    Attributes:
        lr: Learning rate.
        schedule: Of the learning rate.
        num_epochs: Passes over the episodes of an iteration.
        batch_size: Transitions a minibatch.
        clip: Largest change of a probability ratio that is rewarded.
        gamma: Discount.
        gae_lambda: Of the advantages.
        entropy_coef: Weight of the entropy. With little of it the policy of a mixture becomes a
            fixed tour, which fine-tuning cannot leave.
        value_coef: Weight of the critic's loss.
        max_grad_norm: Clip the gradient to this norm.
        target_kl: End the epochs of an iteration at a minibatch from which the policy has moved 1.5
            times this, in nats a step (`kl_stops` counts them); in fine-tuning too. None: never.
        fine_tuning: To one task, when it is evaluated.
    """

    lr: float = 1e-3
    schedule: Schedule = field(default_factory=lambda: Schedule("linear"))
    num_epochs: int = 5
    batch_size: int = 1000
    clip: float = 0.2
    gamma: float = 0.99
    gae_lambda: float = 0.95
    entropy_coef: float = 0.05
    value_coef: float = 0.5
    max_grad_norm: float = 0.5
    target_kl: float | None = None
    fine_tuning: FineTuningSettings = field(default_factory=FineTuningSettings)

    def __post_init__(self) -> None:
        """Refuse, before any work starts, what cannot be trained with."""
        check_learning(self.lr, self.num_epochs, self.batch_size)
        for name in ("gamma", "gae_lambda"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        for name in ("clip", "max_grad_norm"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} must be finite and above 0, got {getattr(self, name)}")
        if self.target_kl is not None and not self.target_kl > 0:
            raise ValueError(f"target_kl must be above 0, or None, got {self.target_kl}")
        for name in ("entropy_coef", "value_coef"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} must be finite and at least 0, got {getattr(self, name)}")


def check_learning(lr: float, num_epochs: int, batch_size: int) -> None:
    """Refuse what PPO cannot learn with: advantages are normalised in minibatches of at least 2."""
    if not (math.isfinite(lr) and lr >= 0):
        raise ValueError(f"lr must be finite and at least 0, got {lr}")
    if num_epochs < 1:
        raise ValueError(f"num_epochs must be at least 1, got {num_epochs}")
    if batch_size < 2:
        raise ValueError(f"batch_size must be at least 2, got {batch_size}")
