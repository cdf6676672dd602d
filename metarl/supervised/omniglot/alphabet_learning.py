"""Alphabets as a learner sees them: minibatches, numbers for life, heads that are drawn again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from metarl.core import Params, Split
from metarl.nn import Network
from metarl.seeding import stream
from metarl.supervised.criteria import cross_entropy
from metarl.supervised.examples import Examples
from metarl.supervised.omniglot.alphabet_batches import AlphabetBatches, AlphabetSettings
from metarl.supervised.omniglot.alphabets import AlphabetTasks, choose_alphabets
from metarl.supervised.tasks import SupervisedTasks

REFERENCE_IMAGES = 300
"""Training images (at least) whose statistics non-transductive batch norm takes."""


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


@dataclass(frozen=True)
class AlphabetLessons:
    """What a learner learns from alphabets: meta-batches to train on, and all of them once.

    Attributes:
        network: Of the learner.
        alphabets: The alphabets.
        images: How images are drawn and distorted.
        query: Images of the meta-loss: another minibatch to train on, or what is held out.
        head_reset: Every task begins with a head of its own that is drawn at random.
    """

    network: Network
    alphabets: AlphabetTasks
    images: AlphabetSettings
    query: Literal["train", "held-out"] = "held-out"
    head_reset: bool = False

    def sample(
        self, num_tasks: int, learned: Mapping[str, Tensor], generator: torch.Generator
    ) -> AlphabetBatch:
        """Draw a meta-batch to train on.

        Args:
            num_tasks: N.
            learned: Parameters where adaptation would begin, unstacked.
            generator: Draws alphabets, images and heads, on the CPU.
        """
        chosen = choose_alphabets(len(self.alphabets), num_tasks, generator)
        key = int(torch.randint(2**62, (1,), generator=generator))
        batches = AlphabetBatches.start(self.alphabets, chosen, self.images, (key,))
        heads = self._heads(learned, num_tasks, generator)
        source = TrainingImages(batches) if self.query == "train" else batches
        indices = torch.tensor(chosen, device=self.alphabets.train.inputs.device)
        return AlphabetBatch(self.network, source, cross_entropy, indices, heads)

    def all(self, learned: Mapping[str, Tensor], seed: int) -> AlphabetBatch:
        """Return every alphabet once, to be judged by.

        Args:
            learned: Parameters where adaptation would begin, unstacked.
            seed: Of images, distortions and heads.
        """
        count = len(self.alphabets)
        batches = AlphabetBatches.start(self.alphabets, range(count), self.images, (seed,))
        heads = self._heads(learned, count, stream(seed, 0))
        # Their numbers are not those of training alphabets: nothing may look at them.
        indices = torch.full((count,), -1)
        return AlphabetBatch(self.network, batches, cross_entropy, indices, heads)

    def _heads(
        self, learned: Mapping[str, Tensor], num_tasks: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        return fresh_heads(self.network, learned, num_tasks, generator) if self.head_reset else {}


def reference_images(tasks: SupervisedTasks) -> Examples:
    """Draw training images whose statistics batch norm may take, ``[N, R, ...]``.

    R is at least `REFERENCE_IMAGES`, about as many as a training set has.
    """
    found = [tasks.source.draw("support")]
    while sum(one.inputs.shape[1] for one in found) < REFERENCE_IMAGES:
        found.append(tasks.source.draw("support"))
    inputs, targets = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
    return Examples(inputs, targets)


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
