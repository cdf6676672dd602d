"""Problems with data: tasks to learn from, and the network that learns them.

`Curves`, `FewShotOmniglot` and `MultiShotOmniglot` are three; `metarl.experiment.Experiment` trains
any method that adapts by gradient steps on them. The fields of a problem are its settings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypeAlias

import torch

from metarl.core import Execution, Params
from metarl.nn import Network
from metarl.supervised.examples import Examples
from metarl.supervised.tasks import Criterion, SupervisedTasks, cross_entropy

VALIDATION_SEED = 20_000
"""Seed of tasks of validation, which are the same for every run."""


class Lessons(NamedTuple):
    """Tasks that one seed trains on, and tasks that it is validated by.

    Attributes:
        sample: Draws a meta-batch to train on, given N, the parameters where adaptation would begin
            (unstacked), and a generator.
        validation: Returns the tasks that the best checkpoint is chosen by, given these parameters:
            the same every time. None: no checkpoint is chosen.
    """

    sample: Callable[[int, Params, torch.Generator], SupervisedTasks]
    validation: Callable[[Params], SupervisedTasks] | None = None


class SupervisedProblem(ABC):
    """A distribution of tasks with data, and the network that learns them.

    Attributes:
        name: Name of the problem.
        draws_on_device: Tasks are drawn by a generator on the learner's device, not on the CPU.
        seeds_learner: A learner's own draws differ from seed to seed.
        learned_loss: Network of a loss to adapt with where tasks show no labels.
    """

    name: ClassVar[str]
    draws_on_device: ClassVar[bool] = False
    seeds_learner: ClassVar[bool] = True
    learned_loss: ClassVar[Network | None] = None

    @classmethod
    def usual(cls, *, warped: bool) -> Self:
        """Return the usual settings, with a network that has warp layers or none."""
        return cls()

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of its tasks, of `metarl.core.settings.TASKS`; a method suits one of them."""
        return frozenset({"data"})

    @property
    def num_training_tasks(self) -> int | None:
        """Training tasks, where they are met again."""
        return None

    @property
    @abstractmethod
    def criterion(self) -> Criterion:
        """The loss ``[N]`` that is adapted by."""

    @abstractmethod
    def network_for(self, *, warped: bool) -> Network:
        """Make the network, with warp layers or without.

        Raises:
            ValueError: The problem's network is of the other kind.
        """

    @abstractmethod
    def load(self) -> Any:
        """Load what all seeds share.

        Raises:
            DataError: It is missing or damaged.
        """

    @abstractmethod
    def check(self, data: Any) -> None:
        """Check that all tasks can be made of what was loaded.

        Raises:
            UserError: They cannot.
        """

    @abstractmethod
    def lessons(
        self, data: Any, network: Network, seed: int, device: torch.device, inner_steps: int
    ) -> Lessons:
        """Return what one seed learns.

        Args:
            data: What was loaded.
            network: The network.
            seed: Of the run.
            device: Where the tasks live.
            inner_steps: Steps of adaptation in training.
        """

    def beside(self, data: Any, seed: int) -> Mapping[str, object]:
        """Return JSON values that a seed's run directory keeps, by file."""
        return {}

    def execution(
        self,
        asked: Execution,
        device: torch.device,
        meta_batch: int,
        *,
        training: bool,
        shared: bool,
    ) -> Execution:
        """Return how many tasks are worked on at a time.

        Args:
            asked: What the method says; ``auto`` becomes a number where one is known to be fast.
            device: Of the tasks.
            meta_batch: Tasks per iteration.
            training: In meta-training; False: when they are judged.
            shared: Adaptation leaves all but the last layer alone.
        """
        return asked

    @abstractmethod
    def usual_steps(self, inner_steps: int) -> int:
        """Return steps of adaptation when a learner is used, of one that trained with so many."""


ValidateBy: TypeAlias = Literal["transductive", "non-transductive"]
"""Accuracies: of queries that are normalised together, or as reference images are."""


class ClassificationProblem(SupervisedProblem):
    """Tasks of classes, with tasks to choose the best checkpoint by."""

    @property
    def criterion(self) -> Criterion:
        """Cross-entropy."""
        return cross_entropy

    @property
    @abstractmethod
    def validate_by(self) -> ValidateBy:
        """The accuracy that validation chooses by."""

    @property
    @abstractmethod
    def validate_every(self) -> int:
        """Iterations between validations."""

    @property
    @abstractmethod
    def test_steps(self) -> int:
        """Inner steps in validation."""

    @abstractmethod
    def reference(self, tasks: SupervisedTasks) -> Examples:
        """Draw images ``[N, R, ...]`` that non-transductive batch norm looks at."""

    def usual_steps(self, inner_steps: int) -> int:
        """Return the steps of validation."""
        return self.test_steps
