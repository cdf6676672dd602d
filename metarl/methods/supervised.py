"""Learners of tasks with data: how a method is trained on a `metarl.supervised` problem."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from metarl.core import Execution, check_compiler
from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.evaluate.adaptation import Array
from metarl.evaluate.supervised import AdaptationCurve, adaptation_curve
from metarl.meta import MetaLearner
from metarl.meta.anil import ANILSettings
from metarl.meta.method import GradientMethod, LearnedLoss, Untrained
from metarl.methods import gradient_methods_for, method_named
from metarl.methods.learning import InTurn
from metarl.nn import Network
from metarl.runs.directory import RunDirectory
from metarl.seeding import spawn_generators
from metarl.supervised.problem import ClassificationProblem, SupervisedProblem
from metarl.supervised.tasks import SupervisedTasks
from metarl.train.beginning import check_weights
from metarl.train.loop import LoopSettings, MetaTraining
from metarl.train.selection import VALIDATION, SelectedLearner
from metarl.train.trainer import Trainer, check_shared

STREAMS = ("init", "tasks")
"""Random streams of a seed in training; streams of evaluation come after them."""


@dataclass(frozen=True)
class SupervisedLearning(InTurn):
    """A learner of `metarl.meta` on tasks with data.

    Attributes:
        problem: What is learned.
        method: The learner's settings.

    Raises:
        UserError: The method is not for such tasks, or its network needs warp layers that the
            problem's has not, or has none for them.
    """

    problem: SupervisedProblem
    method: GradientMethod

    def __post_init__(self) -> None:
        """Check that the method suits the tasks and the network."""
        method_named(self.method.name, gradient_methods_for(*self.problem.kinds))
        _ = self.network

    @cached_property
    def data(self) -> Any:
        """Data that all seeds share, loaded once.

        Raises:
            DataError: It is missing or damaged.
        """
        return self.problem.load()

    @cached_property
    def network(self) -> Network:
        """The network, with warp layers where they are learned."""
        try:
            return self.problem.network_for(warped=self.method.warped)
        except ValueError as error:
            raise UserError(f"--method {self.method.name}: {error}") from error

    def check(self, device: str, meta_batch: int, init_from: Path | None = None) -> None:
        """Check that all can be made, before there is a run directory.

        The arguments are those of `Learning.check`.

        Raises:
            UserError: It cannot.
        """
        self.problem.check(self.data)
        if self.method.execution.compile:
            check_compiler()
        place = resolve_device(device)
        learner = self.learner(torch.Generator(), place, meta_batch)
        check_shared(learner, meta_batch)
        check_weights(init_from, learner.params)

    def build(
        self, run: RunDirectory, loop: LoopSettings, meta_batch: int, device: torch.device
    ) -> MetaTraining:
        """Make everything that trains one seed; see `InTurn.train`."""
        problem, seed = self.problem, run.seed
        streams = spawn_generators(seed, STREAMS, device if problem.draws_on_device else "cpu")
        learner = self.learner(streams["init"], device, meta_batch, seed)
        learner.to(loop.dtype)
        lessons = problem.lessons(self.data, self.network, seed, device, self.method.inner_steps)
        for file, value in problem.beside(self.data, seed).items():
            run.write_json(file, value)
        plain, chosen = Trainer(learner, self.method.outer), None
        if isinstance(problem, ClassificationProblem):
            assert lessons.validation is not None
            unseen = lessons.validation
            chosen = SelectedLearner(
                plain,
                lambda: self.score(learner, unseen(learner.fast), meta_batch),
                problem.validate_every,
            )
        trainer = chosen or plain
        return MetaTraining(
            trainer,
            lambda: trainer.step(lessons.sample(meta_batch, learner.fast, streams["tasks"])),
            [run],
            [streams],
            meta_batch,
            loop,
            headline=("query_loss", "support_loss", "last_support_loss", VALIDATION),
            counter="tasks_seen",
            description=f"training seed {seed}",
            at_the_end=chosen.validate_at_the_end if chosen else dict,
        )

    def learner(
        self,
        generator: torch.Generator,
        device: torch.device,
        meta_batch: int,
        seed: int = 0,
    ) -> MetaLearner:
        """Make the learner before its first iteration.

        Args:
            generator: Draws its parameters.
            device: Where they live.
            meta_batch: Tasks per iteration.
            seed: Of the run.
        """
        problem, network, loss = self.problem, self.network, self.problem.learned_loss

        def initial(of: Network) -> Mapping[str, torch.Tensor]:
            return {name: p.to(device) for name, p in of.init(generator).items()}

        model = Untrained(
            initial(network),
            network,
            None if loss is None else LearnedLoss(loss, initial(loss)),
            problem.num_training_tasks,
            seed if problem.seeds_learner else 0,
        )
        chunk = self.execution(device, meta_batch, training=True).chunk_size
        return self.method.having(chunk_size=chunk).build(model)

    def untrained(self, run: RunDirectory, device: torch.device, meta_batch: int) -> MetaLearner:
        """Make the learner of a run as it was before its first iteration."""
        init = spawn_generators(run.seed, STREAMS)["init"]
        return self.learner(init, device, meta_batch, run.seed)

    def curve(
        self,
        learner: MetaLearner,
        tasks: SupervisedTasks,
        meta_batch: int,
        at: Collection[int] | None = None,
    ) -> AdaptationCurve:
        """Adapt to tasks of classes, and classify their queries on the way.

        Args:
            learner: As it was trained, or in training.
            tasks: N tasks.
            meta_batch: Tasks per iteration of training.
            at: After which numbers of inner steps to look. None: after all up to ``test_steps``.
        """
        problem = self.problem
        assert isinstance(problem, ClassificationProblem)
        device = next(iter(learner.params.values())).device
        return adaptation_curve(
            learner,
            tasks,
            problem.test_steps,
            query=lambda some: some.source.draw("query"),
            reference=problem.reference,
            at=at,
            chunk_size=self.execution(device, meta_batch, training=False).stacked,
        )

    def score(self, learner: MetaLearner, tasks: SupervisedTasks, meta_batch: int) -> float:
        """Return the mean accuracy after the last inner step, as validation looks at it."""
        assert isinstance(self.problem, ClassificationProblem)
        curve = self.curve(learner, tasks, meta_batch, at=(self.problem.test_steps,))
        return float(self.chosen(curve)[:, -1].mean())

    def chosen(self, curve: AdaptationCurve) -> Array:
        """Return the accuracy that validation chooses by, ``[N, S]``."""
        assert isinstance(self.problem, ClassificationProblem)
        together = self.problem.validate_by == "transductive"
        return curve.transductive if together else curve.non_transductive

    def execution(self, device: torch.device, meta_batch: int, *, training: bool) -> Execution:
        """Return how many tasks are worked on at a time, in meta-training or when judged."""
        return self.problem.execution(
            self.method.execution,
            device,
            meta_batch,
            training=training,
            shared=isinstance(self.method, ANILSettings),
        )
