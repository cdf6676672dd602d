"""Multi-shot Omniglot: each alphabet is a task of 20 characters, learned from many minibatches.

Flennerhag et al. (2019, Leap; 2020, WarpGrad, section 5.1): of the 20 drawings of a character 15
are for training and 5 are held out; every image is distorted again whenever it is drawn. The "100
shots" in the papers' tables are 100 steps of adaptation.

`AlphabetTasks` are the images, `AlphabetBatches` draw minibatches of some alphabets, and
`AlphabetLessons` show them to a learner: numbered for life, with heads that may be drawn again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from metarl.core import Params, Split
from metarl.errors import check_choices
from metarl.nn import Network
from metarl.seeding import stream
from metarl.supervised.examples import Examples
from metarl.supervised.omniglot.distortion import Distortion
from metarl.supervised.omniglot.images import Ink, Omniglot, pixels
from metarl.supervised.tasks import SupervisedTasks, cross_entropy


@dataclass(frozen=True, eq=False)
class AlphabetTasks:
    """The images of A alphabets, as bytes: 0 is ink and 255 paper.

    Attributes:
        names: The alphabets.
        train: Inputs uint8 ``[A, 300, 1, S, S]``, targets ``[A, 300]``, 15 of each class.
        held_out: Inputs uint8 ``[A, 100, 1, S, S]``, targets ``[A, 100]``, 5 of each class.
    """

    names: tuple[str, ...]
    train: Examples
    held_out: Examples

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device | str) -> AlphabetTasks:
        """Move the images to a device."""
        return AlphabetTasks(self.names, self.train.to(device), self.held_out.to(device))


def alphabet_tasks(
    omniglot: Omniglot,
    alphabets: Mapping[str, Sequence[str]],
    num_held_out: int = 5,
    device: torch.device | str = "cpu",
) -> AlphabetTasks:
    """Make tasks of one side of an `AlphabetSplit`.

    Args:
        omniglot: All characters.
        alphabets: The characters of each, in the order of the classes.
        num_held_out: Drawings of each character that are held out: those of the first people.
            Which of the 20 people come first is the same for all characters of an alphabet.
        device: Device of the images.

    Raises:
        ValueError: There are no alphabets, they differ in their number of characters, or there is
            no drawing to train on or to hold out.
    """
    num_drawings = omniglot.images.shape[1]
    if not 0 < num_held_out < num_drawings:
        raise ValueError(
            f"{num_held_out} of {num_drawings} drawings held out: at least 1 must be, and at "
            f"least 1 must be left to train on"
        )
    ways = {len(characters) for characters in alphabets.values()}
    if len(ways) != 1:
        raise ValueError(
            f"alphabets of {sorted(ways)} characters: there must be at least one alphabet, and all "
            f"must have the same number"
        )
    stacked = torch.stack([omniglot.select(found).images for found in alphabets.values()])
    sides = stacked[:, :, num_held_out:], stacked[:, :, :num_held_out]  # [A, 20, D, S, S]
    train, held_out = (_side(images).to(device) for images in sides)
    return AlphabetTasks(tuple(alphabets), train, held_out)


def _side(images: Tensor) -> Examples:
    alphabets, ways, drawings = images.shape[:3]
    targets = torch.arange(ways).repeat_interleave(drawings).repeat(alphabets, 1)
    return Examples(images.flatten(1, 2).unsqueeze(2), targets)


def choose_alphabets(available: int, num_tasks: int, generator: torch.Generator) -> list[int]:
    """Choose a meta-batch: all alphabets in a random order, then again if there are too few."""
    if available < 1 or num_tasks < 1:
        raise ValueError(
            f"cannot choose {num_tasks} of {available} alphabets: both must be above 0"
        )
    chosen: list[int] = []
    while len(chosen) < num_tasks:
        chosen += torch.randperm(available, generator=generator).tolist()
    return chosen[:num_tasks]


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
        check_choices(self)
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
    """Lessons from alphabets: meta-batches to train on, and all of them once.

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

    def __post_init__(self) -> None:
        check_choices(self)

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
