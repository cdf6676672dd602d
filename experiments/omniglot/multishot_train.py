"""`train --protocol multishot`: from settings to run directories with trained learners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from torch import Tensor

from experiments import stored_settings
from experiments.learners import check_compiler_of
from experiments.omniglot.data import load_images
from experiments.omniglot.multishot_measure import measure
from experiments.omniglot.multishot_problem import (
    STREAMS,
    draw_tasks,
    make_network,
    new_learner,
    sides,
)
from experiments.omniglot.multishot_settings import MultiShotSettings, from_config
from metarl.devices import resolve_device
from metarl.meta import MetaLearner
from metarl.nn import Network
from metarl.runs.directory import RunDirectory
from metarl.runs.files import to_json, write_json
from metarl.seeding import spawn_generators
from metarl.supervised import AlphabetTasks, Omniglot, alphabet_tasks
from metarl.train.loop import LoopSettings, MetaTraining
from metarl.train.selection import SelectedLearner
from metarl.train.trainer import Trainer, train_in_turn

VALIDATION_SEED = 20_000
"""Of the images of validation."""


def train(settings: MultiShotSettings, given: Sequence[str] = ()) -> list[RunDirectory]:
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
    omniglot = load_images(settings.data, settings.resize, complete=settings.complete)
    for seed in settings.seeds:
        sides(settings, omniglot, seed)
    make_network(settings)
    check_compiler_of(settings.learner)
    runs = runs or stored_settings.new_runs(settings, default_run_dir(settings))
    resume = settings.resume is not None
    train_in_turn(
        runs, partial(build, settings, omniglot), resume_to=settings.iterations if resume else None
    )
    return runs


def default_run_dir(settings: MultiShotSettings) -> Path:
    """A name that says what the run is, under ``runs/``."""
    name = f"omniglot-alphabets-{settings.pretrain}-{settings.method}"
    return Path("runs") / (name if settings.preset == "default" else f"{name}-{settings.preset}")


def build(settings: MultiShotSettings, omniglot: Omniglot, run: RunDirectory) -> MetaTraining:
    """Everything that trains one seed."""
    device, seed = resolve_device(settings.device), run.seed
    streams = spawn_generators(seed, STREAMS)
    split = sides(settings, omniglot, seed)
    if not (run.path / "split.json").exists():
        write_json(run.path / "split.json", to_json(split.manifest(), "split"))
    alphabets = alphabet_tasks(omniglot, split.pretrain, settings.held_out, device)
    network, learner = make_network(settings), new_learner(settings, streams["init"], device, seed)
    chosen = dict(list(split.validation.items())[: settings.validation_alphabets])
    unseen = alphabet_tasks(omniglot, chosen, settings.held_out, device)
    selected = SelectedLearner(
        Trainer(learner, settings.learner.outer),
        partial(validate, settings, network, learner, unseen),
        settings.validate_every,
    )

    def iterate() -> Mapping[str, Tensor]:
        return selected.step(draw_tasks(settings, network, learner, alphabets, streams["tasks"]))

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
        at_the_end=selected.validate_at_the_end,
    )


def validate(
    settings: MultiShotSettings, network: Network, learner: MetaLearner, unseen: AlphabetTasks
) -> float:
    """Accuracy on alphabets for validation after the last step, not transductive."""
    curve = measure(settings, network, learner, unseen, VALIDATION_SEED, (settings.test_steps,))
    return float(curve.non_transductive.mean())
