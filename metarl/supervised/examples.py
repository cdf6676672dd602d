"""A meta-batch of examples: inputs and targets with a leading task axis N."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from metarl.core import Split


class Examples(NamedTuple):
    """Labelled examples of N tasks, B of each.

    Attributes:
        inputs: ``[N, B, ...]``.
        targets: Class numbers, int64 ``[N, B]``, or values to regress on, ``[N, B, D]``.
    """

    inputs: Tensor
    targets: Tensor

    @property
    def num_tasks(self) -> int:
        """Number of tasks, N."""
        return self.inputs.shape[0]

    def to(self, device: torch.device | str) -> Examples:
        """The same examples on a device."""
        return Examples(self.inputs.to(device), self.targets.to(device))

    def select(self, tasks: slice) -> Examples:
        """Some of the tasks, e.g. a chunk ``slice(0, 8)``: views, not copies."""
        return Examples(self.inputs[tasks], self.targets[tasks])


class FewShotBatch(NamedTuple):
    """N tasks: examples to adapt with, and others of the same classes to be judged by.

    Attributes:
        support: ``shots`` examples of each class.
        query: ``query_shots`` examples of each class, none of them in the support.
    """

    support: Examples
    query: Examples

    @property
    def num_tasks(self) -> int:
        """Number of tasks, N."""
        return self.support.num_tasks

    @property
    def repeats(self) -> bool:
        """Whether every draw of a split is the same: yes."""
        return True

    def draw(self, split: Split) -> Examples:
        """The support or the query set: the same examples every time."""
        return self.support if split == "support" else self.query

    def sample(self, split: Split) -> Examples:
        """The same, under the name that `metarl.Warp` calls: inputs and targets."""
        return self.draw(split)

    def to(self, device: torch.device | str) -> FewShotBatch:
        """The same tasks on a device."""
        return FewShotBatch(self.support.to(device), self.query.to(device))

    def select(self, tasks: slice) -> FewShotBatch:
        """Some of the tasks, e.g. a chunk ``slice(0, 8)``: views, not copies."""
        return FewShotBatch(self.support.select(tasks), self.query.select(tasks))
