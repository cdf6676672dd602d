"""A term of the meta-objective that does not depend on adaptation: any learner, and a penalty.

What is minimised is the learner's own objective of theta, plus penalty(theta).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor

from metarl.core import Params, TaskBatch, add_to_grads, gradients
from metarl.meta.learner import MetaLearner, Metrics

Penalty: TypeAlias = Callable[[Params, Params], Tensor]
"""Called with the fast and the slow meta-parameters, unstacked; returns a scalar to be small."""


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
    for metrics in learner.meta_gradients(tasks):
        due = {name: p for name, p in learner.params.items() if p.grad is not None}
        with torch.enable_grad():
            value = penalty(learner.fast, learner.slow)
        add_to_grads(learner.params, gradients(value, due))
        yield {**metrics, "penalty": value.detach().view(1)}
