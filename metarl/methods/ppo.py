"""Settings of the PPO of SB3: on a mixture of tasks, and with a memory on trials."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from metarl.core.settings import Method, Schedule
from metarl.errors import is_finite_number


@dataclass(frozen=True)
class PPOFineTuning:
    """Settings of PPO on the episodes of one task, with a new optimiser.

    Attributes:
        lr: Learning rate.
        num_epochs: Passes over the episodes of a step.
        batch_size: Transitions per minibatch.
    """

    lr: float = 3e-3
    num_epochs: int = 10
    batch_size: int = 250

    def __post_init__(self) -> None:
        check_learning(self.lr, self.num_epochs, self.batch_size)


@dataclass(frozen=True)
class ClippedSteps(Method):
    """Settings that any PPO of SB3 is made with.

    Attributes:
        lr: Learning rate.
        decay: The learning rate stays constant, or falls linear or cosine to the final factor.
        final: Factor that the learning rate comes to behind the last iteration.
        warmup: Iterations over which the learning rate first rises from 0.
        num_epochs: Passes over the episodes of an iteration.
        batch_size: Transitions per minibatch.
        clip: Largest change of a probability ratio that is rewarded.
        gamma: Discount.
        gae_lambda: Of the advantages.
        entropy_coef: Weight of the entropy.
        value_coef: Weight of the critic's loss.
        max_grad_norm: Clip the gradient to this norm.
        target_kl: End the epochs of an iteration at a minibatch from which the policy has moved 1.5
            times this, in nats a step (`kl_stops` counts them); in fine-tuning too. None: never.
    """

    family: ClassVar[str] = "without meta-learning"
    suits: ClassVar[frozenset[str]] = frozenset({"policy"})

    lr: float = 1e-3
    decay: Literal["constant", "linear", "cosine"] = "linear"
    final: float = 0.0
    warmup: int = 0
    num_epochs: int = 5
    batch_size: int = 1000
    clip: float = 0.2
    gamma: float = 0.99
    gae_lambda: float = 0.95
    entropy_coef: float = 0.05
    value_coef: float = 0.5
    max_grad_norm: float = 0.5
    target_kl: float | None = None

    def check(self) -> None:
        """Check what SB3 is made with."""
        super().check()
        _ = self.schedule
        check_learning(self.lr, self.num_epochs, self.batch_size)
        for name in ("gamma", "gae_lambda"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        for name in ("clip", "max_grad_norm"):
            if not (is_finite_number(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} must be finite and above 0, got {getattr(self, name)}")
        if self.target_kl is not None and not self.target_kl > 0:
            raise ValueError(f"target_kl must be above 0, or None, got {self.target_kl}")
        for name in ("entropy_coef", "value_coef"):
            if not (is_finite_number(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} must be finite and at least 0, got {getattr(self, name)}")

    @property
    def schedule(self) -> Schedule:
        """Change of the learning rate over a run."""
        return Schedule(self.decay, self.final, self.warmup)


@dataclass(frozen=True)
class PPOSettings(ClippedSteps):
    """Train PPO on all tasks as if they were one, and fine-tune it to each.

    With little entropy the policy of a mixture becomes a fixed tour, which fine-tuning does not
    leave.

    Attributes:
        fine_tuning: To one task, when it is evaluated.
    """

    name: ClassVar[str] = "ppo"

    fine_tuning: PPOFineTuning = field(default_factory=PPOFineTuning)


@dataclass(frozen=True)
class RecurrentPPOSettings(ClippedSteps):
    """Train sb3-contrib's RecurrentPPO on trials: RL^2 by another hand (needs sb3-contrib).

    Its LSTM learns from stretches of whole trials, cut where a minibatch of transitions is full.
    """

    name: ClassVar[str] = "recurrent-ppo"
    family: ClassVar[str] = "through the hidden state"

    entropy_coef: float = 0.01


def check_learning(lr: float, num_epochs: int, batch_size: int) -> None:
    """Check what PPO learns with: advantages are normalised in minibatches of at least 2.

    Raises:
        ValueError: A number is out of its range.
    """
    if not (is_finite_number(lr) and lr >= 0):
        raise ValueError(f"lr must be finite and at least 0, got {lr}")
    if num_epochs < 1:
        raise ValueError(f"num_epochs must be at least 1, got {num_epochs}")
    if batch_size < 2:
        raise ValueError(f"batch_size must be at least 2, got {batch_size}")
