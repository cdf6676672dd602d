"""`evaluate`: every run by the protocol that it was trained for."""

from __future__ import annotations

from typing import Any

from experiments import stored_settings
from experiments.omniglot import fewshot_evaluate, multishot_evaluate
from experiments.omniglot.evaluate_settings import EvaluateSettings
from metarl.errors import RunDirectoryError, UserError
from metarl.evaluate.evaluation_result import EvaluationResult, evaluation_result
from metarl.runs.directory import RunDirectory, find_runs
from metarl.runs.files import read_json, to_json, write_json

SUMMARY = {"test": "summary.json", "validation": "summary-validation.json"}
"""Where the results on a side of the characters go."""


ACCURACIES = tuple(
    f"{side}_{what}"
    for side in ("transductive", "non_transductive")
    for what in ("accuracy", "curve")
)
"""What is averaged over several runs."""


def evaluate(settings: EvaluateSettings) -> EvaluationResult:
    """Evaluate every run, and seeds together.

    Each run gets its summary and its pictures; a folder of several a summary.
    """
    summaries = {}
    for run in find_runs(settings.run):
        summary, words = evaluate_one(run, settings)
        place = run.path / SUMMARY[settings.split]
        write_json(place, to_json(summary, "summary"))
        print(words)
        summaries[run.path.name] = read_json(place)  # which has no NaN
    result = evaluation_result(settings.run, summaries, ACCURACIES)
    if result.several:
        result.write(settings.run, SUMMARY[settings.split])
        print(describe_seeds(result.summary))
    if settings.json:
        print(result.as_line())
    return result


def describe_seeds(summary: dict[str, Any]) -> str:
    """The accuracies over several runs, in a line."""
    shown = []
    for side in ("non_transductive", "transductive"):
        low, high = summary[f"{side}_accuracy_over_runs_ci95"]
        mean = summary[f"{side}_accuracy"]
        words = side.replace("_", "-")
        shown.append(f"{words} {100 * mean:.2f} % [{100 * low:.2f}, {100 * high:.2f}]")
    return f"mean of {summary['num_runs']} runs: {', '.join(shown)} (95 % t interval over the runs)"


def evaluate_one(run: RunDirectory, settings: EvaluateSettings) -> tuple[dict[str, Any], str]:
    """The summary of a run, and the same in words.

    Raises:
        UserError: It is not a run of the protocol that was asked for, or of none.
    """
    protocol, owner = run.config.get("protocol"), stored_settings.script_of(run.config)
    if protocol is None and owner is not None:
        raise UserError(
            f"{run.path} is a run of {owner}: `python -m {owner} evaluate {run.path}` evaluates it"
        )
    if settings.protocol not in ("auto", protocol):
        raise UserError(f"{run.path} is a run of --protocol {protocol}, not {settings.protocol}")
    match protocol:
        case "fewshot":
            summary = fewshot_evaluate.evaluate_run(run, settings)
            return summary, fewshot_evaluate.describe(run, summary)
        case "multishot":
            summary = multishot_evaluate.evaluate_run(run, settings)
            return summary, multishot_evaluate.describe(run, summary)
        case _:
            raise RunDirectoryError(f"{run.path} is not an Omniglot run (protocol {protocol})")
