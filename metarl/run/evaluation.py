"""`evaluate`: from run directories to summaries, one per run and one of all, for every recipe."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from metarl.devices import resolve_device
from metarl.evaluate.evaluation_result import (
    EvaluationResult,
    Report,
    Summary,
    evaluation_result,
)
from metarl.run.settings import at_least
from metarl.runs.directory import RunDirectory
from metarl.runs.files import read_json, to_json, write_json
from metarl.runs.seeds import find_runs


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of an evaluation: of which run, by which noise, where."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
    """A run directory, or a folder of seed-N runs."""
    seed: int = 10_000
    """Seed of the tasks to be judged by, and of all that is drawn of them."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    json: bool = False
    """Print the summary as one line of JSON, the last of standard output."""

    def __post_init__(self) -> None:
        """Check the seed."""
        at_least(0, self, "seed")


def evaluate_runs(
    settings: EvaluationSettings,
    summary_of: Callable[[RunDirectory, torch.device], Summary],
    report: Report,
    file: str = "summary.json",
) -> EvaluationResult:
    """Evaluate one run or several seeds, one after the other; write and print what was found.

    Args:
        settings: Which runs, where, and by which noise.
        summary_of: Evaluates a run. Seed, device and the time that it took are added to that.
        report: Says what was found.
        file: Where a summary goes in its folder.
    """
    summaries = {}
    for run in find_runs(settings.run):
        started, device = time.perf_counter(), resolve_device(settings.device)
        summary = {
            **summary_of(run, device),
            "seed": settings.seed,
            "device": str(device),
            "wall_seconds": time.perf_counter() - started,
        }
        write_json(run.path / file, to_json(summary, "summary"))
        print(report.describe(run, summary))
        summaries[run.path.name] = read_json(run.path / file)  # which has no NaN
    result = evaluation_result(settings.run, summaries, report.figures)
    if result.several:
        result.write(settings.run, file)
        print(report.describe_seeds(result.summary))
    if settings.json:
        print(result.as_line())
    return result
