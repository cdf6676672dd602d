"""`train`: from settings to run directories with trained learners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from torch import Tensor

from experiments import stored_settings
from experiments.learners import check_compiler_of
from experiments.regression.settings import TrainSettings, from_config
from experiments.regression.tasks import draw_tasks, make_network, make_untrained
from metarl.devices import resolve_device
from metarl.runs.directory import RunDirectory
from metarl.seeding import spawn_generators
from metarl.train.loop import LoopSettings, MetaTraining
from metarl.train.trainer import Trainer, train_in_turn

STREAMS = ("init", "tasks")
"""Of a seed; tasks to test on have a third one (`evaluate`)."""


def train(settings: TrainSettings, given: Sequence[str] = ()) -> list[RunDirectory]:
    """Train one learner a seed, one after the other.

    Args:
        settings: What to train; with `resume` set, which run to continue.
        given: The options of the command line; of a run that is resumed few may be given.

    Returns:
        The run directories, one a seed.

    Raises:
        UserError: The settings cannot be trained.
        KeyboardInterrupt: Interrupted, after saving.
    """
    settings, runs = stored_settings.resumed(settings, given, from_config)
    check_compiler_of(settings.learner)
    runs = runs or stored_settings.new_runs(settings, default_run_dir(settings))
    train_in_turn(
        runs, partial(build, settings), resume_to=settings.iterations if settings.resume else None
    )
    return runs


def default_run_dir(settings: TrainSettings) -> Path:
    """A name that says what the run is, under ``runs/``."""
    return Path("runs") / f"{settings.family}-{settings.method}"


def build(settings: TrainSettings, run: RunDirectory) -> MetaTraining:
    """Everything that trains one seed."""
    device = resolve_device(settings.device)
    seed = run.seed
    streams = spawn_generators(seed, STREAMS, device)
    network = make_network(settings)
    learner = make_untrained(settings, streams["init"], device)
    trainer = Trainer(learner, settings.learner.outer)
    points = settings.points, settings.query_points
    inner = settings.inner_batch
    batches = None if inner is None else (inner, settings.learner.inner.num_steps)

    def iterate() -> Mapping[str, Tensor]:
        tasks = draw_tasks(
            settings,
            network,
            settings.meta_batch,
            points,
            streams["tasks"],
            device,
            batches=batches,
        )
        return trainer.step(tasks)

    return MetaTraining(
        trainer,
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
        headline=("query_loss", "support_loss", "last_support_loss"),
        counter="tasks_seen",
        description=f"training seed {seed}",
    )
