"""Tables and pictures of evaluated runs: ``python -m benchmarks.regression.report [RUN ...]``.

Each RUN is a folder of seed-N runs (or one run) that `experiments.regression evaluate` has been
over; its lines replace those of the same name in results.csv, the others stay. Beside this file:

    results.csv          one line a run: errors on unseen functions after some gradient steps
    FAMILY-METHOD.png    the fit to six unseen functions, of the first seed, for some of the RUNs
    FAMILY-steps.png     error after the steps of results.csv (0, 1, 5, 10, ...), over seeds
    sine-steps-2.png     the same, of those learners that follow the path of adaptation

The pictures of steps and the tables of the README, which it prints, are made from results.csv
alone. The error is the family's own: squared, for the two phases absolute. Where no run is without
meta-training, the line is that of the first run's initial parameters.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.csv_file import read_csv, write_csv
from metarl.errors import UserError
from metarl.plots.lines import Curves, learning_curves, save_figure
from metarl.runs.directory import RunDirectory
from metarl.runs.seeds import find_runs
from metarl.stats import mean_and_interval

HERE = Path(__file__).parent
STEPS = (0, 1, 5, 10, 32, 40)
ABSOLUTE = ("sine-phase", "sine-domain")
"""Families that are learned with the absolute error."""

PATH_METHODS = ("reptile", "leap", "imaml", "warp", "warp-leap", "warp-reptile", "warp-maml")
UNTRAINED = "no meta-training"
SHOWN = {("sine", "maml"), ("sine-domain", "daml"), ("sine-phase", "maml"), ("logistic", "reptile")}

Row = Mapping[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path)
    groups = {path.name: find_runs(path) for path in parser.parse_args().runs}
    fresh = [row(name, run) for name, runs in groups.items() for run in runs]
    write_csv(HERE / "results.csv", merged(read_csv(HERE / "results.csv"), fresh))
    for runs in groups.values():
        show_fit(runs[0])
    rows = read_csv(HERE / "results.csv")
    draw(rows)
    print(tables(rows))


def merged(old: Sequence[Row], new: Sequence[Row]) -> list[Row]:
    """The old lines with those of a newly reported run in its old place, or at the end."""
    names = dict.fromkeys(r["run"] for r in [*old, *new])
    reported = {r["run"] for r in new}
    return [r for name in names for r in (new if name in reported else old) if r["run"] == name]


def row(group: str, run: RunDirectory) -> dict[str, Any]:
    """The final evaluation of one run."""
    summary = run.read_summary()
    split = summary.get("split", summary.get("side", "test"))  # the latter is its former name
    if split != "test":
        raise UserError(f"{run.path} was evaluated on {split} functions: run evaluate")
    errors = {
        f"{name}_{k}": round(summary[name][k], 5) if k < len(summary["steps"]) else ""
        for name in ("mse", "mse_ci95", "mae", "mae_ci95", "untrained_mse", "untrained_mae")
        for k in STEPS
    }
    return {
        "run": group,
        "family": summary["family"],
        "method": summary["method"],
        "seed": run.seed,
        "iterations": summary["iteration"],
        "tasks_seen": summary["tasks_seen"],
        "num_tasks": summary["num_tasks"],
        "num_points": summary["num_points"],
        **errors,
    }


def show_fit(run: RunDirectory) -> None:
    """Keep the picture of some runs' fits."""
    shown = run.config["family"], run.config["method"]
    if shown in SHOWN:
        save_small(run.path / "fit.png", HERE / "{}-{}.png".format(*shown))


def draw(rows: Sequence[Row]) -> None:
    """Error by gradient step, one or two pictures a family."""
    pictures: dict[str, list[Curves]] = {}
    for name in dict.fromkeys(r["run"] for r in rows):
        own = [r for r in rows if r["run"] == name]
        for picture in pictures_of(own[0]["family"], own[0]["method"]):
            pictures.setdefault(picture, []).append(curves(name, own))
    for picture, drawn in pictures.items():
        family = picture.partition("-steps")[0]
        if len(drawn[0].x) < 3:
            continue  # one step is two numbers, not a curve
        drawn += beside([r for r in rows if r["family"] == family])
        steps = min(len(c.x) for c in drawn)  # that all of them have taken
        drawn = [Curves(c.label, c.x[:steps], c.values[:, :steps]) for c in drawn]
        figure = learning_curves(
            drawn,
            xlabel="gradient steps",
            ylabel=f"mean {'absolute' if family in ABSOLUTE else 'squared'} error",
            title=f"{family}: unseen functions",
            log=True,
        )
        # One function that diverges takes the mean of a thousand out of the picture.
        lowest = min(float(c.values.min()) for c in drawn)
        highest = max(float(c.values[:, 0].max()) for c in drawn)
        figure.axes[0].set_ylim(lowest / 1.5, 1.5 * highest)
        save_figure(figure, HERE / f"{picture}.png")


def save_small(source: Path, target: Path) -> None:
    """A picture in 128 colours, rare ones too: a line drawing needs no more."""
    with Image.open(source) as picture:
        few = picture.convert("RGB").quantize(128, Image.Quantize.MAXCOVERAGE)
    few.save(target, optimize=True)


def pictures_of(family: str, method: str) -> list[str]:
    """The pictures that a method is in; there are colours for seven in each."""
    first, second = f"{family}-steps", f"{family}-steps-2"
    if family != "sine":
        return [first]
    if method == "maml":
        return [first, second]
    return [second if method in PATH_METHODS else first]


def curves(name: str, rows: Sequence[Row], of: str = "") -> Curves:
    """The family's error by gradient step, a line a seed; the interval of two says nothing."""
    error = of + error_of(rows[0]["family"])
    steps = [k for k in STEPS if rows[0][f"{error}_{k}"] != ""]
    values = np.array([[float(r[f"{error}_{k}"]) for k in steps] for r in rows])
    if len(values) == 2:
        name, values = f"{name} (mean of 2 seeds)", values.mean(0, keepdims=True)
    return Curves(name, np.array(steps), values)


def beside(rows: Sequence[Row]) -> list[Curves]:
    """The curve without meta-training, where no run of the family is it."""
    if any(r["method"] == "none" for r in rows):
        return []
    return [curves(UNTRAINED, [r for r in rows if r["run"] == rows[0]["run"]], "untrained_")]


def error_of(family: str) -> str:
    """Its name in a summary."""
    return "mae" if family in ABSOLUTE else "mse"


def tables(rows: Sequence[Row]) -> str:
    """Markdown: a table a family, a line a run, mean over seeds and its 95 % t interval."""
    parts = []
    for family in dict.fromkeys(r["family"] for r in rows):
        own = [r for r in rows if r["family"] == family]
        error = error_of(family)
        steps = [k for k in STEPS if own[0][f"{error}_{k}"]]
        parts += [
            f"### {family}: {'absolute' if error == 'mae' else 'squared'} error on "
            f"{own[0]['num_tasks']} unseen functions from {own[0]['num_points']} points",
            "| run | seeds | iterations | " + " | ".join(map(counted, steps)) + " |",
            "|---|---:|---:|" + "---:|" * len(steps),
            *(line(name, own, error, steps) for name in dict.fromkeys(r["run"] for r in own)),
        ]
        if all(r["method"] != "none" for r in own):
            parts.append(line(own[0]["run"], own, f"untrained_{error}", steps))
        parts.append("")
    return "\n".join(parts)


def counted(steps: int) -> str:
    return "1 step" if steps == 1 else f"{steps} steps"


def line(name: str, rows: Sequence[Row], error: str, steps: Sequence[int]) -> str:
    """One run in a table."""
    own = [r for r in rows if r["run"] == name]
    cells = " | ".join(cell([float(r[f"{error}_{k}"]) for r in own]) for k in steps)
    seeds = ", ".join(r["seed"] for r in own)
    if error.startswith("untrained"):
        return f"| {UNTRAINED} | {seeds} | | {cells} |"
    return f"| {name} | {seeds} | {int(own[0]['iterations']):,} | {cells} |"


def cell(values: Sequence[float]) -> str:
    """Mean and half the width of the interval, where there is one."""
    mean, _, high = (float(x) for x in mean_and_interval(np.array(values)))
    shown = f"{mean:.3f}" if mean < 1000 else f"{mean:.0e}"
    return shown + (f" ± {high - mean:.3f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
