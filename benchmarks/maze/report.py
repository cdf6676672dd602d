"""Tables and pictures from evaluated runs: ``python -m benchmarks.maze.report RUN [RUN ...]``.

Each RUN is a folder of seed-N runs (or one run) that `experiments.maze evaluate` has been over.
Those after `--beside` are in results.csv and the table, in no picture.
Writes beside this file:

    results.csv      one line a run: the final evaluation on fresh trials
    curves.csv       one line a run and mark: mean training return of the 100 iterations before it
    curves.png       learning curves with 95 % intervals over seeds, and the reference lines
    within_trial.png return per window of the trial, mean over seeds
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.csv_file import write_csv
from experiments.maze.evaluate import references
from experiments.plot import PlotSettings, plot
from experiments.references import explained
from metarl.evaluate.trials import window_returns
from metarl.plots.lines import Curves, save_figure, within_trial_curve
from metarl.runs.directory import RunDirectory, find_runs
from metarl.stats import mean_and_interval

HERE = Path(__file__).parent
MARKS = (250, 500, 1000, 1500, 2000, 3000, 4000, 6000, 8000, 10000, 12000, 15000, 20000, 30000)
SPAN = 100
"""Iterations averaged at each mark."""

SUMMARY = ("mean_return", "iqm", "normalised_score", "first_find_median", "num_tasks", "protocol")
FINDS = ("first_find_rate", "find_interval_mean")


def main() -> None:
    """Read the runs, write the files, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    beside = "runs for results.csv and the table alone, not for the pictures"
    parser.add_argument("--beside", nargs="*", type=Path, default=[], help=beside)
    arguments = parser.parse_args()
    paths = arguments.runs
    groups = {path.name: find_runs(path) for path in paths}
    tested = {**groups, **{path.name: find_runs(path) for path in arguments.beside}}
    write_csv(HERE / "results.csv", (result(n, run) for n, runs in tested.items() for run in runs))
    write_csv(HERE / "curves.csv", (row for n, runs in groups.items() for row in marks(n, runs)))
    plot(PlotSettings(tuple(paths), HERE / "curves.png", title="13 x 13 maze, 200 steps"))
    save_figure(within_trial(groups), HERE / "within_trial.png")
    print(table(tested))


def result(group: str, run: RunDirectory) -> dict[str, Any]:
    """The final evaluation of one run."""
    summary = run.read_summary()
    low, high = summary["ci95"]
    return {
        "run": group,
        "method": run.config["method"],
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
    windows = {name: window_returns(curve, window).T for name, curve in references(run).items()}
    return [
        Curves(name, window * np.arange(1, values.shape[1] + 1), values)
        for name, values in windows.items()
    ]


def table(groups: Mapping[str, Sequence[RunDirectory]]) -> str:
    """Markdown: one line a group, mean over seeds with 95 % t interval."""
    lines = [
        "| run | seeds | iterations | return | 95 % interval | normalised score | IQM |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, runs in groups.items():
        summaries = [run.read_summary() for run in runs]
        returns = np.array([s["mean_return"] for s in summaries])
        mean, low, high = (float(x) for x in mean_and_interval(returns))
        interval = f"{low:.1f} to {high:.1f}" if len(runs) > 1 else "one seed"
        score, iqm = (np.mean([s[key] for s in summaries]) for key in ("normalised_score", "iqm"))
        lines.append(
            f"| {name} | {len(runs)} | {summaries[0]['iteration']:,} | {mean:.1f} | {interval} "
            f"| {score:.3f} | {iqm:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
