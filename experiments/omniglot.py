"""Few-shot Omniglot: a learner that tells a few characters apart from one drawing of each.

    python -m experiments.omniglot download
    python -m experiments.omniglot train --method maml --ways 5 --shots 1 --run-dir runs/maml
    python -m experiments.omniglot evaluate runs/maml

Whole alphabets, learned in a hundred steps: `experiments.alphabets`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from metarl.errors import UserError
from metarl.evaluate.evaluation_result import EvaluationResult
from metarl.evaluate.supervised import CHARACTERS, AdaptationCurve, accuracies, adaptation_curve
from metarl.meta import MetaLearner
from metarl.meta.meta_sgd import MetaSGDSettings
from metarl.meta.method import Untrained
from metarl.nn import Network
from metarl.run import (
    STREAMS,
    EvaluationSettings,
    Lessons,
    Recipe,
    Training,
    at_least,
    command,
    evaluate_runs,
    main,
    supervised,
)
from metarl.run.counts import Held
from metarl.runs.directory import RunDirectory
from metarl.seeding import spawn_generators
from metarl.supervised import (
    FewShotBatch,
    Omniglot,
    TaskDataset,
    load_omniglot,
    omniglot_tasks,
    split_characters,
)
from metarl.supervised.examples import in_minibatches
from metarl.supervised.omniglot.download import default_folder, download
from metarl.supervised.tasks import Source, SupervisedTasks, cross_entropy
from metarl.train.selection import load_selected

from . import alphabets
from .omniglot_settings import METHODS, Side, TrainSettings, defaults

VALIDATION_SEED = 20_000
"""Seed of the numbered tasks of validation."""


# ---------------------------------------------------------------------------------- training


def prepare(settings: TrainSettings) -> Training:
    """Return the training: one learner per seed, one after the other."""
    omniglot = load_images(settings)
    for side in ("train", "validation", "test"):
        make_tasks(settings, omniglot, side)
    learner, lessons_of = partial(new_learner, settings), partial(lessons, settings, omniglot)
    return supervised(settings, settings.meta_batch, learner, lessons_of)


def lessons(
    settings: TrainSettings,
    omniglot: Omniglot,
    learner: MetaLearner,
    run: RunDirectory,
    device: torch.device,
) -> Lessons:
    """Return what one seed learns: meta-batches of characters, and how it is validated."""
    tasks = make_tasks(settings, omniglot, "train", device)
    unseen = validation_tasks(settings, omniglot, device)

    def sample(generator: torch.Generator) -> SupervisedTasks:
        batch = tasks.sample(settings.meta_batch, generator)
        return training_tasks(settings, batch, generator)

    return Lessons(sample, partial(validate, settings, learner, unseen), settings.validate_every)


def load_images(settings: TrainSettings) -> Omniglot:
    """Return the images; `DataError` says what to do where they are missing or damaged."""
    return load_omniglot(settings.data or default_folder(), complete=settings.complete)


def make_network(settings: TrainSettings) -> Network:
    """Make four convolutions and a linear layer, with warp layers where they are learned."""
    return settings.network.build(settings.ways)


def new_learner(
    settings: TrainSettings, generator: torch.Generator, device: torch.device, seed: int
) -> MetaLearner:
    """Make the learner before its first iteration."""
    network = make_network(settings)
    initial = {name: p.to(device) for name, p in network.init(generator).items()}
    chunk = settings.execution(device, training=True).chunk_size
    return settings.learner.having(chunk_size=chunk).build(Untrained(initial, network, seed=seed))


def make_tasks(
    settings: TrainSettings,
    omniglot: Omniglot,
    side: Side,
    device: torch.device | str = "cpu",
    num_tasks: int | None = None,
    seed: int = 0,
) -> TaskDataset:
    """Make the tasks of one side of the characters; endless, or numbered.

    Raises:
        UserError: There are not that many characters, or drawings of one.
    """
    numbers = settings.train_characters, settings.validation_characters
    try:
        split = split_characters(omniglot.characters, "usual", *numbers)
        return omniglot_tasks(
            omniglot.select(getattr(split, side)),
            *settings.counts(side),
            rotations=settings.rotations,
            num_tasks=num_tasks,
            seed=seed,
            device=torch.device(device),
        )
    except ValueError as error:
        raise UserError(f"{side} tasks cannot be made: {error}") from error


def training_tasks(
    settings: TrainSettings, batch: FewShotBatch, generator: torch.Generator
) -> SupervisedTasks:
    """Return a meta-batch as the learner sees it."""
    source: Source = batch
    if settings.inner_batch is not None:
        # One more than the steps: some learners look at where the last one led.
        num_batches = settings.learner.inner_steps + 1
        source = in_minibatches(batch, settings.inner_batch, num_batches, generator)
    return SupervisedTasks(make_network(settings), source, cross_entropy)


def validation_tasks(
    settings: TrainSettings, omniglot: Omniglot, device: torch.device
) -> FewShotBatch:
    """Return the same tasks for every validation, and for every seed."""
    count = settings.validation_tasks
    return make_tasks(settings, omniglot, "validation", device, count, VALIDATION_SEED)[:]


def validate(settings: TrainSettings, learner: MetaLearner, tasks: FewShotBatch) -> float:
    """Return the accuracy on tasks for validation after the last step."""
    curve = measure(settings, learner, tasks, at=(settings.test_steps,))
    together = settings.validate_by == "transductive"
    chosen = curve.transductive if together else curve.non_transductive
    return float(chosen[:, -1].mean())


def measure(
    settings: TrainSettings,
    learner: MetaLearner,
    tasks: FewShotBatch,
    at: tuple[int, ...] | None = None,
) -> AdaptationCurve:
    """Adapt to tasks from their whole support sets, and classify their queries.

    Args:
        settings: Of the run.
        learner: As it was trained, or in training.
        tasks: N tasks.
        at: After which numbers of inner steps. None: all up to ``test_steps``.
    """
    execution = settings.execution(tasks.support.inputs.device, training=False)
    return adaptation_curve(
        learner,
        SupervisedTasks(make_network(settings), tasks, cross_entropy),
        settings.test_steps,
        query=lambda some: some.source.draw("query"),
        reference=lambda some: some.source.draw("support"),
        at=at,
        chunk_size=execution.stacked,
    )


# -------------------------------------------------------------------------------- evaluation

SPLITS = {
    "test": ("unseen characters", "steps.png", "summary.json"),
    "validation": (
        *("characters for validation", "steps-validation.png"),
        "summary-validation.json",
    ),
}
"""Words for a side of the characters, its picture and its summary."""


@dataclass(frozen=True)
class EvaluateSettings(EvaluationSettings):
    """Adapt to unseen characters, and sum the accuracy up in summary.json.

    Inner steps and step size may be chosen with --split validation, before the test is looked at.
    """

    split: Literal["test", "validation"] = "test"
    """The characters of the test, or those that training chose its checkpoint by, which steps and
    step size may be chosen on: these results go to summary-validation.json."""
    tasks: int = 1000
    """Tasks, of classes that were not trained on."""
    steps: int | None = None
    """Inner steps. Default: the run's --test-steps."""
    inner_lr: float | None = None
    """Step size of the inner steps, where it was not learned. Default: the run's."""
    query_shots: int | None = None
    """Drawings of each character to be judged by together. Default: the run's."""
    checkpoint: Literal["best", "last"] = "best"
    """The learner as it did best in validation, or as it was at the end."""
    data: Path | None = None
    """Folder with the images. Default: the run's."""

    HELD: ClassVar[Held] = (
        (784, "tasks", "query_shots"),  # a byte for every pixel of an image
        (16, "tasks", "steps"),
    )

    def __post_init__(self) -> None:
        """Check counts and step size."""
        super().__post_init__()
        at_least(1, self, "tasks", "steps", "query_shots")
        if self.inner_lr is not None and not (math.isfinite(self.inner_lr) and self.inner_lr > 0):
            raise UserError(f"--inner-lr must be finite and above 0, got {self.inner_lr}")

    def applied(self, trained: TrainSettings) -> TrainSettings:
        """Return the run's settings, as far as evaluation was not told otherwise.

        Raises:
            UserError: A step size is asked for where step sizes were learned.
        """
        learner = trained.learner
        if self.inner_lr is not None:
            learned = isinstance(learner, MetaSGDSettings)
            if learned or getattr(learner, "inner_learned", "no") != "no":
                raise UserError(
                    f"--inner-lr {self.inner_lr}: {trained.method} has learned its step sizes, "
                    "and evaluation takes them"
                )
            learner = replace(learner, inner_lr=self.inner_lr)
        return replace(
            trained,
            learner=learner,
            test_steps=self.steps or trained.test_steps,
            query_shots=self.query_shots or trained.query_shots,
            data=self.data or trained.data,
        )


def evaluate(settings: EvaluateSettings) -> EvaluationResult:
    """Evaluate every run, and seeds together; draw pictures of each run."""
    file = SPLITS[settings.split][-1]
    return evaluate_runs(settings, partial(summary_of, settings), CHARACTERS, file)


def summary_of(
    settings: EvaluateSettings, run: RunDirectory, device: torch.device
) -> dict[str, Any]:
    """Return the summary of one run; draws its pictures."""
    # Half a second, of which training has no need.
    from metarl.plots.adaptation import draw_classification

    trained = settings.applied(RECIPE.settings_of(run.config))
    init = spawn_generators(run.seed, STREAMS)["init"]
    learner = new_learner(trained, init, device, run.seed)
    checkpoint = load_selected(run, learner, settings.checkpoint)
    images, split = load_images(trained), settings.split
    tasks = make_tasks(trained, images, split, device, settings.tasks, settings.seed)
    curve = measure(trained, learner, tasks[:])
    name = f"{trained.method}, {trained.ways}-way {trained.shots}-shot"
    draw_classification(run, curve, name, *SPLITS[split][:2])
    return {
        "protocol": "fewshot",
        "split": split,
        "method": trained.method,
        "ways": trained.ways,
        "shots": trained.shots,
        "query_shots": trained.counts("test")[2],
        "inner_lr": trained.learner.inner_lr,
        **accuracies(curve),
        **checkpoint,
        "validate_by": trained.validate_by,
        "num_tasks": settings.tasks,
        "num_classes": len(tasks.classes),
        "tasks_seen": checkpoint["iteration"] * trained.meta_batch,
    }


@dataclass(frozen=True)
class DownloadSettings:
    """Download the archives (about 15 MB) from their authors' repository, and check them."""

    data: Path | None = None
    """Where to put them. Default: $METARL_DATA/omniglot, else data/omniglot."""


def run_download(settings: DownloadSettings) -> None:
    """Download what is not there."""
    folder = settings.data or default_folder()
    download(folder)
    print(f"the images are in {folder}")


RECIPE = Recipe(
    name="experiments.omniglot",
    module=f"{__package__}.omniglot",
    defaults=defaults,
    prepare=prepare,
    place=lambda s: Path("runs") / f"omniglot-{s.ways}way-{s.shots}shot-{s.method}",
    methods=METHODS,
    picks=("method", "ways"),
    commands={
        "download": command("get the images from their authors", DownloadSettings, run_download),
        "evaluate": command(
            "measure accuracy on unseen characters, step by step, and draw it",
            EvaluateSettings,
            evaluate,
        ),
        "sweep": alphabets.SWEEP,
    },
    may_move=("data",),
    elsewhere={"protocol": "characters are learned here, alphabets by experiments.alphabets"},
)

if __name__ == "__main__":
    main(RECIPE)
