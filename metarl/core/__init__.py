"""Named parameters, their fast and slow sides, tasks and optimisers."""

from metarl.core.optimisers import OptimiserSettings, clip_gradients, gradient_norms
from metarl.core.params import (
    Params,
    Partition,
    num_parameters,
    partition,
    scope,
    stack,
    unstack,
)
from metarl.core.tasks import Split, TaskBatch

__all__ = [
    "OptimiserSettings",
    "Params",
    "Partition",
    "Split",
    "TaskBatch",
    "clip_gradients",
    "gradient_norms",
    "num_parameters",
    "partition",
    "scope",
    "stack",
    "unstack",
]
