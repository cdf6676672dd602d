"""Table and picture of what `benchmarks.memory.train` has trained.

    python -m benchmarks.memory.report [RUNS]

With a folder of runs, results.csv beside this file gets one line per agent (those of agents that
are there already are replaced). Then, from this file alone, the table, and results.png.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.csv_file import groups_of, read_csv, replace_rows
from benchmarks.memory.train import ARMS
from metarl.compare.work import cpu_seconds
from metarl.plots.lines import COLOURS, save_figure
from metarl.runs.directory import RunDirectory
from metarl.runs.files import read_json
from metarl.stats import mean_and_interval

HERE = Path(__file__).parent
KEYS = ("arm", "size", "steps", "core", "two_timescales", "hidden_size", "seed")
FIGURES = (
    *("normalised_score", "mean_return", "explorer_return", "random_return", "success"),
    *("first_find_censored_mean", "explorer_first_find"),
)
Row = Mapping[str, Any]


def main() -> None:
    """Read the runs, write the file, print the table, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="?", type=Path)
    folder: Path | None = parser.parse_args().runs
    path = HERE / "results.csv"
    fresh = [] if folder is None else list(results(folder))
    if fresh:
        replace_rows(path, fresh, KEYS)
    rows = read_csv(path)
    print(table(rows))
    save_figure(picture(rows), HERE / "results.png")


def results(folder: Path) -> Iterator[dict[str, Any]]:
    """The evaluated agents of a folder."""
    for arm in ARMS:
        for path in sorted((folder / arm).glob("*/summary.json")):
            run, summary = RunDirectory.open(path.parent), read_json(path)
            config = run.config
            yield {
                "arm": arm,
                "size": config["environment"]["size"],
                "steps": config["environment"]["horizon"],
                "core": config["core"],
                "two_timescales": config["method"] == "warp-rnn",
                "hidden_size": config["hidden_size"],
                "seed": run.seed,
                "env_steps": summary["env_steps"],
                "cpu_seconds": round(cpu_seconds(path.parent / "cost.json") or 0.0, 1),
                "tests": summary["num_tasks"],
                **{n: None if summary[n] is None else round(summary[n], 4) for n in FIGURES},
            }


def named(row: Row) -> str:
    """The name of a memory."""
    slow = row["two_timescales"] == "True"
    return f"{row['core']}, two timescales" if slow else str(row["core"])


def table(rows: Sequence[Row]) -> str:
    """Markdown: one line per memory, size and length of trial, both arms side by side."""
    lines = [
        "| maze | trial | memory | seeds | M steps | CPU s | share | found | first find | M steps "
        "| CPU s | share | found | first find |",
        "|---|---:|---|---:|" + "---:|" * 10,
    ]
    named_rows = [{**row, "name": named(row)} for row in rows]
    groups = groups_of(named_rows, "arm", "size", "steps", "name")
    places = sorted({k[1:] for k in groups}, key=lambda k: (int(k[0]), int(k[1]), k[2]))
    for size, steps, name in places:
        arms = [groups.get((arm, size, steps, name), []) for arm in ARMS]
        seeds = max(map(len, arms))
        cells = [cell for group in arms for cell in figures(group)]
        words = [f"{size} × {size}", steps, name, str(seeds), *cells]
        lines.append("| " + " | ".join(words) + " |")
    return "\n".join(lines)


def figures(group: Sequence[Row]) -> list[str]:
    """Means over seeds as words, with an interval of the share where there are several."""
    if not group:
        return [""] * 5

    def mean(name: str) -> float:
        return float(np.mean([float(row[name]) for row in group]))

    shares = np.array([float(row["normalised_score"]) for row in group])
    share, low, high = (float(x) for x in mean_and_interval(shares))
    interval = f" ({low:.2f} to {high:.2f})" if len(group) > 1 else ""
    return [
        f"{mean('env_steps') / 1e6:.2f}",
        f"{mean('cpu_seconds'):.0f}",
        f"{share:.3f}{interval}",
        f"{100 * mean('success'):.0f} %",
        f"{mean('first_find_censored_mean'):.0f} ({mean('explorer_first_find'):.0f})",
    ]


def picture(rows: Sequence[Row]) -> Figure:
    """Share of the explorer by memory: a panel per size and length of trial, a bar per arm."""
    sizes, steps = (sorted({int(row[name]) for row in rows}) for name in ("size", "steps"))
    names = sorted({named(row) for row in rows}, reverse=True)
    places = np.arange(len(names))
    height = 0.4 * len(names) * len(sizes)
    figure = Figure(figsize=(3.2 * len(steps) + 1.5, height), layout="constrained", dpi=120)
    grid = figure.subplots(len(sizes), len(steps), sharex=True, sharey=True, squeeze=False)
    for (row, size), (column, length) in product(enumerate(sizes), enumerate(steps)):
        axes = grid[row, column]
        for shift, colour, arm in ((0.2, COLOURS[5], "steps"), (-0.2, COLOURS[0], "time")):
            shares = [share(rows, arm, size, length, name) for name in names]
            axes.barh(places + shift, shares, 0.4, color=colour, label=f"equal {SAME[arm]}")
        axes.set_title(f"{size} x {size}, trials of {length} steps", fontsize=9)
        axes.set_yticks(places, names, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("share in unseen mazes: 0 random actions, 1 the explorer", fontsize=9)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


SAME = {"steps": "environment steps", "time": "CPU time"}


def share(rows: Sequence[Row], arm: str, size: int, steps: int, name: str) -> float:
    """Mean share over seeds of a memory; NaN: it was not trained so."""
    wanted = (arm, str(size), str(steps), name)
    shares = [
        float(row["normalised_score"])
        for row in rows
        if (row["arm"], row["size"], row["steps"], named(row)) == wanted
    ]
    return float(np.mean(shares)) if shares else float("nan")


if __name__ == "__main__":
    main()
