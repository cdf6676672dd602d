"""Alphabets as a learner sees them: minibatches, numbers for life, heads drawn again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from metarl.core import Params, Split
from metarl.nn import Network
from metarl.supervised import AlphabetBatches, Examples
from metarl.supervised.tasks import SupervisedTasks


@dataclass(frozen=True)
class TrainingImages:
    """Alphabets whose meta-loss is taken on training images too: another minibatch."""

    batches: AlphabetBatches
    thread_safe: ClassVar[bool] = True

    @property
    def num_tasks(self) -> int:
        """Number of tasks, N."""
        return self.batches.num_tasks

    def draw(self, split: Split) -> Examples:
        """The next minibatch, whatever it is for."""
        return self.batches.minibatch()

    def select(self, tasks: slice) -> TrainingImages:
        """Return images of these tasks alone."""
        return TrainingImages(self.batches.select(tasks))


@dataclass(frozen=True)
class AlphabetBatch(SupervisedTasks):
    """N alphabets.

    Attributes:
        indices: Numbers of the alphabets among the training alphabets, int64 ``[N]``.
        fresh_heads: Numbers added to the parameters of every task's head, ``[N, ...]``: with
            a random head less the learner's, the task begins with the random one, and adapts it by
            the same gradients. Empty: heads begin as they were learned.
    """

    indices: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    fresh_heads: Params = field(default_factory=dict)
    thread_safe: ClassVar[bool] = True

    def outputs(self, fast: Params, slow: Params, inputs: Tensor, num_reference: int = 0) -> Tensor:
        """Logits ``[N, B, C]`` of images ``[N, B, 1, S, S]``."""
        shifted = {name: fast[name] + shift for name, shift in self.fresh_heads.items()}
        return super().outputs({**fast, **shifted}, slow, inputs, num_reference)

    def select(self, tasks: slice) -> AlphabetBatch:
        """Return a batch of these tasks alone."""
        return replace(
            self,
            source=self.source.select(tasks),
            indices=self.indices[tasks],
            fresh_heads={name: shift[tasks] for name, shift in self.fresh_heads.items()},
        )


def fresh_heads(
    network: Network, learned: Mapping[str, Tensor], num_tasks: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Random heads less the learned one, ``[N, ...]``.

    Args:
        network: Draws the random ones.
        learned: Parameters where adaptation would begin, unstacked.
        num_tasks: N.
        generator: Generator on the CPU.
    """
    drawn = [network.init(generator) for _ in range(num_tasks)]
    names = [name for name in learned if name.startswith("head.")]
    return {
        name: torch.stack([d[name] for d in drawn]).to(learned[name].device)
        - learned[name].detach()
        for name in names
    }
