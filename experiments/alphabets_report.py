"""A sweep's runs summed up: a table over seeds, pictures with intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from metarl.compare.summaries import (
    Summary,
    curve_across,
    curve_within,
    over_seeds,
    read_summaries,
    seeds_of_lines,
)
from metarl.compare.tables import csv_of
from metarl.plots.lines import learning_curves, save_figure
from metarl.runs.files import write_bytes

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
"""Ways that runs were judged, in words; what differs in it is not averaged."""


def row(summary: Summary) -> Summary | None:
    """The row of a run; None of one that was not trained on alphabets."""
    if summary.get("protocol") != "multishot":
        return None
    accuracy, steps = float(summary["non_transductive_accuracy"]), int(summary["steps"][-1])
    return {**summary, "non_transductive_accuracy": accuracy, "inner_steps": steps}


def write_report(folder: Path) -> None:
    """Write results.csv, accuracy.png and steps.png; print the table."""
    found = read_summaries(folder, row, "run on alphabets")
    summaries = sorted(found, key=lambda s: (s["pretrain"], -s["non_transductive_accuracy"]))
    write_bytes(folder / "results.csv", csv_of(COLUMNS, summaries))
    print(table(summaries))
    save_figure(draw_steps(summaries), folder / "steps.png")
    drawn = [folder / "results.csv", folder / "steps.png"]
    if len({s["pretrain"] for s in summaries}) > 1:
        save_figure(draw_pretrain(summaries), folder / "accuracy.png")
        drawn.append(folder / "accuracy.png")
    print(f"written: {', '.join(map(str, drawn))}")


def table(summaries: Sequence[Summary]) -> str:
    """Markdown: one line per method, number of alphabets and way to judge; mean ± interval."""
    lines = [
        "| alphabets | method | inner steps | checkpoint | evaluation seed | accuracy "
        "| transductive | area under training loss | seeds |",
        "|---" * 9 + "|",
    ]
    for (pretrain, name), runs in seeds_of_lines(summaries, JUDGED, "pretrain").items():
        cells = (
            *(str(runs[0][key]) for key in ("inner_steps", "checkpoint", "seed")),
            over_seeds(runs, "non_transductive_accuracy", 100, 1),
            over_seeds(runs, "transductive_accuracy", 100, 1),
            over_seeds(runs, "area_under_training_loss", 1, 2),
        )
        lines.append(f"| {pretrain} | {name} | {' | '.join(cells)} | {len(runs)} |")
    return "\n".join(lines)


def draw_steps(summaries: Sequence[Summary]) -> Figure:
    """Accuracy against inner steps, for the largest number of alphabets."""
    largest = max(s["pretrain"] for s in summaries)
    chosen = [s for s in summaries if s["pretrain"] == largest]
    return learning_curves(
        [
            curve_within(name, runs, "steps", "non_transductive_curve")
            for (name,), runs in seeds_of_lines(chosen, JUDGED).items()
        ],
        xlabel="inner steps on an unseen alphabet",
        ylabel="accuracy on held-out drawings",
        title=f"20-way Omniglot, {largest} alphabets to meta-train on",
    )


def draw_pretrain(summaries: Sequence[Summary]) -> Figure:
    """Accuracy at the end against the number of alphabets."""
    curves = [
        curve_across(name, runs, "pretrain", "non_transductive_accuracy")
        for (name,), runs in seeds_of_lines(summaries, JUDGED).items()
    ]
    return learning_curves(
        [curve for curve in curves if curve is not None],
        xlabel="alphabets to meta-train on",
        ylabel="accuracy after the last inner step",
        title="20-way Omniglot, unseen alphabets",
    )
