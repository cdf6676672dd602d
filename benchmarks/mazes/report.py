"""Tables and pictures from evaluated runs in random mazes.

    python -m benchmarks.mazes.report [RUN ...]

Each RUN is a folder of seed-N runs (or one run) that `experiments.maze evaluate` has been over, on
its own mazes and perhaps on others (``--mazes``, ``--size``). With runs, lines are written beside
this file (those of a run that is there already are replaced, so that runs can come one by one):

    results.csv   one line per seed and kind of mazes: the evaluation on unseen layouts
    finds.csv     one line per seed and find: steps to it over the steps of the shortest path
    curves.csv    one line per seed and mark: mean training return of the steps before it

Then, with or without runs, from these files alone, the tables, and the pictures curves.png,
finds.png and layouts.png.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.csv_file import groups_of, read_csv, replace_rows
from benchmarks.marks import marks_of
from metarl.plots.lines import COLOURS, Curves, canvas, learning_curves, legend, save_figure
from metarl.runs.directory import RunDirectory
from metarl.runs.files import read_json
from metarl.runs.seeds import find_runs
from metarl.stats import mean_and_interval

HERE = Path(__file__).parent
DRAWN = (("mst9", "mst 9"), ("dfs9", "dfs 9"), ("mst13", "mst 13"))
"""Runs and mazes whose finds are drawn."""

LIMITED = "layouts-"
"""Runs on so many layouts alone are called so."""

FIGURES = (
    *("mean_return", "random_return", "explorer_return", "ceiling_return", "oracle_return"),
    *("normalised_score", "success", "first_find_censored_mean", "explorer_first_find"),
    *("steps_per_find", "shortest", "second_over_first", "cvar_success_10"),
    *("num_tasks", "num_layouts", "layouts_trained_on"),
)

Row = Mapping[str, Any]


def main() -> None:
    """Read the runs, write the files, print the tables, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path)
    folders: list[Path] = parser.parse_args().runs
    for name, rows in (("results", results), ("finds", finds), ("curves", curves)):
        fresh = [row for folder in folders for run in find_runs(folder) for row in rows(run)]
        if fresh:
            replace_rows(HERE / f"{name}.csv", fresh, ["run"])
    found = read_csv(HERE / "results.csv")
    print(table(found))
    save_figure(learning(read_csv(HERE / "curves.csv")), HERE / "curves.png")
    save_figure(find_by_find(read_csv(HERE / "finds.csv")), HERE / "finds.png")
    save_figure(layouts(found), HERE / "layouts.png")


def group_of(run: RunDirectory) -> str:
    """The name of a run: of its folder, or of the folder of its seeds."""
    path = run.path.resolve()
    return path.parent.name if path.name.startswith("seed-") else path.name


def summaries(run: RunDirectory) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a run was tested on, and how that went; not what it was validated on."""
    for path in sorted(run.path.glob("**/summary.json")):
        summary = read_json(path)
        if summary.get("split", "test") != "test":
            continue
        size = "" if summary["mazes"] == "named" else f" {summary['size']}"
        yield f"{summary['mazes']}{size}", summary


def results(run: RunDirectory) -> Iterable[dict[str, Any]]:
    """The evaluations of one run."""
    for tested, summary in summaries(run):
        low, high = summary["ci95"]
        yield {
            "run": group_of(run),
            "seed": run.seed,
            "tested_on": tested,
            "horizon": summary["horizon"],
            "iterations": summary["iteration"],
            "env_steps": summary["env_steps"],
            "ci95_low": _rounded(low),
            "ci95_high": _rounded(high),
            **{name: _rounded(summary.get(name)) for name in FIGURES},
        }


def finds(run: RunDirectory) -> Iterable[dict[str, Any]]:
    """Steps to each find over the shortest, of the evaluations of one run."""
    for tested, summary in summaries(run):
        explorer = summary["explorer_gap_over_shortest"]
        for number, gap in enumerate(summary["gap_over_shortest"], 1):
            yield {
                "run": group_of(run),
                "seed": run.seed,
                "tested_on": tested,
                "find": number,
                "over_shortest": _rounded(gap),
                "num_trials": summary["gap_num_trials"][number - 1],
                "explorer": _rounded(explorer[min(number, len(explorer)) - 1]),
            }


def curves(run: RunDirectory) -> Iterable[dict[str, Any]]:
    """Training return in a few marks."""
    metrics = run.read_metrics()
    for mark in marks_of(metrics["env_steps"], metrics["return"]):
        yield {"run": group_of(run), "seed": run.seed, **mark}


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def learning(rows: Sequence[Row]) -> Any:
    """Training return, one line per run; it jumps where a schedule of sizes does.

    Runs on few layouts have a picture of their own.
    """
    lines = []
    for (name,), group in groups_of(rows, "run").items():
        if name.startswith(LIMITED):
            continue
        seeds = groups_of(group, "seed").values()
        values = np.array([[float(row["return"]) for row in seed] for seed in seeds])
        steps = np.array([int(row["env_steps"]) for row in next(iter(seeds))])
        lines.append(Curves(name, steps, values))
    return learning_curves(lines, title="training in random mazes", ylabel="finds per trial")


def find_by_find(rows: Sequence[Row]) -> Any:
    """Steps to each find over the shortest path: learning within the trial."""
    figure, axes = canvas("within one trial, unseen mazes", "find", "steps / shortest path")
    groups = groups_of(rows, "run", "tested_on")
    for colour, (name, tested) in zip(COLOURS, DRAWN, strict=False):
        seeds = list(groups_of(groups.get((name, tested), []), "seed").values())
        if not seeds:
            continue
        count = min(map(len, seeds))
        values = np.array([[float(r["over_shortest"]) for r in seed[:count]] for seed in seeds])
        numbers = range(1, count + 1)
        axes.plot(numbers, values.mean(0), marker="o", color=colour, label=tested)
        explorer = [float(row["explorer"]) for row in seeds[0][:count]]
        axes.plot(numbers, explorer, linestyle=":", color=colour)
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set_ylim(bottom=0.0)
    legend(axes, "mean over seeds", "dotted: the explorer in the same mazes; 1: the shortest path")
    return figure


def layouts(rows: Sequence[Row]) -> Any:
    """Share of the explorer in unseen mazes, by the number of mazes that were trained on."""
    groups = groups_of(
        [r for r in rows if r["run"].startswith(LIMITED) and r["tested_on"] == "mst 9"], "run"
    )
    endless = [r for r in rows if r["run"] == "mst9" and r["tested_on"] == "mst 9"]
    by_number = {int(name.removeprefix(LIMITED)): group for (name,), group in groups.items()}
    ordered = [*sorted(by_number.items()), *([(0, endless)] if endless else [])]
    figure, axes = canvas("unseen 9 x 9 mazes", "mazes to train on", "share (0 random, 1 explorer)")
    for place, (_, group) in enumerate(ordered):
        scores = np.array([float(row["normalised_score"]) for row in group])
        mean, low, high = (float(x) for x in mean_and_interval(scores))
        axes.errorbar(place, mean, [[mean - low], [high - mean]], color=COLOURS[0], marker="o")
        (points,) = axes.plot([place] * len(scores), scores, ".", color=COLOURS[1])
        points.set_label("" if place else "one seed each")
    axes.set_xticks(range(len(ordered)), [f"{n:,}" if n else "endless" for n, _ in ordered])
    axes.axhline(1.0, color="black", linewidth=0.8)
    legend(axes, "blue: mean and 95 % t interval over seeds", "1: the explorer")
    return figure


def table(rows: Sequence[Row]) -> str:
    """Markdown: one line per run and kind of mazes, means over seeds with a 95 % t interval."""
    lines = [
        "| run | tested on | seeds | M steps | return | explorer | share | 95 % interval | found "
        "| first find (explorer) | steps per find / shortest |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for (name, tested), group in groups_of(rows, "run", "tested_on").items():

        def mean(key: str, group: Sequence[Row] = group) -> float:
            return float(np.mean([float(row[key]) for row in group]))

        scores = np.array([float(row["normalised_score"]) for row in group])
        score, low, high = (float(x) for x in mean_and_interval(scores))
        interval = f"{low:.3f} to {high:.3f}" if len(group) > 1 else "one seed"
        lines.append(
            f"| {name} | {tested} | {len(group)} | {mean('env_steps') / 1e6:.1f} "
            f"| {mean('mean_return'):.2f} | {mean('explorer_return'):.2f} | **{score:.3f}** "
            f"| {interval} | {mean('success'):.3f} | {mean('first_find_censored_mean'):.1f} "
            f"({mean('explorer_first_find'):.1f}) "
            f"| {mean('steps_per_find') / mean('shortest'):.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
