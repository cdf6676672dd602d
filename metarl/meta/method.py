"""Methods that adapt by gradient steps: their settings, their facts and their learners.

A learner's settings stand beside it, `MAMLSettings` beside `MAML`, and `metarl.methods` lists them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from torch import Tensor

from metarl.core import Params
from metarl.core.settings import InnerSteps
from metarl.meta.learner import MetaLearner


class LearnedLoss(NamedTuple):
    """Network of a loss that is learned, and its initial parameters."""

    network: Callable[[Params, Tensor], Tensor]
    params: Params


class Architecture(Protocol):
    """Name patterns that say what the parameters of a model are: a network, or a policy."""

    @property
    def slow(self) -> tuple[str, ...]:
        """Parameters that stand still while a task is adapted to."""

    @property
    def head(self) -> tuple[str, ...]:
        """Parameters of the last layer."""


@dataclass(frozen=True)
class Untrained:
    """The untrained model that a learner is built from.

    Attributes:
        params: Initial parameters of the model, unstacked, on their device.
        architecture: Names of those that stand still in adaptation, and of the head.
        learned_loss: Loss to adapt with where tasks show no labels.
        num_tasks: Training tasks, where they are met again.
        seed: Seed of the learner's own draws.
    """

    params: Params
    architecture: Architecture
    learned_loss: LearnedLoss | None = None
    num_tasks: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class GradientMethod(InnerSteps, ABC):
    """A method that adapts to a task by gradient steps.

    Attributes:
        through_adaptation: The meta-gradient reaches what only adaptation uses.
    """

    suits: ClassVar[frozenset[str]] = frozenset({"data", "policy"})
    through_adaptation: ClassVar[bool] = False

    @abstractmethod
    def build(self, model: Untrained) -> MetaLearner:
        """Make the learner.

        Raises:
            ValueError: The settings do not suit the model.
        """

    def draws(self) -> int:
        """Return how often experience of every task is drawn in one iteration."""
        return self.inner_steps + 1

    def _adaptation(self) -> dict[str, Any]:
        """Return what every learner is told of adaptation and execution."""
        return {"rule": self.rule(), "num_steps": self.inner_steps, "execution": self.execution}
