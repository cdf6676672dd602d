"""Few-shot Omniglot as a problem: tell a few characters apart from few drawings of each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal, Self, TypeAlias

import torch

from metarl.core import Execution, Params
from metarl.errors import UserError, check_counts
from metarl.nn import Network
from metarl.nn.conv_settings import (
    ReducedConvNetSettings,
    WarpReducedSettings,
    network_of,
    stacked,
)
from metarl.supervised.examples import Examples, FewShotBatch, in_minibatches
from metarl.supervised.omniglot.download import default_folder
from metarl.supervised.omniglot.images import Omniglot, load_omniglot, omniglot_tasks
from metarl.supervised.omniglot.splits import split_characters
from metarl.supervised.problem import VALIDATION_SEED, ClassificationProblem, Lessons, ValidateBy
from metarl.supervised.task_dataset import TaskDataset
from metarl.supervised.tasks import Source, SupervisedTasks, cross_entropy

Side: TypeAlias = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class FewShotOmniglot(ClassificationProblem):
    """Characters, a few of them in every task.

    Attributes:
        ways: Characters in a task.
        shots: Drawings of each to learn from.
        train_shots: The same in meta-training. Default: as many; for reptile 10.
        query_shots: Other drawings of each to be judged by. Default: as many as --shots.
        inner_batch: Drawings per inner step in meta-training. None: all of the task. Default for
            reptile: 10.
        test_steps: Inner steps in validation, and in evaluation if it is not told otherwise.
        network: Four convolutions and a linear layer, with warp layers where they are learned.
        rotations: Count a character turned by 90, 180 and 270 degrees as three more.
        train_characters: Characters to meta-train on.
        validation_characters: Characters to choose the best checkpoint by; the rest is for the
            test.
        validate_every: Iterations between validations; the learner that does best is kept.
        validate_by: The accuracy that validation chooses by: queries normalised together, or as the
            support set is.
        validation_tasks: Tasks of a validation, the same every time.
        data: Folder with the images. Default: $METARL_DATA/omniglot, else data/omniglot.
        complete: Refuse data of fewer or more characters than their authors publish.

    Raises:
        ValueError: A count is too small, or a step takes more drawings than a task has.
    """

    name: ClassVar[str] = "few-shot-omniglot"

    ways: int = 5
    shots: int = 1
    train_shots: int | None = None
    query_shots: int | None = None
    inner_batch: int | None = None
    test_steps: int = 3
    network: ReducedConvNetSettings = field(default_factory=ReducedConvNetSettings)
    rotations: bool = True
    train_characters: int = 1100
    validation_characters: int = 100
    validate_every: int = 500
    validate_by: ValidateBy = "transductive"
    validation_tasks: int = 200
    data: Path | None = None
    complete: bool = True

    def __post_init__(self) -> None:
        """Check, before any work starts, what can be learned."""
        names = (
            *("shots", "train_shots", "query_shots", "inner_batch", "test_steps"),
            *("train_characters", "validation_characters", "validate_every", "validation_tasks"),
        )
        check_counts(**{name: getattr(self, name) for name in names})
        check_counts(least=2, ways=self.ways)
        support = self.ways * (self.train_shots or self.shots)
        if self.inner_batch is not None and self.inner_batch > support:
            raise ValueError(
                f"inner_batch {self.inner_batch} exceeds the {support} drawings of a task"
            )

    @classmethod
    def usual(cls, *, warped: bool) -> Self:
        """Return the usual settings; see `SupervisedProblem.usual`."""
        return cls(network=WarpReducedSettings() if warped else ReducedConvNetSettings())

    def network_for(self, *, warped: bool) -> Network:
        """Make the network; see `SupervisedProblem.network_for`."""
        return network_of(self.network, self.ways, warped=warped)

    def load(self) -> Omniglot:
        """Load the images.

        Raises:
            DataError: They are missing or damaged.
        """
        return load_omniglot(self.data or default_folder(), complete=self.complete)

    def check(self, data: Omniglot) -> None:
        """Check that there are characters, and drawings of each, for the tasks of all sides.

        Raises:
            UserError: There are too few.
        """
        sides: tuple[Side, ...] = ("train", "validation", "test")
        for side in sides:
            self.tasks(data, side)

    def counts(self, side: Side) -> tuple[int, int, int]:
        """Return ways, shots and query shots of the tasks of a side."""
        shots = (side == "train" and self.train_shots) or self.shots
        return self.ways, shots, self.query_shots or self.shots

    def tasks(
        self,
        data: Omniglot,
        side: Side,
        device: torch.device | str = "cpu",
        num_tasks: int | None = None,
        seed: int = 0,
    ) -> TaskDataset:
        """Make the tasks of one side of the characters; endless, or numbered.

        Args:
            data: The images.
            side: train, validation or test.
            device: Where the tasks live.
            num_tasks: Number of tasks; endless if None.
            seed: Of numbered tasks.

        Raises:
            UserError: There are not that many characters, or drawings of one.
        """
        numbers = self.train_characters, self.validation_characters
        try:
            split = split_characters(data.characters, "usual", *numbers)
            return omniglot_tasks(
                data.select(getattr(split, side)),
                *self.counts(side),
                rotations=self.rotations,
                num_tasks=num_tasks,
                seed=seed,
                device=torch.device(device),
            )
        except ValueError as error:
            raise UserError(f"{side} tasks cannot be made: {error}") from error

    def lessons(
        self, data: Omniglot, network: Network, seed: int, device: torch.device, inner_steps: int
    ) -> Lessons:
        """Return meta-batches of characters, and other characters; see `SupervisedProblem`."""
        train = self.tasks(data, "train", device)
        unseen = self.tasks(data, "validation", device, self.validation_tasks, VALIDATION_SEED)[:]
        # One more than the steps: some learners look at where the last one led.
        cut = partial(self.training_tasks, network, inner_steps + 1)

        def sample(num_tasks: int, learned: Params, generator: torch.Generator) -> SupervisedTasks:
            return cut(train.sample(num_tasks, generator), generator)

        return Lessons(sample, lambda learned: SupervisedTasks(network, unseen, cross_entropy))

    def training_tasks(
        self,
        network: Network,
        num_batches: int,
        tasks: FewShotBatch,
        generator: torch.Generator,
    ) -> SupervisedTasks:
        """Return a meta-batch as a learner sees it: whole support sets, or minibatches of them.

        Args:
            network: The network.
            num_batches: Minibatches that are needed.
            tasks: N tasks.
            generator: Draws their order.
        """
        source: Source = tasks
        if self.inner_batch is not None:
            source = in_minibatches(tasks, self.inner_batch, num_batches, generator)
        return SupervisedTasks(network, source, cross_entropy)

    def reference(self, tasks: SupervisedTasks) -> Examples:
        """Return the support set."""
        return tasks.source.draw("support")

    def execution(
        self,
        asked: Execution,
        device: torch.device,
        meta_batch: int,
        *,
        training: bool,
        shared: bool,
    ) -> Execution:
        """Return how many tasks are worked on at a time; see `SupervisedProblem.execution`."""
        ways, shots, _ = self.counts("train" if training else "test")
        images = (training and self.inner_batch) or ways * shots
        found = stacked(asked, device, images, self.network, shared=shared)
        if not training and asked.chunk_size == "auto" and found.stacked is None:
            # There are many more of them than in meta-training, whose memory is known to suffice.
            return replace(found, chunk_size=meta_batch)
        return found
