"""`train --protocol fewshot`: from settings to run directories with trained learners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from experiments import stored_settings
from experiments.learners import check_compiler_of, make_learner
from experiments.omniglot.data import Side, character_tasks, load_images
from experiments.omniglot.fewshot_settings import FewShotSettings, from_config
from metarl.devices import resolve_device
from metarl.evaluate.adaptation_curve import AdaptationCurve, adaptation_curve
from metarl.meta import MetaLearner
from metarl.nn import ConvNet, Network
from metarl.runs.directory import RunDirectory
from metarl.seeding import spawn_generators
from metarl.supervised import FewShotBatch, Omniglot, TaskDataset
from metarl.supervised.criteria import cross_entropy
from metarl.supervised.minibatches import in_minibatches
from metarl.supervised.tasks import Source, SupervisedTasks
from metarl.train.loop import LoopSettings, MetaTraining
from metarl.train.selection import SelectedLearner
from metarl.train.trainer import Trainer, train_in_turn

STREAMS = ("init", "tasks")
"""Of a seed."""

VALIDATION_SEED = 20_000
"""Of the numbered tasks of validation."""


def train(settings: FewShotSettings, given: Sequence[str] = ()) -> list[RunDirectory]:
    """Train one learner a seed, one after the other.

    Args:
        settings: What to train; with `resume` set, which run to continue.
        given: The options of the command line; of a run that is resumed few may be given.

    Returns:
        The run directories, one a seed.

    Raises:
        UserError: The settings cannot be trained, or the images are missing.
        KeyboardInterrupt: Interrupted, after saving.
    """
    settings, runs = stored_settings.resumed(
        settings, given, from_config, anew=("data", "protocol")
    )
    omniglot = load_images(settings.data, complete=settings.complete)
    for side in ("train", "validation", "test"):
        make_tasks(settings, omniglot, side)
    make_network(settings)
    check_compiler_of(settings.learner)
    runs = runs or stored_settings.new_runs(settings, default_run_dir(settings))
    resume = settings.resume is not None
    train_in_turn(
        runs, partial(build, settings, omniglot), resume_to=settings.iterations if resume else None
    )
    return runs


def default_run_dir(settings: FewShotSettings) -> Path:
    """A name that says what the run is, under ``runs/``."""
    return Path("runs") / f"omniglot-{settings.ways}way-{settings.shots}shot-{settings.method}"


def build(settings: FewShotSettings, omniglot: Omniglot, run: RunDirectory) -> MetaTraining:
    """Everything that trains one seed."""
    device, seed = resolve_device(settings.device), run.seed
    streams = spawn_generators(seed, STREAMS)
    network = make_network(settings)
    learner = new_learner(settings, streams["init"], device, seed)
    tasks = make_tasks(settings, omniglot, "train", device)
    selected = SelectedLearner(
        Trainer(learner, settings.learner.outer),
        partial(validate, settings, learner, validation_tasks(settings, omniglot, device)),
        settings.validate_every,
    )

    def iterate() -> Mapping[str, Tensor]:
        batch = tasks.sample(settings.meta_batch, streams["tasks"])
        return selected.step(training_tasks(settings, network, batch, streams["tasks"]))

    return MetaTraining(
        selected,
        iterate,
        [run],
        [streams],
        settings.meta_batch,
        LoopSettings(
            settings.iterations,
            settings.log_every,
            settings.checkpoint_every,
            settings.learner.schedule,
        ),
        headline=("query_loss", "support_loss", "last_support_loss", "validation_accuracy"),
        counter="tasks_seen",
        description=f"training seed {seed}",
        at_the_end=selected.validate_at_the_end,
    )


def validation_tasks(
    settings: FewShotSettings, omniglot: Omniglot, device: torch.device
) -> FewShotBatch:
    """The same tasks for every validation, and for every seed."""
    count = settings.validation_tasks
    return make_tasks(settings, omniglot, "validation", device, count, VALIDATION_SEED)[:]


def validate(settings: FewShotSettings, learner: MetaLearner, tasks: FewShotBatch) -> float:
    """Accuracy on tasks for validation after the last step."""
    curve = measure(settings, learner, tasks, settings.test_steps, last_only=True)
    together = settings.validate_by == "transductive"
    chosen = curve.transductive if together else curve.non_transductive
    return float(chosen[:, -1].mean())


def make_network(settings: FewShotSettings) -> Network:
    """Four convolutions and a linear layer; warp layers where they are learned.

    Raises:
        UserError: The warp layers cannot be built.
    """
    base = ConvNet(settings.ways, settings.filters, reduction=settings.reduction)
    return settings.warp.build(base) if settings.warped else base


def new_learner(
    settings: FewShotSettings, generator: torch.Generator, device: torch.device, seed: int
) -> MetaLearner:
    """The learner before its first iteration."""
    network = make_network(settings)
    initial = {name: p.to(device) for name, p in network.init(generator).items()}
    how = replace(settings.learner, execution=settings.execution(device, training=True))
    return make_learner(settings.method, network, initial, how, seed=seed)


def make_tasks(
    settings: FewShotSettings,
    omniglot: Omniglot,
    side: Side,
    device: torch.device | str = "cpu",
    num_tasks: int | None = None,
    seed: int = 0,
) -> TaskDataset:
    """Tasks of one side of the characters."""
    counts = settings.train_counts if side == "train" else settings.test_counts
    return character_tasks(
        omniglot,
        side,
        (settings.train_characters, settings.validation_characters),
        counts,
        rotations=settings.rotations,
        device=torch.device(device),
        num_tasks=num_tasks,
        seed=seed,
    )


def training_tasks(
    settings: FewShotSettings, network: Network, batch: FewShotBatch, generator: torch.Generator
) -> SupervisedTasks:
    """A meta-batch as the learner sees it."""
    source: Source = batch
    if settings.inner_batch is not None:
        # One more than the steps: some learners look at where the last one led.
        num_batches = settings.learner.inner.num_steps + 1
        source = in_minibatches(batch, settings.inner_batch, num_batches, generator)
    return SupervisedTasks(network, source, cross_entropy)


def measure(
    settings: FewShotSettings,
    learner: MetaLearner,
    tasks: FewShotBatch,
    num_steps: int,
    *,
    last_only: bool = False,
) -> AdaptationCurve:
    """Adapt to tasks from their whole support sets, and classify their queries."""
    execution = settings.execution(tasks.support.inputs.device, training=False)
    return adaptation_curve(
        learner,
        SupervisedTasks(make_network(settings), tasks, cross_entropy),
        num_steps,
        query=lambda some: some.source.draw("query"),
        reference=lambda some: some.source.draw("support"),
        at=(num_steps,) if last_only else None,
        chunk_size=execution.stacked,
    )
