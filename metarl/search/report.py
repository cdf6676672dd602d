"""Report of a search: a table, and the command that trains with its best settings."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarl.compare.tables import csv_of
from metarl.runs.files import held, write_bytes
from metarl.search.settings import Question
from metarl.search.trials import PATIENCE, WHY, WORDS, Searchable

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

STATES = {
    "COMPLETE": "complete",
    "PRUNED": "given up",
    "RUNNING": "running",
    "FAIL": "failed",
    "WAITING": "waiting",
}

SHOWN = 10
"""Rows of the table that is printed; the files have all."""


def write_report(
    study: Study, folder: Path, question: Question, searchable: Searchable, prog: str
) -> None:
    """Write search.csv and search.md, where there is a folder; print the best of them.

    Args:
        study: The trials.
        folder: Of the search.
        question: What was searched for.
        searchable: The recipe.
        prog: What the user has written before the options of `search`.
    """
    trials = ranked(study, searchable)
    if not trials:
        print("no trial has begun yet")
        return
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    text = as_markdown(
        trials, names, question, searchable, train_with(trials[0], question, folder, prog)
    )
    print(text.replace(table(trials, names), table(trials[:SHOWN], names)))
    if folder.exists():
        columns = ["trial", "state", "value", "iterations", *names, "why"]
        with held(folder, patience=PATIENCE):
            write_bytes(folder / "search.csv", csv_of(columns, [row(trial) for trial in trials]))
            write_bytes(folder / "search.md", text.encode() + b"\n")
        print(f"written: {folder / 'search.csv'}, {folder / 'search.md'}")


def ranked(study: Study, searchable: Searchable) -> list[FrozenTrial]:
    """Return the trials, complete ones first, the best of them before the others."""
    sign = -1.0 if searchable.maximise else 1.0

    def rank(trial: FrozenTrial) -> tuple[bool, float, int]:
        whole = trial.state.name == "COMPLETE" and trial.value is not None
        return not whole, sign * trial.value if whole and trial.value else 0.0, trial.number

    return sorted(study.get_trials(deepcopy=False), key=rank)


def train_with(trial: FrozenTrial, question: Question, folder: Path, prog: str) -> str:
    """Return the command that trains with the settings of a trial."""
    seeds = ["--seeds", *map(str, question.seeds)]
    own = trial.user_attrs.get(WORDS, ())
    options = [*question.options, *own, *seeds, "--run-dir", str(folder / "best")]
    return f"{prog.replace(' search', ' train', 1)} {shlex.join(options)}"


def as_markdown(
    trials: list[FrozenTrial],
    names: list[str],
    question: Question,
    searchable: Searchable,
    command: str,
) -> str:
    """Return the report in words."""
    counts = Counter(STATES[trial.state.name] for trial in trials)
    each = ", ".join(f"{number} {state}" for state, number in counts.items())
    lines = [f"# Search of {question.recipe}: {searchable.value}", "", f"Trials: {each}.", ""]
    lines += [table(trials, names), ""]
    best = trials[0]
    if best.state.name == "COMPLETE":
        lines += [f"Best: trial {best.number}, {searchable.value} {best.value:.6g}. Train with it:"]
        lines += ["", "```sh", command, "```"]
    else:
        lines += ["No trial is complete: there is no best one yet."]
    return "\n".join(lines)


def table(trials: list[FrozenTrial], names: list[str]) -> str:
    """Return the trials as a table in Markdown."""
    heads = ["trial", "state", "value", "iterations", *names]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for trial in trials:
        cells = {name: "–" if value is None else value for name, value in row(trial).items()}
        why = f": {cells['why']}" if trial.user_attrs.get(WHY) else ""
        cells["state"] = f"{cells['state']}{why}"
        words = [cells.get(name, "–") for name in heads]
        lines.append(
            f"| {' | '.join(f'{w:.6g}' if isinstance(w, float) else str(w) for w in words)} |"
        )
    return "\n".join(lines)


def row(trial: FrozenTrial) -> dict[str, Any]:
    """Return what is told of a trial."""
    return {
        "trial": trial.number,
        "state": STATES[trial.state.name],
        "value": trial.value,
        "iterations": trial.last_step,
        **trial.params,
        "why": trial.user_attrs.get(WHY),
    }
