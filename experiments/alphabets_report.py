"""A sweep's runs summed up: a table over seeds, pictures with intervals over seeds."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from metarl.errors import UserError
from metarl.foreign_bytes import understood
from metarl.plots.lines import Curves, learning_curves, save_figure
from metarl.runs import files
from metarl.runs.directory import RunDirectory
from metarl.stats import mean_and_interval

COLUMNS = (
    *("method", "preset", "pretrain", "run_seed", "iteration", "trained_iterations"),
    *("inner_steps", "checkpoint", "seed"),
    *("non_transductive_accuracy", "transductive_accuracy", "area_under_training_loss"),
    *("validation_accuracy", "num_tasks", "train_seconds"),
)

JUDGED = {
    "preset": "preset",
    "inner_steps": "inner steps",
    "checkpoint": "checkpoint",
    "seed": "evaluation seed",
}
"""How runs were judged, in words; what differs in it is not averaged."""

Summary = Mapping[str, Any]


def read_summaries(folder: Path) -> list[Summary]:
    """The summaries of all evaluated multi-shot runs under a folder.

    Raises:
        UserError: There is none.
    """
    paths = sorted(folder.rglob("summary.json"))
    places = [p.parent for p in paths if (p.parent / "config.json").exists()]
    runs = []
    for place in places:
        summary = RunDirectory.open(place).read_summary()
        if summary.get("protocol") == "multishot":
            with understood(place / "summary.json", "is not a summary", "evaluate the run again"):
                numbers = {name: float(summary[name]) for name in ("non_transductive_accuracy",)}
                runs.append({**summary, **numbers, "inner_steps": int(summary["steps"][-1])})
    if not runs:
        raise UserError(f"there is no evaluated multi-shot run in {folder}")
    return sorted(runs, key=lambda s: (s["pretrain"], -s["non_transductive_accuracy"]))


def write_report(folder: Path) -> None:
    """Write results.csv, accuracy.png and steps.png; print the table."""
    summaries = read_summaries(folder)
    lines = [[summary.get(name) for name in COLUMNS] for summary in summaries]
    write_csv(folder / "results.csv", COLUMNS, lines)
    print(table(summaries))
    save_figure(draw_steps(summaries), folder / "steps.png")
    drawn = [folder / "results.csv", folder / "steps.png"]
    if len({s["pretrain"] for s in summaries}) > 1:
        save_figure(draw_pretrain(summaries), folder / "accuracy.png")
        drawn.append(folder / "accuracy.png")
    print(f"written: {', '.join(map(str, drawn))}")


def write_csv(path: Path, names: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    """Write a table atomically."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(lines)
    files.write_bytes(path, text.getvalue().encode())


def table(summaries: Sequence[Summary]) -> str:
    """Markdown: one line a method, number of alphabets and way to judge; mean ± interval."""
    lines = [
        "| alphabets | method | inner steps | checkpoint | evaluation seed | accuracy "
        "| transductive | area under training loss | seeds |",
        "|---" * 9 + "|",
    ]
    for (pretrain, name), runs in _groups(summaries, "pretrain").items():
        cells = (
            *(str(runs[0][key]) for key in ("inner_steps", "checkpoint", "seed")),
            _over_seeds(runs, "non_transductive_accuracy", 100, 1),
            _over_seeds(runs, "transductive_accuracy", 100, 1),
            _over_seeds(runs, "area_under_training_loss", 1, 2),
        )
        lines.append(f"| {pretrain} | {name} | {' | '.join(cells)} | {len(runs)} |")
    return "\n".join(lines)


def draw_steps(summaries: Sequence[Summary]) -> Figure:
    """Accuracy against inner steps, for the largest number of alphabets."""
    largest = max(s["pretrain"] for s in summaries)
    chosen = [s for s in summaries if s["pretrain"] == largest]
    curves = [step_curves(name, runs) for (name,), runs in _groups(chosen).items()]
    return learning_curves(
        curves,
        xlabel="inner steps on an unseen alphabet",
        ylabel="accuracy on held-out drawings",
        title=f"20-way Omniglot, {largest} alphabets to meta-train on",
    )


def step_curves(name: str, runs: Sequence[Summary]) -> Curves:
    """One row a run, after the numbers of steps at which all of them were measured."""
    common = sorted(set.intersection(*(set(run["steps"]) for run in runs)))
    by_step = [dict(zip(run["steps"], run["non_transductive_curve"], strict=True)) for run in runs]
    values = np.array([[found[step] for step in common] for found in by_step])
    return Curves(name, np.asarray(common), values)


def draw_pretrain(summaries: Sequence[Summary]) -> Figure:
    """Accuracy at the end against the number of alphabets."""
    curves = []
    for (name,), runs in _groups(summaries).items():
        seeds = sorted({run["run_seed"] for run in runs})
        counts = sorted({run["pretrain"] for run in runs})
        found = {(r["run_seed"], r["pretrain"]): r["non_transductive_accuracy"] for r in runs}
        whole = [s for s in seeds if all((s, count) in found for count in counts)]
        if whole:
            values = np.array([[found[s, count] for count in counts] for s in whole])
            curves.append(Curves(name, np.asarray(counts), values))
    return learning_curves(
        curves,
        xlabel="alphabets to meta-train on",
        ylabel="accuracy after the last inner step",
        title="20-way Omniglot, unseen alphabets",
    )


def _groups(summaries: Sequence[Summary], *names: str) -> dict[tuple[Any, ...], list[Summary]]:
    """Runs that differ in nothing but their seed, by ``names`` and a name for the legend.

    The name is the method, and what of `JUDGED` differs between the runs of that method.
    """
    groups: dict[tuple[Any, ...], list[Summary]] = {}
    for summary in summaries:
        alike = [s for s in summaries if s["method"] == summary["method"]]
        telling = [k for k in JUDGED if len({s[k] for s in alike}) > 1]
        words = [f"{JUDGED[k]} {summary[k]}" for k in telling]
        label = ", ".join([summary["method"], *words])
        groups.setdefault((*(summary[n] for n in names), label), []).append(summary)
    return groups


def _over_seeds(runs: Sequence[Summary], name: str, scale: float, digits: int) -> str:
    mean, _, high = mean_and_interval([scale * run[name] for run in runs])
    half = f" ± {float(high - mean):.{digits}f}" if len(runs) > 1 else ""
    return f"{float(mean):.{digits}f}{half}"
