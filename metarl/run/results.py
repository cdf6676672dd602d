"""Results of evaluations: a summary per run and one of all, on disk and on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from metarl.evaluate.evaluation_result import EvaluationResult, Summary, evaluation_result
from metarl.runs.directory import RunDirectory, find_runs
from metarl.runs.files import read_json, to_json, write_json


def write_summaries(
    place: Path,
    evaluate: Callable[[RunDirectory], Summary],
    describe: Callable[[RunDirectory, Summary], str],
    figures: Sequence[str],
    describe_seeds: Callable[[Summary], str],
    *,
    as_json: bool,
    file: str = "summary.json",
) -> EvaluationResult:
    """Evaluate one run or several seeds, one after the other, and write what was found.

    Args:
        place: The run directory, or the folder of several.
        evaluate: Makes the summary of a run.
        describe: Says it in a few lines, which are printed.
        figures: Names of what is averaged over several runs.
        describe_seeds: Says the summary of several runs in a line, which is printed.
        as_json: Print the summary as one line of JSON too, the last of standard output.
        file: Where a summary goes in its folder.
    """
    summaries = {}
    for run in find_runs(place):
        summary = evaluate(run)
        write_json(run.path / file, to_json(summary, "summary"))
        print(describe(run, summary))
        summaries[run.path.name] = read_json(run.path / file)  # which has no NaN
    result = evaluation_result(place, summaries, figures)
    if result.several:
        result.write(place, file)
        print(describe_seeds(result.summary))
    if as_json:
        print(result.as_line())
    return result
