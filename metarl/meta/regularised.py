"""A term of the meta-objective that does not depend on adaptation: any learner, and a penalty.

What is minimised is the learner's own objective of theta, plus penalty(theta).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from metarl.core import Params, TaskBatch, add_to_grads, gradients
from metarl.meta.learner import MetaLearner, Metrics
from metarl.meta.task_views import Noted

Penalty: TypeAlias = Callable[[Params, Params, Sequence[Any]], Tensor]
"""A scalar to be small, of the fast and the slow meta-parameters, unstacked, and of the first
batches to adapt by that the learner has drawn, one for each chunk of the tasks."""


def regularised_gradients(
    learner: MetaLearner, tasks: TaskBatch[Any], penalty: Penalty
) -> Iterator[Metrics]:
    """`MetaLearner.meta_gradients` with the penalty's gradient in every one that is complete.

    Parameters whose gradient is not due are left alone, as by the learner.

    Args:
        learner: Learns.
        tasks: N tasks.
        penalty: Called each time, after the learner has drawn from the tasks.

    Yields:
        The learner's metrics and ``penalty``, ``[1]``.
    """
    noted: Noted[Any] = Noted(tasks)
    for metrics in learner.meta_gradients(noted):
        due = {name: p for name, p in learner.params.items() if p.grad is not None}
        with torch.enable_grad():
            value = penalty(learner.fast, learner.slow, noted.first)
        add_to_grads(learner.params, gradients(value, due))
        yield {**metrics, **noted.metrics, "penalty": value.detach().view(1)}
