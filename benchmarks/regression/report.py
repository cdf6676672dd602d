"""Tables and pictures of evaluated runs: ``python -m benchmarks.regression.report RUN [RUN ...]``.

Each RUN is a folder of seed-N runs (or one run) that `experiments.regression evaluate` has been
over. Writes beside this file:

    results.csv          one line a run: errors on unseen functions after some gradient steps
    FAMILY-steps.png     squared error by gradient step, mean and interval over seeds
    FAMILY-METHOD.png    the fit to six unseen functions, of the first seed, for some of the runs

and prints the tables of the README, which are made from results.csv alone: ``--table`` prints them
without any run.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metarl.plots import Curves, learning_curves, save_figure
from metarl.run_directory import RunDirectory, find_runs
from metarl.statistics import mean_and_interval

HERE = Path(__file__).parent
STEPS = (0, 1, 5, 10, 32)
SHOWN = {("sine", "maml"), ("sine-domain", "daml"), ("sine-phase", "maml"), ("logistic", "reptile")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--table", action="store_true", help="print the tables of results.csv")
    arguments = parser.parse_args()
    if arguments.runs:
        groups = {path.name: find_runs(path) for path in arguments.runs}
        write_csv(HERE / "results.csv", [row(n, run) for n, runs in groups.items() for run in runs])
        draw(groups)
    elif not arguments.table:
        parser.error("name runs, or give --table")
    print(tables(read_csv(HERE / "results.csv")))


def row(group: str, run: RunDirectory) -> dict[str, Any]:
    """The final evaluation of one run."""
    summary = run.read_summary()
    errors = {
        f"{name}_{k}": round(summary[name][k], 5) if k < len(summary["steps"]) else ""
        for name in ("mse", "mse_ci95", "mae", "untrained_mse")
        for k in STEPS
    }
    return {
        "run": group,
        "family": summary["family"],
        "method": summary["method"],
        "seed": run.config["seed"],
        "iterations": summary["iteration"],
        "tasks_seen": summary["tasks_seen"],
        "num_tasks": summary["num_tasks"],
        "num_points": summary["num_points"],
        **errors,
    }


def draw(groups: Mapping[str, Sequence[RunDirectory]]) -> None:
    """One picture of errors a family, and some of the fits."""
    by_family: dict[str, list[Curves]] = {}
    for name, runs in groups.items():
        summaries = [run.read_summary() for run in runs]
        values = np.array([s["mse"] for s in summaries])
        family, method = summaries[0]["family"], summaries[0]["method"]
        steps = np.arange(values.shape[1])
        by_family.setdefault(family, []).append(Curves(name, steps, values))
        if (family, method) in SHOWN:
            shutil.copyfile(runs[0].path / "fit.png", HERE / f"{family}-{method}.png")
    for family, curves in by_family.items():
        figure = learning_curves(
            curves,
            xlabel="gradient steps",
            ylabel="mean squared error",
            title=f"{family}: unseen functions",
            log=True,
        )
        save_figure(figure, HERE / f"{family}-steps.png")


def tables(rows: Sequence[Mapping[str, str]]) -> str:
    """Markdown: a table a family, a line a run, mean over seeds and its 95 % t interval."""
    parts = []
    for family in dict.fromkeys(r["family"] for r in rows):
        own = [r for r in rows if r["family"] == family]
        steps = [k for k in STEPS if own[0][f"mse_{k}"]]
        parts += [
            f"### {family}: squared error on {own[0]['num_tasks']} unseen functions from "
            f"{own[0]['num_points']} points",
            "| run | seeds | iterations | " + " | ".join(map(counted, steps)) + " |",
            "|---|---:|---:|" + "---:|" * len(steps),
            *(line(name, own, steps) for name in dict.fromkeys(r["run"] for r in own)),
            "",
        ]
    return "\n".join(parts)


def counted(steps: int) -> str:
    return "1 step" if steps == 1 else f"{steps} steps"


def line(name: str, rows: Sequence[Mapping[str, str]], steps: Sequence[int]) -> str:
    """One run in a table."""
    own = [r for r in rows if r["run"] == name]
    cells = [cell([float(r[f"mse_{k}"]) for r in own]) for k in steps]
    return f"| {name} | {len(own)} | {int(own[0]['iterations']):,} | " + " | ".join(cells) + " |"


def cell(values: Sequence[float]) -> str:
    """Mean and half the width of the interval, where there is one."""
    mean, _, high = (float(x) for x in mean_and_interval(np.array(values)))
    return f"{mean:.3f}" + (f" ± {high - mean:.3f}" if len(values) > 1 else "")


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    rows = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
