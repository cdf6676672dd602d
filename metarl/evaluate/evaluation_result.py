"""Result of an evaluation of one run or of several seeds: a summary each, and one of all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metarl.runs.directory import RunDirectory
from metarl.runs.files import to_json, write_json
from metarl.stats import mean_and_interval

Summary = dict[str, Any]


class Report(NamedTuple):
    """Words and figures of an evaluation's report.

    Attributes:
        describe: Says the summary of a run in a few lines.
        figures: Names of what is averaged over several runs.
        describe_seeds: Says the summary of several runs in a line.
    """

    describe: Callable[[RunDirectory, Summary], str]
    figures: Sequence[str]
    describe_seeds: Callable[[Summary], str]


@dataclass(frozen=True)
class EvaluationResult:
    """The summaries of evaluated runs, as JSON values.

    Attributes:
        place: The run directory, or the folder of several.
        runs: The summary of every run, by the name of its directory.
        summary: The summary of the one run, or one of all, with a list of all summaries under
            ``runs``.
    """

    place: Path
    runs: Mapping[str, Summary]
    summary: Summary

    @property
    def several(self) -> bool:
        """Whether the summary is one of several runs."""
        return len(self.runs) > 1

    def as_line(self) -> str:
        """The summary as one line of JSON."""
        return json.dumps(to_json(self.summary, "summary"))

    def write(self, folder: Path, name: str = "summary.json") -> None:
        """Write the summary of all into a folder."""
        write_json(folder / name, to_json(self.summary, "summary"))


def evaluation_result(
    place: Path, runs: Mapping[str, Summary], figures: Sequence[str]
) -> EvaluationResult:
    """The result of runs that differ in their seed.

    Args:
        place: The run directory, or the folder of several.
        runs: The summary of every run, at least one.
        figures: Names of numbers, or of lists of numbers, to be averaged over several runs. Those
            that a run does not have are left out.

    Returns:
        The result. The summary of several runs holds what all have in common, of each figure the
        mean over the runs and, under ``FIGURE_over_runs_ci95``, the ends of its 95 % interval
        (Student's t), ``num_runs`` and ``runs``.
    """
    summaries = list(runs.values())
    if len(summaries) == 1:
        return EvaluationResult(place, runs, summaries[0])
    first, *others = summaries
    common = {n: v for n, v in first.items() if all(n in s and s[n] == v for s in others)}
    averaged: Summary = {}
    for name in figures:
        values: list[Any] = [summary.get(name) for summary in summaries]
        if any(v is None for v in values) or len({np.shape(v) for v in values}) > 1:
            continue
        mean, low, high = mean_and_interval(values)
        averaged[name] = mean.tolist()
        averaged[f"{name}_over_runs_ci95"] = [low.tolist(), high.tolist()]
    summary = {**common, **averaged, "num_runs": len(summaries), "runs": summaries}
    return EvaluationResult(place, runs, summary)
