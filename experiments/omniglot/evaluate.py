"""`evaluate`: every run by the protocol that it was trained for."""

from __future__ import annotations

import json
from typing import Any

from experiments import stored_settings
from experiments.omniglot import fewshot_evaluate, multishot_evaluate
from experiments.omniglot.evaluate_settings import EvaluateSettings
from metarl.errors import RunDirectoryError, UserError
from metarl.runs.directory import RunDirectory, find_runs
from metarl.runs.json_file import read_json, to_json, write_json

SUMMARY = {"test": "summary.json", "validation": "summary-validation.json"}
"""Where the results on a side of the characters go."""


def evaluate(settings: EvaluateSettings) -> list[dict[str, Any]]:
    """Evaluate every run; write each one's summary and its pictures."""
    summaries = []
    for run in find_runs(settings.run):
        summary, words = evaluate_one(run, settings)
        write_json(run.path / SUMMARY[settings.split], to_json(summary, "summary"))
        print(words)
        summaries.append(summary)
    if settings.json:
        # As in the file, which has no NaN.
        stored = [read_json(run.path / SUMMARY[settings.split]) for run in find_runs(settings.run)]
        print(json.dumps(stored[0] if len(stored) == 1 else stored))
    return summaries


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
