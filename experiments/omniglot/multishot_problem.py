"""What is learned in multi-shot Omniglot: the split, the network, the learner, meta-batches."""

from __future__ import annotations

from dataclasses import replace

import torch

from experiments.learners import make_learner
from experiments.omniglot.multishot_settings import MultiShotSettings
from experiments.omniglot.multishot_tasks import AlphabetBatch, TrainingImages, fresh_heads
from metarl.errors import UserError
from metarl.meta import MetaLearner
from metarl.nn import ConvNet, Network
from metarl.supervised import (
    AlphabetBatches,
    AlphabetSplit,
    AlphabetTasks,
    Omniglot,
    alphabet_tasks,
    choose_alphabets,
    split_alphabets,
)
from metarl.supervised.criteria import cross_entropy

STREAMS = ("init", "tasks")
"""Of a seed."""


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
    return settings.warp.build(base) if settings.warped else base


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
        replace(settings.learner, execution=settings.execution(device)),
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
