"""Multi-shot Omniglot as a problem: learn the 20 characters of an alphabet in 100 steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Self

import torch

from metarl.core import Execution
from metarl.errors import UserError, check_choices, check_counts
from metarl.nn import Network
from metarl.nn.conv_settings import ConvNetSettings, WarpLayers, network_of, stacked
from metarl.supervised.examples import Examples
from metarl.supervised.omniglot.alphabets import (
    AlphabetLessons,
    AlphabetSettings,
    alphabet_tasks,
    reference_images,
)
from metarl.supervised.omniglot.cache import Resize
from metarl.supervised.omniglot.download import default_folder
from metarl.supervised.omniglot.images import Omniglot, load_omniglot
from metarl.supervised.omniglot.splits import AlphabetSplit, split_alphabets
from metarl.supervised.problem import VALIDATION_SEED, ClassificationProblem, Lessons, ValidateBy
from metarl.supervised.tasks import SupervisedTasks


@dataclass(frozen=True)
class MultiShotOmniglot(ClassificationProblem):
    """Alphabets, each a task of as many classes, learned from minibatches.

    Attributes:
        pretrain: Alphabets to meta-train on.
        test_alphabets: Alphabets to be judged by; they do not depend on --pretrain.
        split_seed: Which alphabets are which. Default: the seed of the run.
        classes: Characters of an alphabet; alphabets of fewer are left out.
        held_out: Drawings of a character to be judged by; the others are learned from.
        test_steps: Inner steps in validation and evaluation, the same for every learner.
        network: Pooled convolutions and a linear layer, with warp layers where they are learned.
        images: How images are drawn and distorted.
        resize: lanczos: grey images; nearest: two colours, as the published code has them.
        query: Images of the meta-loss: another minibatch, or (by default where a learner is judged
            on images that it did not adapt to, as maml) what is held out.
        head_reset: Every task begins with a head of its own that is drawn at random.
        validate_every: Iterations between validations; the learner that does best is kept.
        validation_alphabets: Alphabets of a validation, neither trained nor tested on; the same
            every time.
        data: Folder with the images. Default: $METARL_DATA/omniglot, else data/omniglot.
        complete: Refuse data of fewer or more characters than their authors publish.

    Raises:
        ValueError: A count is too small.
    """

    name: ClassVar[str] = "multi-shot-omniglot"

    pretrain: int = 30
    test_alphabets: int = 10
    split_seed: int | None = None
    classes: int = 20
    held_out: int = 5
    test_steps: int = 100
    network: ConvNetSettings = field(default_factory=WarpLayers)
    images: AlphabetSettings = field(default_factory=AlphabetSettings)
    resize: Resize = "lanczos"
    query: Literal["train", "held-out"] = "train"
    head_reset: bool = False
    validate_every: int = 20
    validation_alphabets: int = 5
    data: Path | None = None
    complete: bool = True

    def __post_init__(self) -> None:
        """Check, before any work starts, what can be learned."""
        check_choices(self)
        names = ("pretrain", "test_alphabets", "classes", "held_out", "validation_alphabets")
        check_counts(**{n: getattr(self, n) for n in (*names, "test_steps", "validate_every")})
        if self.split_seed is not None and self.split_seed < 0:
            raise ValueError(f"split_seed must not be negative, got {self.split_seed}")

    @classmethod
    def usual(cls, *, warped: bool) -> Self:
        """Return the usual settings; see `SupervisedProblem.usual`."""
        return cls(network=WarpLayers() if warped else ConvNetSettings())

    @property
    def kinds(self) -> frozenset[str]:
        """Data, of training tasks that are met again."""
        return frozenset({"data", "recurring"})

    @property
    def num_training_tasks(self) -> int:
        """Alphabets to meta-train on."""
        return self.pretrain

    @property
    def validate_by(self) -> ValidateBy:
        """The accuracy that training images of an alphabet normalise."""
        return "non-transductive"

    def network_for(self, *, warped: bool) -> Network:
        """Make the network; see `SupervisedProblem.network_for`."""
        return network_of(self.network, self.classes, warped=warped)

    def load(self) -> Omniglot:
        """Load the images.

        Raises:
            DataError: They are missing or damaged.
        """
        folder = self.data or default_folder()
        return load_omniglot(folder, resize=self.resize, complete=self.complete)

    def check(self, data: Omniglot) -> None:
        """Check that there are alphabets for all sides; whatever the seed, there are as many.

        Raises:
            UserError: There are too few.
        """
        self.split(data, 0)

    def split(self, data: Omniglot, seed: int) -> AlphabetSplit:
        """Return which alphabets a seed trains on, validates and tests.

        Raises:
            UserError: There are not that many.
        """
        chosen = seed if self.split_seed is None else self.split_seed
        counts = self.pretrain, self.test_alphabets, self.classes
        try:
            split = split_alphabets(data, chosen, *counts)
            alphabet_tasks(data, split.test, self.held_out)
        except ValueError as error:
            raise UserError(
                f"{error}; see --pretrain, --test-alphabets, --classes, --held-out"
            ) from error
        if len(split.validation) < self.validation_alphabets:
            raise UserError(
                f"{len(split.validation)} alphabets are left for validation: lower --pretrain, "
                f"--test-alphabets or --validation-alphabets {self.validation_alphabets}"
            )
        return split

    def learned_from(
        self,
        data: Omniglot,
        alphabets: Mapping[str, tuple[str, ...]],
        network: Network,
        device: torch.device,
    ) -> AlphabetLessons:
        """Return some alphabets as they are learned from.

        Args:
            data: The images.
            alphabets: The characters of each.
            network: The network.
            device: Where the images live.
        """
        tasks = alphabet_tasks(data, alphabets, self.held_out, device)
        return AlphabetLessons(network, tasks, self.images, self.query, self.head_reset)

    def lessons(
        self, data: Omniglot, network: Network, seed: int, device: torch.device, inner_steps: int
    ) -> Lessons:
        """Return meta-batches of a seed's alphabets, and other alphabets; see `SupervisedProblem`.

        Those of a validation come once each, with the same images every time.
        """
        split = self.split(data, seed)
        chosen = dict(list(split.validation.items())[: self.validation_alphabets])
        seen, unseen = (
            self.learned_from(data, side, network, device) for side in (split.pretrain, chosen)
        )
        return Lessons(seen.sample, lambda learned: unseen.all(learned, VALIDATION_SEED))

    def beside(self, data: Omniglot, seed: int) -> dict[str, object]:
        """Return which alphabets are which."""
        return {"split.json": self.split(data, seed).manifest()}

    def reference(self, tasks: SupervisedTasks) -> Examples:
        """Draw training images of each alphabet."""
        return reference_images(tasks)

    def execution(
        self,
        asked: Execution,
        device: torch.device,
        meta_batch: int,
        *,
        training: bool,
        shared: bool,
    ) -> Execution:
        """Return how many alphabets are worked on at a time; see `SupervisedProblem.execution`."""
        return stacked(asked, device, self.images.batch_size, self.network)
