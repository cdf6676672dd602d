"""Training on alphabets, and their evaluation: the work of `experiments.alphabets`."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from experiments.alphabets_settings import TrainSettings
from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.evaluate.classification import (
    FIGURES,
    accuracies,
    area_under,
    describe_alphabets,
    describe_seeds,
)
from metarl.evaluate.evaluation_result import EvaluationResult
from metarl.evaluate.supervised import AdaptationCurve, adaptation_curve
from metarl.meta import MetaLearner
from metarl.meta.method import Untrained
from metarl.nn import Network
from metarl.run import (
    EvaluationSettings,
    Training,
    at_least,
    in_turn,
    supervised_training,
    write_summaries,
)
from metarl.runs.directory import RunDirectory
from metarl.runs.files import to_json, write_json
from metarl.seeding import spawn_generators, stream
from metarl.supervised import (
    AlphabetBatches,
    AlphabetSplit,
    AlphabetTasks,
    Examples,
    Omniglot,
    alphabet_tasks,
    choose_alphabets,
    load_omniglot,
    split_alphabets,
)
from metarl.supervised.criteria import cross_entropy
from metarl.supervised.omniglot.alphabet_learning import AlphabetBatch, TrainingImages, fresh_heads
from metarl.supervised.omniglot.download import default_folder
from metarl.supervised.tasks import SupervisedTasks
from metarl.train.loop import MetaTraining
from metarl.train.selection import SelectedLearner, load_selected
from metarl.train.trainer import Trainer

STREAMS = ("init", "tasks")
VALIDATION_SEED = 20_000
"""Seed of the images of validation."""


Read = Callable[[Mapping[str, Any]], TrainSettings]

REFERENCE_IMAGES = 300
"""Training images (at least) whose statistics non-transductive batch norm takes."""


# ---------------------------------------------------------------------------------- training


def prepare(settings: TrainSettings) -> Training:
    """Return the training: one learner per seed, one after the other."""
    omniglot = load_images(settings)
    for seed in settings.seeds:
        sides(settings, omniglot, seed)
    return in_turn(partial(build, settings, omniglot))


def build(settings: TrainSettings, omniglot: Omniglot, run: RunDirectory) -> MetaTraining:
    """Make everything that trains one seed."""
    device, seed = resolve_device(settings.device), run.seed
    streams = spawn_generators(seed, STREAMS)
    split = sides(settings, omniglot, seed)
    write_json(run.path / "split.json", to_json(split.manifest(), "split"))
    seen = alphabet_tasks(omniglot, split.pretrain, settings.held_out, device)
    network, learner = make_network(settings), new_learner(settings, streams["init"], device, seed)
    chosen = dict(list(split.validation.items())[: settings.validation_alphabets])
    unseen = alphabet_tasks(omniglot, chosen, settings.held_out, device)

    def validate() -> float:
        """Return the accuracy on alphabets for validation after the last step."""
        curve = measure(settings, network, learner, unseen, VALIDATION_SEED, (settings.test_steps,))
        return float(curve.non_transductive.mean())

    trainer = SelectedLearner(
        Trainer(learner, settings.learner.outer), validate, settings.validate_every
    )

    def iterate() -> Mapping[str, Tensor]:
        return trainer.step(draw_tasks(settings, network, learner, seen, streams["tasks"]))

    shown = ("query_loss", "last_support_loss", "support_loss", "validation_accuracy")
    return supervised_training(settings, trainer, iterate, run, streams, settings.meta_batch, shown)


def load_images(settings: TrainSettings) -> Omniglot:
    """Return the images; `DataError` says what to do where they are missing or damaged."""
    folder = settings.data or default_folder()
    return load_omniglot(folder, resize=settings.resize, complete=settings.complete)


def sides(settings: TrainSettings, omniglot: Omniglot, seed: int) -> AlphabetSplit:
    """Return which alphabets a seed trains on, validates and tests.

    Raises:
        UserError: There are not that many.
    """
    chosen = seed if settings.split_seed is None else settings.split_seed
    counts = settings.pretrain, settings.test_alphabets, settings.classes
    try:
        split = split_alphabets(omniglot, chosen, *counts)
        alphabet_tasks(omniglot, split.test, settings.held_out)
    except ValueError as error:
        raise UserError(
            f"{error}; see --pretrain, --test-alphabets, --classes, --held-out"
        ) from error
    if len(split.validation) < settings.validation_alphabets:
        raise UserError(
            f"{len(split.validation)} alphabets are left for validation: lower --pretrain, "
            f"--test-alphabets or --validation-alphabets {settings.validation_alphabets}"
        )
    return split


def make_network(settings: TrainSettings) -> Network:
    """Make four pooled convolutions and a linear layer; warp layers where they are learned."""
    return settings.network.build(settings.classes)


def new_learner(
    settings: TrainSettings, generator: torch.Generator, device: torch.device, seed: int
) -> MetaLearner:
    """Make the learner before its first iteration."""
    network = make_network(settings)
    initial = {name: p.to(device) for name, p in network.init(generator).items()}
    learner = settings.learner.having(chunk_size=settings.execution(device).chunk_size)
    return learner.build(Untrained(initial, network, num_tasks=settings.pretrain, seed=seed))


def draw_tasks(
    settings: TrainSettings,
    network: Network,
    learner: MetaLearner,
    alphabets: AlphabetTasks,
    generator: torch.Generator,
) -> AlphabetBatch:
    """Draw a meta-batch to train on."""
    chosen = choose_alphabets(len(alphabets), settings.meta_batch, generator)
    key = int(torch.randint(2**62, (1,), generator=generator))
    batches = AlphabetBatches.start(alphabets, chosen, settings.images, (key,))
    heads = {}
    if settings.head_reset:
        heads = fresh_heads(network, learner.fast, len(chosen), generator)
    source = TrainingImages(batches) if settings.query == "train" else batches
    indices = torch.tensor(chosen, device=alphabets.train.inputs.device)
    return AlphabetBatch(network, source, cross_entropy, indices, heads)


def measure(
    settings: TrainSettings,
    network: Network,
    learner: MetaLearner,
    alphabets: AlphabetTasks,
    seed: int,
    at: Collection[int],
) -> AdaptationCurve:
    """Adapt to alphabets, and classify their held-out drawings on the way.

    Args:
        settings: How images are drawn, and for how many steps.
        network: Of the learner.
        learner: As it was trained, or in training.
        alphabets: To be judged by, each once.
        seed: Of images and distortions.
        at: After which numbers of steps to look.
    """
    count = len(alphabets)
    batches = AlphabetBatches.start(alphabets, range(count), settings.images, (seed,))
    heads = {}
    if settings.head_reset:
        heads = fresh_heads(network, learner.fast, count, stream(seed, 0))
    # Their numbers are not those of training alphabets: nothing may look at them.
    indices = torch.full((count,), -1)
    return adaptation_curve(
        learner,
        AlphabetBatch(network, batches, cross_entropy, indices, heads),
        settings.test_steps,
        query=lambda tasks: tasks.source.draw("query"),
        reference=reference_images,
        at=at,
        chunk_size=settings.execution(alphabets.train.inputs.device).stacked,
    )


def reference_images(tasks: SupervisedTasks) -> Examples:
    """Draw training images, as many as the training set has."""
    found = [tasks.source.draw("support")]
    while sum(one.inputs.shape[1] for one in found) < REFERENCE_IMAGES:
        found.append(tasks.source.draw("support"))
    inputs, targets = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
    return Examples(inputs, targets)


# -------------------------------------------------------------------------------- evaluation


@dataclass(frozen=True)
class EvaluateSettings(EvaluationSettings):
    """Adapt to unseen alphabets, and sum the accuracy up in summary.json."""

    steps: int | None = None
    """Inner steps. Default: the run's --test-steps."""
    every: int = 10
    """Inner steps between the points of a curve."""
    checkpoint: Literal["best", "last"] = "best"
    """The learner as it did best in validation, or as it was at the end."""
    data: Path | None = None
    """Folder with the images. Default: the run's."""

    def __post_init__(self) -> None:
        """Check the counts."""
        super().__post_init__()
        at_least(1, self, "steps", "every")


def evaluate(settings: EvaluateSettings, read: Read) -> EvaluationResult:
    """Evaluate every run, and seeds together; draw pictures of each run.

    Args:
        settings: Which runs, and how.
        read: Reads the settings of a run from its `config.json`.
    """
    return write_summaries(
        settings.run,
        partial(evaluate_run, settings=settings, read=read),
        describe_alphabets,
        FIGURES,
        describe_seeds,
        as_json=settings.json,
    )


def evaluate_run(run: RunDirectory, settings: EvaluateSettings, read: Read) -> dict[str, Any]:
    """Return the summary of one run; draws its pictures."""
    # Half a second, of which training has no need.
    from metarl.plots.classification import draw_classification

    started = time.perf_counter()
    trained = read(run.config)
    steps, data = settings.steps or trained.test_steps, settings.data or trained.data
    trained = replace(trained, test_steps=steps, data=data)
    device, seed = resolve_device(settings.device), run.seed
    learner = new_learner(trained, spawn_generators(seed, STREAMS)["init"], device, seed)
    checkpoint = load_selected(run, learner, settings.checkpoint)
    omniglot = load_images(trained)
    test = alphabet_tasks(omniglot, sides(trained, omniglot, seed).test, trained.held_out, device)
    at = points(steps, settings.every)
    curve = measure(trained, make_network(trained), learner, test, settings.seed, at)
    draw_classification(run, curve, trained.method, "unseen alphabets")
    return {
        "protocol": "multishot",
        "preset": trained.preset,
        "method": trained.method,
        "pretrain": trained.pretrain,
        "classes": trained.classes,
        **accuracies(curve),
        "area_under_training_loss": float(area_under(curve.support_loss).mean()),
        "support_loss_curve": curve.support_loss.mean(0).tolist(),
        "alphabets": dict(zip(test.names, curve.non_transductive[:, -1].tolist(), strict=True)),
        **checkpoint,
        "num_tasks": len(test),
        "run_seed": seed,
        "seed": settings.seed,
        "device": str(device),
        "tasks_seen": checkpoint["iteration"] * trained.meta_batch,
        "wall_seconds": time.perf_counter() - started,
    }


def points(num_steps: int, every: int) -> list[int]:
    """Return the numbers of inner steps after which accuracy is measured, rising."""
    return [*range(0, num_steps, every), num_steps]
