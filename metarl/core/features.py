"""Features of a batch are computed once, and are slow parameters of the loss that is left.

Where adaptation moves the last stages of a network alone (ANIL), the stages before them make the
same of the same batch in every inner step. What they make, the features, stands still like a slow
parameter, and takes its place: ``l(phi; slow) = l'(phi; features(slow))``. Gradients pass through
it to what made it, to any order. The slow parameters of the first half are the same for all tasks,
so that their batches go through it as one.

Tasks whose support batch is another in every step repeat nothing, and are left as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

import torch
from torch import Tensor

from metarl.core.params import Params, share
from metarl.core.tasks import BatchT, Halves, Split, TaskBatch, is_staged

PREFIX = "features."
"""The prefix of features among the slow parameters; the name of the split follows."""


@dataclass(frozen=True)
class FeatureTasks(Generic[BatchT]):
    """N tasks whose features are among the slow parameters: a `TaskBatch` of the second half.

    Attributes:
        num_tasks: N.
        halves: Both halves of the loss.
        batches: The batches drawn; no other batch has features.
    """

    num_tasks: int
    halves: Halves[BatchT]
    batches: Mapping[Split, BatchT]

    def sample(self, fast: Params, slow: Params, split: Split) -> BatchT:
        """Return the batch of a split that was drawn."""
        return self.batches[split]

    def loss(self, fast: Params, slow: Params, batch: BatchT) -> Tensor:
        """The second half on the features of the batch, ``[N]``."""
        split = next(s for s, drawn in self.batches.items() if drawn is batch)
        return self.halves.loss(fast, slow, slow[PREFIX + split], batch)


def run_once(
    tasks: TaskBatch[Any], fast: Collection[str], slow: Params, splits: Sequence[Split]
) -> tuple[TaskBatch[Any], dict[str, Tensor]]:
    """Take out of the inner loop what no fast parameter reaches.

    Args:
        tasks: N tasks.
        fast: Names of the fast parameters.
        slow: Slow parameters, unstacked; in grad mode what comes back has a graph to them.
        splits: Splits that the inner loop draws.

    Returns:
        Tasks and slow parameters ``[N, ...]`` for these splits, the same loss: with features where
        the tasks have a first half and draw each split once; else the tasks as they are.
    """
    if not slow or not is_staged(tasks):
        return tasks, share(slow, tasks.num_tasks)
    halves = tasks.halves(fast) if tasks.repeats else None
    if halves is None:
        return tasks, share(slow, tasks.num_tasks)
    with torch.no_grad():
        batches = {split: tasks.draw(split) for split in splits}
    features = {PREFIX + s: halves.features(slow, batch) for s, batch in batches.items()}
    stacked = share(halves.later(slow), tasks.num_tasks)
    return FeatureTasks(tasks.num_tasks, halves, batches), {**stacked, **features}
