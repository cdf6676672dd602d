"""Errors of fits to unseen functions, gradient step by gradient step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.meta import MetaLearner
from metarl.supervised.criteria import mean_absolute_error, mean_squared_error
from metarl.supervised.tasks import SupervisedTasks

Array = NDArray[np.float64]


class Errors(NamedTuple):
    """Errors of N tasks after 0 to K gradient steps, each ``[N, K + 1]``.

    Attributes:
        squared: Mean squared error at the test points.
        absolute: Mean absolute error there.
        batch: The loss on the batch that the next step learns from; at the end on that of one
            more step. It is the family's, for DAML the learned one.
    """

    squared: Array
    absolute: Array
    batch: Array


def measure(learner: MetaLearner, tasks: SupervisedTasks, num_steps: int) -> Errors:
    """Adapt, and measure before the first step and after every step."""
    tasks = tasks.select(slice(None))  # from their first batch on
    query = tasks.source.draw("query")
    slow = {n: p.detach().expand(tasks.num_tasks, *p.shape) for n, p in learner.slow.items()}
    columns: list[tuple[Tensor, Tensor, Tensor]] = []
    # One step more than is asked for: its loss is that of the batch after the last one.
    for step in learner.adaptation(tasks, num_steps + 1):
        with torch.no_grad():
            at_test = tasks.outputs(step.fast, slow, query.inputs)
        columns.append(
            (
                mean_squared_error(at_test, query.targets),
                mean_absolute_error(at_test, query.targets),
                step.loss,
            )
        )
    return Errors(*(torch.stack(c, 1).double().cpu().numpy() for c in zip(*columns, strict=True)))
