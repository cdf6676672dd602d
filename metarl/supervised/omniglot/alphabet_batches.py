"""Minibatches of alphabets: every image is distorted again whenever it is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from metarl.core import Split
from metarl.seeding import stream
from metarl.supervised.examples import Examples
from metarl.supervised.omniglot.alphabets import AlphabetTasks
from metarl.supervised.omniglot.distortion import Distortion
from metarl.supervised.omniglot.images import Ink, pixels


@dataclass(frozen=True)
class AlphabetSettings:
    """Settings of the draws of images of an alphabet.

    Attributes:
        batch_size: Images in a minibatch.
        distortion: Distortion of every image; not at all if None.
        distort_held_out: Distort the held-out images too, as the published code does.
        ink: Value of ink, paper has the other; the published code has 0.
    """

    batch_size: int = 20
    distortion: Distortion | None = field(default_factory=Distortion)
    distort_held_out: bool = True
    ink: Ink = 0

    def __post_init__(self) -> None:
        """Check that batches are not empty."""
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")


class TaskDraws:
    """The draws of one task, and how far it has got."""

    def __init__(self, num_images: int, settings: AlphabetSettings, key: tuple[int, ...]) -> None:
        self._num_images, self._settings = num_images, settings
        self._train, self._test = stream(*key, 0), stream(*key, 1)
        self._order = torch.empty(0, dtype=torch.int64)  # the rest of a pass

    def minibatch(self) -> tuple[Tensor, Tensor | None]:
        """Image numbers ``[B]`` and distortions ``[B, 4]``."""
        size = self._settings.batch_size
        while len(self._order) < size:
            more = torch.randperm(self._num_images, generator=self._train)
            self._order = torch.cat([self._order, more])
        batch, self._order = self._order[:size], self._order[size:]
        return batch, self._distortions(size, self._train)

    def held_out(self, num_images: int) -> Tensor | None:
        """Distortions ``[100, 4]``."""
        if not self._settings.distort_held_out:
            return None
        return self._distortions(num_images, self._test)

    def _distortions(self, num_images: int, generator: torch.Generator) -> Tensor | None:
        distortion = self._settings.distortion
        return None if distortion is None else distortion.sample(num_images, generator)


@dataclass(frozen=True, eq=False)
class AlphabetBatches:
    """N tasks that draw minibatches: the `Source` of a meta-batch of alphabets.

    Every task has generators of its own, one for training and one for held-out images: what a task
    draws does not depend on the tasks beside it, on chunks, or on when it was evaluated.

    Attributes:
        tasks: All alphabets of a side.
        chosen: The N of this meta-batch; one may be there several times, and draws differently.
        settings: Settings of the draws of images.
        draws: The draws of each task.
    """

    tasks: AlphabetTasks
    chosen: tuple[int, ...]
    settings: AlphabetSettings
    draws: tuple[TaskDraws, ...]

    @classmethod
    def start(
        cls,
        tasks: AlphabetTasks,
        chosen: Sequence[int],
        settings: AlphabetSettings,
        key: tuple[int, ...],
    ) -> AlphabetBatches:
        """Begin; the same key gives the same draws, e.g. ``(seed, iteration)``."""
        size = tasks.train.inputs.shape[1]
        draws = tuple(TaskDraws(size, settings, (*key, n)) for n in range(len(chosen)))
        return cls(tasks, tuple(chosen), settings, draws)

    @property
    def num_tasks(self) -> int:
        """Number of tasks, N."""
        return len(self.chosen)

    def draw(self, split: Split) -> Examples:
        """The next minibatch to train on, or all held-out images."""
        return self.minibatch() if split == "support" else self.held_out()

    def minibatch(self) -> Examples:
        """The next minibatch of every task, ``[N, B, 1, S, S]``.

        Images come in passes: all of a task's once, in a random order, then again.
        """
        orders, distortions = zip(*(task.minibatch() for task in self.draws), strict=True)
        return self._examples(self.tasks.train, torch.stack(orders), distortions)

    def held_out(self) -> Examples:
        """All held-out images of every task, ``[N, 100, 1, S, S]``, in the order of classes."""
        size = self.tasks.held_out.inputs.shape[1]
        distortions = [task.held_out(size) for task in self.draws]
        order = torch.arange(size).expand(self.num_tasks, -1)
        return self._examples(self.tasks.held_out, order, distortions)

    def select(self, tasks: slice) -> AlphabetBatches:
        """Return batches of these tasks alone, which go on from where they are."""
        return replace(self, chosen=self.chosen[tasks], draws=self.draws[tasks])

    def _examples(
        self, side: Examples, order: Tensor, distortions: Sequence[Tensor | None]
    ) -> Examples:
        """Gather images ``[N, B]`` of each task's and distort them, all at once."""
        count, device = side.inputs.shape[1], side.inputs.device
        rows = (torch.tensor(self.chosen).unsqueeze(1) * count + order).to(device)  # [N, B]
        images = side.inputs.flatten(0, 1).index_select(0, rows.flatten())
        drawn = [d for d in distortions if d is not None]
        if drawn and self.settings.distortion is not None:
            images = self.settings.distortion.apply(images, torch.cat(drawn).to(device))
        targets = side.targets.flatten().index_select(0, rows.flatten())
        values = pixels(images, self.settings.ink)
        return Examples(values.view(*rows.shape, *images.shape[1:]), targets.view(rows.shape))
