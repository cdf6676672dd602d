"""`train`: from settings to run directories with trained learners, for every recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from metarl.core import TaskBatch, check_compiler
from metarl.devices import resolve_device
from metarl.errors import UserError
from metarl.meta import MetaLearner
from metarl.run.recipe import Recipe, RunT, Training, in_turn
from metarl.run.settings import RunSettings
from metarl.runs import resume
from metarl.runs.directory import RunDirectory, create_runs, find_runs
from metarl.runs.loggers import check_loggers
from metarl.seeding import spawn_generators
from metarl.train.beginning import check_weights
from metarl.train.loop import MetaTraining
from metarl.train.selection import VALIDATION, SelectedLearner
from metarl.train.trainer import Trainer


def train(recipe: Recipe[RunT], settings: RunT, given: Sequence[str] = ()) -> list[RunDirectory]:
    """Train one learner per seed.

    Args:
        recipe: Whose settings.
        settings: What to train; with `resume` set, which run to continue.
        given: The options of the command line; of a run that is resumed few may be given.

    Returns:
        The run directories, one per seed.

    Raises:
        UserError: The settings cannot be trained.
        KeyboardInterrupt: Interrupted, after saving.
    """
    runs: list[RunDirectory] = []
    if settings.resume is not None:
        settings, runs = _resumed(recipe, settings, given)
    check_loggers(settings.log)
    if settings.film_every is not None and "render" not in recipe.commands:
        raise UserError(f"--film-every: {recipe.name} has nothing to film; drop it")
    training = recipe.prepare(settings)
    if settings.learner.execution.compile:
        check_compiler()
    if not runs:
        place, device = settings.run_dir or recipe.place(settings), resolve_device(settings.device)
        beside = {"recipe": recipe.name, **recipe.beside(settings)}
        runs = create_runs(place, settings.seeds, settings, device=device, **beside)
    for run in runs:
        run.filmed = partial(_film, recipe, run)
    training(runs, settings.iterations if settings.resume else None)
    return runs


def _film(recipe: Recipe[Any], run: RunDirectory, output: Path) -> None:
    """Film what a run has learned as ``render`` does, without its words."""
    with redirect_stdout(None):
        recipe.commands["render"].run("", [str(run.path), "--output", str(output)])


STREAMS = ("init", "tasks")
"""Random streams of a seed that learns from data; streams of evaluation come after them."""


class Lessons(NamedTuple):
    """What one seed learns from data.

    Attributes:
        sample: Draws a meta-batch, by the stream ``tasks``.
        validate: Judges the learner as it is now: a larger number is better, and the learner that
            does best is kept. It draws nothing from the streams of training. None: no validation.
        every: Iterations between validations.
    """

    sample: Callable[[torch.Generator], TaskBatch[Any]]
    validate: Callable[[], float] | None = None
    every: int = 1


def supervised(
    settings: RunSettings,
    meta_batch: int,
    new_learner: Callable[[torch.Generator, torch.device, int], MetaLearner],
    lessons: Callable[[MetaLearner, RunDirectory, torch.device], Lessons],
    *,
    draw_on_device: bool = False,
) -> Training:
    """Return the training of learners on tasks of data: one learner per seed, one after the other.

    Args:
        settings: Of the run.
        meta_batch: Tasks per iteration.
        new_learner: Makes the learner before its first iteration: given what draws its parameters,
            its device and the seed.
        lessons: Makes what it learns.
        draw_on_device: The stream ``tasks`` is on the learner's device, not on the CPU.
    """
    device = resolve_device(settings.device)
    if settings.resume is None and settings.init_from is not None:
        first = new_learner(torch.Generator(), device, settings.seeds[0])
        check_weights(settings.init_from, first.params)

    def build(run: RunDirectory) -> MetaTraining:
        streams = spawn_generators(run.seed, STREAMS, device if draw_on_device else "cpu")
        learner = new_learner(streams["init"], device, run.seed)
        sample, validate, every = lessons(learner, run, device)
        plain = Trainer(learner, settings.learner.outer)
        chosen = None if validate is None else SelectedLearner(plain, validate, every)
        trainer = chosen or plain
        return MetaTraining(
            trainer,
            lambda: trainer.step(sample(streams["tasks"])),
            [run],
            [streams],
            meta_batch,
            settings.loop,
            headline=("query_loss", "support_loss", "last_support_loss", VALIDATION),
            counter="tasks_seen",
            description=f"training seed {run.seed}",
            at_the_end=chosen.validate_at_the_end if chosen else dict,
        )

    return in_turn(build)


def _resumed(
    recipe: Recipe[RunT], asked: RunT, given: Sequence[str]
) -> tuple[RunT, list[RunDirectory]]:
    """Return the settings of the runs that ``--resume`` goes on with, and the runs.

    Raises:
        UserError: Other settings were given, or a folder of seeds is not complete, or is of
            different numbers of iterations and none was given.
        RunDirectoryError: It is no run, or another recipe's.
    """
    assert asked.resume is not None
    may = ("resume", "iterations", "device", "native", "log", *recipe.may_move)
    options = dict(by_option(given))
    other = [words[0].partition("=")[0] for name, words in by_option(given) if name not in may]
    if other:
        raise UserError(
            "--resume takes its settings from the run, of which --iterations, --native and --log "
            f"alone may be others now; drop {', '.join(dict.fromkeys(other))}"
        )
    runs = find_runs(asked.resume)
    kept = recipe.settings_of(runs[0].config)
    if runs[0].path != asked.resume:
        runs = resume.complete(asked.resume, runs, kept.seeds)
    changes = {n: getattr(asked, n) for n in recipe.may_move if getattr(asked, n) is not None}
    if "iterations" in options:
        changes["iterations"] = asked.iterations
    else:
        _check_same_iterations(runs)
    if "log" in options:
        changes["log"] = asked.log
    if asked.device != "auto":
        changes["device"] = asked.device
    changes["native"] = asked.native if "native" in options else resume.kept_mode(runs)
    for run in runs:  # before anything is locked
        resume.check_total(run, changes.get("iterations", kept.iterations))
        resume.check_kernels(run, changes["native"])
    seeds = tuple(run.seed for run in runs)
    return replace(kept, resume=asked.resume, seeds=seeds, **changes), runs


def _check_same_iterations(runs: Sequence[RunDirectory]) -> None:
    """Check that no seeds were extended alone.

    Raises:
        UserError: Some were; the message says how many iterations each is for.
    """
    planned = {run.path: run.config.get("iterations") for run in runs}
    if len(set(planned.values())) > 1:
        each = ", ".join(f"{path} {number}" for path, number in planned.items())
        raise UserError(
            f"the runs are for different numbers of iterations ({each}); name one for "
            "all of them with --iterations"
        )


def by_option(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the words of a command line option by option, each with the setting that it is of."""
    option: list[str] = []
    for word in (*words, "--"):
        if word.startswith("--") and option:
            name = option[0].lstrip("-").partition("=")[0].partition(".")[0]
            yield name.replace("-", "_").removeprefix("no_"), option
            option = []
        option.append(word)
