"""`train --protocol multishot`: from settings to run directories with trained learners."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from experiments import stored_settings
from experiments.learners import make_learner
from experiments.omniglot.data import load_images
from experiments.omniglot.multishot_measure import measure
from experiments.omniglot.multishot_presets import defaults
from experiments.omniglot.multishot_settings import MultiShotSettings, from_config
from experiments.omniglot.multishot_tasks import AlphabetBatch, TrainingImages, fresh_heads
from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.fewshot import (
    AlphabetBatches,
    AlphabetSplit,
    AlphabetTasks,
    Omniglot,
    alphabet_tasks,
    choose_alphabets,
    split_alphabets,
)
from metarl.fewshot.criteria import cross_entropy
from metarl.json_file import to_json, write_json
from metarl.meta import MetaLearner
from metarl.meta_training import OptimisedLearner, train_in_turn
from metarl.model_selection import SelectedLearner
from metarl.nn import ConvNet, Network
from metarl.nn.warp_conv_net import WarpConvNet
from metarl.run_directory import RunDirectory, create_runs, find_runs
from metarl.seeding import spawn_generators
from metarl.training import LoopSettings, MetaTraining

STREAMS = ("init", "tasks")
"""Of a seed."""

VALIDATION_SEED = 20_000
"""Of the images of validation."""


def train(settings: MultiShotSettings) -> list[RunDirectory]:
    """Train one learner a seed, one after the other.

    Args:
        settings: What to train; with `resume` set, which run to continue.

    Returns:
        The run directories, one a seed.

    Raises:
        UserError: The settings cannot be trained, or the images are missing.
        KeyboardInterrupt: Interrupted, after saving.
    """
    resume = settings.resume is not None
    if settings.resume is not None:
        runs = find_runs(settings.resume)
        settings = stored_settings.resumed(
            settings,
            default=defaults(settings.preset, settings.method),
            plain=defaults(),
            stored=from_config(runs[0].config),
            runs=runs,
            anew=("data",),
        )
    omniglot = load_images(settings.data, settings.resize, complete=settings.complete)
    for seed in settings.seeds:
        sides(settings, omniglot, seed)
    make_network(settings)
    if not resume:
        place = settings.run_dir or default_run_dir(settings)
        device = resolve_device(settings.device)
        runs = create_runs(place, settings.seeds, settings, device=device)
    train_in_turn(runs, partial(build, settings, omniglot), resume=resume)
    return runs


def default_run_dir(settings: MultiShotSettings) -> Path:
    """A name that says what the run is, under ``runs/``."""
    name = f"omniglot-alphabets-{settings.pretrain}-{settings.method}"
    return Path("runs") / (name if settings.preset == "default" else f"{name}-{settings.preset}")


def build(settings: MultiShotSettings, omniglot: Omniglot, run: RunDirectory) -> MetaTraining:
    """Everything that trains one seed."""
    device = resolve_device(settings.device)
    seed = run.config["seed"]
    streams = spawn_generators(seed, STREAMS)
    split = sides(settings, omniglot, seed)
    write_json(run.path / "split.json", to_json(split.manifest(), "split"))
    held_out = settings.held_out
    alphabets = alphabet_tasks(omniglot, split.pretrain, held_out, device)
    learner = new_learner(settings, streams["init"], device, seed)
    network = make_network(settings)
    chosen = dict(list(split.validation.items())[: settings.validation_alphabets])
    unseen = alphabet_tasks(omniglot, chosen, held_out, device)

    def validate() -> float:
        curve = measure(settings, network, learner, unseen, VALIDATION_SEED, (settings.test_steps,))
        return float(curve.non_transductive.mean())

    selected = SelectedLearner(
        OptimisedLearner(learner, settings.learner.outer),
        validate,
        settings.validate_every,
        settings.iterations,
    )

    def iterate() -> Mapping[str, Tensor]:
        return selected.update(draw_tasks(settings, network, learner, alphabets, streams["tasks"]))

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
        headline=("query_loss", "last_support_loss", "support_loss", "validation_accuracy"),
        counter="tasks_seen",
        description=f"training seed {seed}",
    )


def sides(settings: MultiShotSettings, omniglot: Omniglot, seed: int) -> AlphabetSplit:
    """Which alphabets a seed trains on, validates and tests.

    Raises:
        UserError: There are not that many.
    """
    chosen = seed if settings.split_seed is None else settings.split_seed
    try:
        split = split_alphabets(
            omniglot, chosen, settings.pretrain, settings.test_alphabets, settings.classes
        )
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


def make_network(settings: MultiShotSettings) -> Network:
    """Four pooled convolutions and a linear layer; warp layers where they are learned.

    Raises:
        UserError: The warp layers cannot be built.
    """
    base = ConvNet(settings.classes, settings.filters, reduction="pool", pool_first=True)
    if not settings.warped:
        return base
    warp = settings.warp
    try:
        return WarpConvNet(
            base,
            kind=warp.kind,
            num_layers=warp.num_layers,
            filters=warp.filters,
            activation=warp.activation,
            residual=warp.residual,
            batch_norm=warp.batch_norm,
            warped_head=warp.head,
            start=warp.start,
        )
    except ValueError as error:
        raise UserError(f"--warp: {error}") from error


def new_learner(
    settings: MultiShotSettings, generator: torch.Generator, device: torch.device, seed: int
) -> MetaLearner:
    """The learner before its first iteration."""
    network = make_network(settings)
    initial = {name: p.to(device) for name, p in network.init(generator).items()}
    return make_learner(
        settings.learner_method,
        network,
        initial,
        settings.learner,
        num_tasks=settings.pretrain,
        seed=seed,
    )


def draw_tasks(
    settings: MultiShotSettings,
    network: Network,
    learner: MetaLearner,
    alphabets: AlphabetTasks,
    generator: torch.Generator,
) -> AlphabetBatch:
    """A meta-batch to train on."""
    chosen = choose_alphabets(len(alphabets), settings.meta_batch, generator)
    key = int(torch.randint(2**62, (1,), generator=generator))
    batches = AlphabetBatches.start(alphabets, chosen, settings.images, (key,))
    heads = {}
    if settings.head_reset:
        heads = fresh_heads(network, learner.fast, len(chosen), generator)
    device = alphabets.train.inputs.device
    source = TrainingImages(batches) if settings.query == "train" else batches
    indices = torch.tensor(chosen, device=device)
    return AlphabetBatch(network, source, cross_entropy, indices, heads)
