"""Supervised tasks as a learner sees them: a network, examples to draw, a criterion."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Protocol, Self

from torch import Tensor

from metarl.core import Params, Split
from metarl.fewshot.criteria import Criterion
from metarl.fewshot.examples import Examples
from metarl.nn import Network


class Source(Protocol):
    """Where the examples of N tasks come from.

    A few-shot batch gives the same support and query sets every time; a larger data set draws a
    minibatch. What a task draws does not depend on which other tasks are there.
    """

    @property
    def num_tasks(self) -> int:
        """N."""

    def draw(self, split: Split) -> Examples:
        """Inputs ``[N, B, ...]`` and targets ``[N, B, ...]``."""

    def select(self, tasks: slice) -> Self:
        """These tasks alone."""


@dataclass(frozen=True)
class SupervisedTasks:
    """N tasks of one network: a divisible `TaskBatch`."""

    network: Network
    source: Source
    criterion: Criterion

    @property
    def num_tasks(self) -> int:
        """N."""
        return self.source.num_tasks

    def sample(self, fast: Params, slow: Params, split: Split) -> Examples:
        """Draw examples; the parameters do not matter."""
        return self.draw(split)

    def draw(self, split: Split) -> Examples:
        """Draw examples."""
        return self.source.draw(split)

    @property
    def loss_identity(self) -> Hashable:
        """What the loss is, beside parameters and examples."""
        return type(self), self.network, self.criterion

    def loss(self, fast: Params, slow: Params, batch: Examples) -> Tensor:
        """The criterion ``[N]``, normalisation over the whole batch."""
        return self.criterion(self.outputs(fast, slow, batch.inputs), batch.targets)

    def outputs(self, fast: Params, slow: Params, inputs: Tensor, num_reference: int = 0) -> Tensor:
        """What the networks make of inputs ``[N, B, ...]``: ``[N, B, D]``."""
        return self.network({**fast, **slow}, inputs, num_reference)

    def select(self, tasks: slice) -> SupervisedTasks:
        """These tasks alone."""
        return replace(self, source=self.source.select(tasks))
