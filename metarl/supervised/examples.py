"""A meta-batch of examples, with a leading task axis N: whole support sets, or minibatches."""

from __future__ import annotations

from dataclasses import dataclass, field
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
        """Move the examples to a device."""
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
        """Draw inputs and targets, under the name that `metarl.Warp` calls."""
        return self.draw(split)

    def to(self, device: torch.device | str) -> FewShotBatch:
        """Move the tasks to a device."""
        return FewShotBatch(self.support.to(device), self.query.to(device))

    def select(self, tasks: slice) -> FewShotBatch:
        """Some of the tasks, e.g. a chunk ``slice(0, 8)``: views, not copies."""
        return FewShotBatch(self.support.select(tasks), self.query.select(tasks))


@dataclass
class Minibatches:
    """Support examples in batches, whose order was drawn beforehand; a task's are its own.

    Attributes:
        batches: Inputs ``[N, L, B, ...]`` and targets; after the L-th comes the first again.
        query: Examples to be judged by ``[N, Q, ...]``.
    """

    batches: Examples
    query: Examples
    position: int = field(default=0, init=False)

    @property
    def num_tasks(self) -> int:
        """Number of tasks, N."""
        return self.query.num_tasks

    def draw(self, split: Split) -> Examples:
        """The next support batch, or the query set."""
        if split == "query":
            return self.query
        here = self.position % self.batches.inputs.shape[1]
        self.position += 1
        return Examples(self.batches.inputs[:, here], self.batches.targets[:, here])

    def select(self, tasks: slice) -> Minibatches:
        """Return minibatches of these tasks alone, from the first batch on."""
        return Minibatches(self.batches.select(tasks), self.query.select(tasks))


def in_minibatches(
    tasks: FewShotBatch, batch_size: int, num_batches: int, generator: torch.Generator
) -> Minibatches:
    """Shuffle the support examples once for every pass over them, and cut them into batches.

    Args:
        tasks: N tasks of S support examples.
        batch_size: B, at most S; a rest smaller than B is left out of its pass.
        num_batches: Batches that are needed.
        generator: Draws the orders.

    Raises:
        ValueError: A task has fewer than B support examples.
    """
    inputs, targets = tasks.support
    num_tasks, size = targets.shape[:2]
    if not 1 <= batch_size <= size:
        raise ValueError(f"batch_size must lie between 1 and {size} examples, got {batch_size}")
    a_pass = size // batch_size
    passes = -(-num_batches // a_pass)
    shape = (num_tasks, passes, size)
    noise = torch.rand(shape, generator=generator, device=generator.device)
    order = noise.argsort(-1)[..., : a_pass * batch_size].to(targets.device)
    order = order.reshape(num_tasks, passes * a_pass, batch_size)
    rows = torch.arange(num_tasks, device=targets.device).view(-1, 1, 1)
    return Minibatches(Examples(inputs[rows, order], targets[rows, order]), tasks.query)
