"""From a comparison to its runs: every method's settings, refused before any work where wrong."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from experiments.maze_adapt.comparison.options import (
    check_options_are_read,
    check_override_names,
    check_path,
    overrides,
)
from experiments.maze_adapt.comparison.settings import Comparison, EvaluationSettings
from experiments.maze_adapt.dispatch import kind_of
from experiments.maze_adapt.evaluate import EvaluateSettings, check_fits
from experiments.maze_adapt.methods import Method, kind_name
from experiments.maze_adapt.settings import ONLY_FOR, TrainSettings, defaults, from_config
from metarl.errors import UserError
from metarl.run.command_line import parse
from metarl.run.training import by_option
from metarl.runs.directory import RunDirectory
from metarl.runs.resume import check_total

OF_THE_TASKS = ("env", "horizon", "size", "start", "goal", "arms")
"""What must be the same for all methods."""

PLACES = ("run_dir", "resume", "seeds", "device")
"""Settings that may differ between the runs of a method."""


@dataclass(frozen=True)
class Job:
    """One run, to be trained and evaluated.

    Attributes:
        path: Its directory.
        train: Its settings.
        evaluate: How it is evaluated.
    """

    path: Path
    train: TrainSettings
    evaluate: EvaluateSettings


def jobs(comparison: Comparison, folder: Path, device: str) -> list[Job]:
    """All runs, seeds outermost, so that all methods have a first seed soon.

    Raises:
        UserError: An option is unknown, or not the method's; the methods would not have the same
            tasks; a run that is there has other settings.
    """
    check_override_names(comparison)
    settings = {method: train_settings(comparison, method) for method in comparison.methods}
    evaluations = {method: evaluation(comparison, method) for method in comparison.methods}
    check_options_are_read(comparison)
    check_same_tasks(settings)
    found = []
    for seed in comparison.seeds:
        for method in comparison.methods:
            path = folder / method / f"seed-{seed}"
            wanted = replace(settings[method], seeds=(seed,), run_dir=path, device=device)
            found.append(Job(path, wanted, evaluations[method].of_run(path, device)))
    for job in found:
        if (job.path / "config.json").exists():
            check_same(job)
        elif job.train.seeds == comparison.seeds[:1]:
            kind_of(job.train.method).check(job.train)
            check_fits(job.train, job.evaluate)
    return found


def train_settings(comparison: Comparison, method: Method) -> TrainSettings:
    """The method's defaults, with the options for all that it has, and its own on top."""
    kind = kind_name(method)
    common = [
        word
        for name, words in by_option(comparison.options)
        if kind in ONLY_FOR.get(name, (kind,))
        for word in words
    ]
    prog = "compare"
    base = parse(TrainSettings, prog, common, defaults(comparison.env, method))
    own = [
        word
        for path, value in overrides(comparison, method)
        if path[0] != "evaluate"
        for word in (_flag(check_path(TrainSettings, method, path)), *shlex.split(value))
    ]
    if not own:
        return base
    flags = (tyro.conf.FlagConversionOff,)
    return parse(TrainSettings, f"{prog} --override", own, base, config=flags)


def evaluation(comparison: Comparison, method: Method) -> EvaluationSettings:
    """As for all methods, with the method's own options on top."""
    own = [
        word
        for path, value in overrides(comparison, method)
        if path[0] == "evaluate"
        for word in (_flag(check_path(EvaluationSettings, method, path[1:])), *shlex.split(value))
    ]
    if not own:
        return comparison.evaluate
    prog = "compare --override"
    return parse(EvaluationSettings, prog, own, comparison.evaluate)


def check_same_tasks(settings: dict[Method, TrainSettings]) -> None:
    """Refuse methods that would not have the same tasks.

    Raises:
        UserError: Two differ.
    """
    (first, one), *others = settings.items()
    for method, other in others:
        for name in OF_THE_TASKS:
            if getattr(one, name) != getattr(other, name):
                raise UserError(
                    f"{first} has {name} {getattr(one, name)}, {method} {getattr(other, name)}: "
                    f"all are compared on the same tasks; give --{name} for all"
                )


def check_same(job: Job) -> None:
    """Refuse to go on with a run of other settings, or with one that has gone further.

    Raises:
        UserError: It has others; or more iterations.
    """
    run = RunDirectory.open(job.path)
    there = from_config(run.config)
    names = [name for name in vars(job.train) if name not in (*PLACES, "iterations")]
    other = [name for name in names if getattr(there, name) != getattr(job.train, name)]
    if other:
        raise UserError(
            f"{job.path} was trained with another {', '.join(other)}; name another --run-dir"
        )
    if job.train.iterations < there.iterations:
        check_total(run, job.train.iterations)


def _flag(path: Sequence[str]) -> str:
    return "--" + ".".join(path).replace("_", "-")
