"""No meta-training: every task adapts from the model's random initialisation.

The control of every experiment. It has the interface of a learner and learns nothing:

    theta <- theta
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from metarl.core import TaskBatch
from metarl.core.settings import Executed, InnerLoop
from metarl.meta.learner import MetaLearner, Metrics
from metarl.meta.method import GradientMethod, Untrained


class NoMetaTraining(MetaLearner):
    """A learner whose meta-gradient is never due."""

    def _gradients(self, tasks: TaskBatch[Any]) -> Iterator[Metrics]:
        """Yield nothing, and draw nothing."""
        yield from ()


@dataclass(frozen=True)
class NoMetaTrainingSettings(Executed, InnerLoop, GradientMethod):
    """Adapt from a random initialisation, without meta-training."""

    name: ClassVar[str] = "none"
    family: ClassVar[str] = "without meta-learning"

    def build(self, model: Untrained) -> NoMetaTraining:
        """Make the learner."""
        return NoMetaTraining(model.params, **self._adaptation())

    def draws(self) -> int:
        """Return how often experience of every task is drawn in one iteration."""
        return 0
