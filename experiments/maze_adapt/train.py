"""`train`: from settings to run directories with trained learners."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments import stored_settings
from experiments.maze_adapt.dispatch import kind_of
from experiments.maze_adapt.settings import TrainSettings, from_config
from metarl.runs.directory import RunDirectory


def train(settings: TrainSettings, given: Sequence[str] = ()) -> list[RunDirectory]:
    """Train one learner a seed.

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
    if not runs:
        # What cannot be made is refused before there is a run directory.
        kind_of(settings.method).check(settings)
        runs = stored_settings.new_runs(settings, default_run_dir(settings))
    kind_of(settings.method).train(settings, runs, resume=settings.resume is not None)
    return runs


def default_run_dir(settings: TrainSettings) -> Path:
    """A name that says what the run is, under ``runs/``."""
    core = "" if settings.core == "none" else f"-{settings.core}"
    return Path("runs") / f"adapt-{settings.env}-{settings.method}{core}"
