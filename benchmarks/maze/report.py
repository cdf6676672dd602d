"""Tables and pictures from evaluated runs: ``python -m benchmarks.maze.report [RUN ...]``.

Each RUN is a folder of seed-N runs (or one run) that `experiments.maze evaluate` has been over.
Those after `--beside` are in results.csv and the table, in no picture. With runs, writes beside
this file (lines of a run and seed that are there already are replaced, so that they can come one by
one):

    results.csv      one line a run: the final evaluation on fresh trials
    curves.csv       one line a run and mark: mean training return of the 100 iterations before it
    within_trial.png return per window of the trial, mean over seeds, and the exact policies

Then, with or without runs, from these files alone:

    curves.png       learning curves with 95 % intervals over seeds, and the reference lines
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.csv_file import groups_of, read_csv, replace_rows
from experiments.maze import RECIPE
from experiments.maze_evaluation import measured_on
from metarl.evaluate.references import REFERENCES, explained
from metarl.evaluate.trials import window_returns
from metarl.plots.lines import Curves, learning_curves, save_figure, within_trial_curve
from metarl.plots.runs import common_anchors
from metarl.runs.directory import RunDirectory
from metarl.runs.seeds import find_runs
from metarl.stats import mean_and_interval

HERE = Path(__file__).parent
PRETRAINED = HERE.parents[1] / "experiments" / "pretrained" / "maze13-warp"
MARKS = (
    *(250, 500, 1000, 1500, 2000, 3000, 4000, 6000, 8000, 10000, 12000, 15000),
    *(20000, 30000, 40000, 50000, 60000),
)
SPAN = 100
"""Iterations averaged at each mark."""

SUMMARY = ("mean_return", "iqm", "normalised_score", "first_find_median", "num_tasks", "protocol")
FINDS = ("first_find_rate", "find_interval_mean")

Row = Mapping[str, Any]


def main() -> None:
    """Read the runs, write the files, draw, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path)
    beside = "runs for results.csv and the table alone, not for the pictures"
    parser.add_argument("--beside", nargs="*", type=Path, default=[], help=beside)
    arguments = parser.parse_args()
    groups = {path.name: find_runs(path) for path in arguments.runs}
    tested = {**groups, **{path.name: find_runs(path) for path in arguments.beside}}
    if tested:
        replace_rows(
            HERE / "results.csv",
            [result(n, r) for n, runs in tested.items() for r in runs],
            ["run", "seed"],
        )
    if groups:
        replace_rows(
            HERE / "curves.csv",
            [row for n, runs in groups.items() for row in marks(n, runs)],
            ["run", "seed"],
        )
        save_figure(within_trial(groups), HERE / "within_trial.png")
    save_figure(learning(read_csv(HERE / "curves.csv")), HERE / "curves.png")
    print(table(read_csv(HERE / "results.csv")))


def result(group: str, run: RunDirectory) -> dict[str, Any]:
    """The final evaluation of one run."""
    summary = run.read_summary()
    low, high = summary["ci95"]
    return {
        "run": group,
        "method": RECIPE.settings_of(run.config).core,
        "seed": run.seed,
        "iterations": summary["iteration"],
        "env_steps": summary["env_steps"],
        **{key: _rounded(summary[key]) for key in SUMMARY},
        "ci95_low": _rounded(low),
        "ci95_high": _rounded(high),
        **{key: _rounded(summary[key]) for key in FINDS},
    }


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def marks(group: str, runs: Sequence[RunDirectory]) -> Iterable[dict[str, Any]]:
    """Training return before each mark, run by run."""
    for run in runs:
        metrics = run.read_metrics()
        iteration, value = metrics["iteration"], metrics["return"]
        for mark in (m for m in MARKS if m <= iteration[-1]):
            chosen = (iteration > mark - SPAN) & (iteration <= mark)
            seed = run.seed
            mean = round(float(value[chosen].mean()), 2)
            yield {"run": group, "seed": seed, "iteration": mark, "return": mean}


def learning(rows: Sequence[Row]) -> Any:
    """Training return at the marks, one line a group, beside the references of this maze."""
    curves = []
    for (name,), group in groups_of(rows, "run").items():
        iterations = sorted({int(row["iteration"]) for row in group})
        seeds = sorted({row["seed"] for row in group})
        at = {(row["seed"], int(row["iteration"])): float(row["return"]) for row in group}
        values = np.array([[at[seed, mark] for mark in iterations] for seed in seeds])
        curves.append(Curves(name, np.array(iterations), values))
    anchors = common_anchors([RunDirectory.open(PRETRAINED)]) or {}
    return learning_curves(
        curves,
        anchors=anchors,
        xlabel="iterations",
        title="13 x 13 maze, 200 steps, 30 trials an iteration",
        note=f"points: the {SPAN} iterations before\n"
        + explained(key for key, name in REFERENCES.items() if name in anchors),
    )


def within_trial(groups: Mapping[str, Sequence[RunDirectory]]) -> Any:
    """Return in each window of the trial, one row a seed."""
    curves = []
    for name, runs in groups.items():
        summaries = [run.read_summary() for run in runs]
        values = np.array([s["within_trial"] for s in summaries])
        window = int(summaries[0]["window"])
        curves.append(Curves(name, window * np.arange(1, values.shape[1] + 1), values))
    first = next(iter(groups.values()))[0]
    return within_trial_curve(
        curves,
        window=window,
        references=exact_curves(first, window),
        over="seeds",
        title="within one trial, fresh mazes",
        note=explained(("localising", "ceiling")),
    )


def exact_curves(run: RunDirectory, window: int) -> list[Curves]:
    """What the explorers and random actions earn in each window, in the maze of a run."""
    curves = measured_on(RECIPE.settings_of(run.config)).references(()).curves
    windows = {name: window_returns(curve, window).T for name, curve in curves.items()}
    return [
        Curves(name, window * np.arange(1, values.shape[1] + 1), values)
        for name, values in windows.items()
    ]


def table(rows: Sequence[Row]) -> str:
    """Markdown: one line a group, mean over seeds with 95 % t interval."""
    lines = [
        "| run | seeds | iterations | return | 95 % interval | normalised score | IQM |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for (name,), group in groups_of(rows, "run").items():
        returns = np.array([float(row["mean_return"]) for row in group])
        mean, low, high = (float(x) for x in mean_and_interval(returns))
        interval = f"{low:.1f} to {high:.1f}" if len(group) > 1 else "one seed"
        score, iqm = (
            np.mean([float(row[key]) for row in group]) for key in ("normalised_score", "iqm")
        )
        lines.append(
            f"| {name} | {len(group)} | {int(group[0]['iterations']):,} | {mean:.1f} | {interval} "
            f"| {score:.3f} | {iqm:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
