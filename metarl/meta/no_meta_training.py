"""No meta-training: every task adapts from the model's random initialisation.

The control of every experiment. It has the interface of a learner and learns nothing:

    theta <- theta
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from metarl.core import TaskBatch
from metarl.meta.learner import MetaLearner, Metrics


class NoMetaTraining(MetaLearner):
    """A learner whose meta-gradient is never due."""

    def meta_gradients(self, tasks: TaskBatch[Any]) -> Iterator[Metrics]:
        """Nothing is drawn and nothing is yielded."""
        yield from ()
