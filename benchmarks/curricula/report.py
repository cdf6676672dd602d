"""Tables and picture of what `benchmarks.curricula.train` has trained and tested.

    python -m benchmarks.curricula.report [RUNS]

With a folder of runs, lines are written beside this file (those of a curriculum that is there
already are replaced):

    results.csv   one line per seed, limit of steps and maze, or share of the fresh levels
    curves.csv    one line per seed and mark: training return of the trials before it

Then, from these files alone, the tables, and curves.png.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.csv_file import groups_of, read_csv, replace_rows
from benchmarks.curricula.train import LIMITS, fresh_levels
from benchmarks.marks import marks_of
from envs.problems import UEDMazes
from metarl.compare.work import cpu_seconds
from metarl.evaluate.finds import RISKS, worst
from metarl.plots.lines import COLOURS, canvas, legend, save_figure
from metarl.runs.directory import RunDirectory
from metarl.runs.files import read_json
from metarl.runs.place import holds_runs
from metarl.runs.seeds import find_runs
from metarl.stats import bootstrap_ci, clustered, iqm, mean_and_interval
from metarl.train.curriculum import CURRICULA

HERE = Path(__file__).parent

BESIDE = {"explorer": "explorer", "right_hand": "right hand", "left_hand": "left hand"}
"""Who learns nothing, and what it is called in tables."""

EIGHT = (
    *("SixteenRooms", "SixteenRooms2", "Labyrinth", "LabyrinthFlipped", "Labyrinth2"),
    *("StandardMaze", "StandardMaze2", "StandardMaze3"),
)
CORRIDORS = ("SmallCorridor", "LargeCorridor")
NINE = tuple(maze for maze in (*EIGHT, *CORRIDORS) if maze != "LabyrinthFlipped")
"""Mazes that are among the twelve of the paper on ACCEL."""

FRESH = "fresh levels"
LOOKS = {"dr": "return", "plr": "return_fresh", "robust-plr": "return_fresh"}
LOOKS |= {"sfl": "return_scouted", "accel": "return_replayed"}
"""Metric of a curriculum that is drawn: of fresh levels, where it plays such."""

Row = Mapping[str, Any]
Values = NDArray[Any]


def main() -> None:
    """Read the runs, write the files, print the tables, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="?", type=Path)
    folder: Path | None = parser.parse_args().runs
    for name, read in (("results", results), ("curves", curves)):
        fresh = [] if folder is None else list(read(folder))
        if fresh:
            replace_rows(HERE / f"{name}.csv", fresh, ["method"])
    rows = read_csv(HERE / "results.csv")
    for limit in LIMITS:
        print(f"{table(rows, limit)}\n")
    save_figure(learning(read_csv(HERE / "curves.csv")), HERE / "curves.png")


def trained(folder: Path) -> Iterator[tuple[str, list[RunDirectory]]]:
    """Curricula of a folder whose runs have all been tested on everything, and the runs."""
    for method in CURRICULA:
        if not holds_runs(folder / method):
            continue
        runs = find_runs(folder / method)
        if all((run.path / f"on-fresh-{LIMITS[-1]}" / "summary.json").exists() for run in runs):
            yield method, runs


def results(folder: Path) -> Iterator[dict[str, Any]]:
    """What agents were tested on, and those beside them on the same."""
    counts: set[int] = set()
    for method, runs in trained(folder):
        seconds = cpu_seconds(runs[0].path / "cost.json")  # of all together
        each = None if seconds is None else round(seconds / len(runs))
        for run in runs:
            about = {"method": method, "seed": run.seed, **effort(run), "cpu_seconds": each}
            for limit in LIMITS:
                named = read_json(run.path / f"on-named-{limit}" / "summary.json")
                fresh = read_json(run.path / f"on-fresh-{limit}" / "summary.json")
                counts.add(fresh["num_layouts"])
                shares = {maze: found["success"] for maze, found in named["per_maze"].items()}
                shares[FRESH] = fresh["success"]
                shares |= {f"worst {p} %": fresh[f"cvar_success_{p}"] for p in RISKS}
                for maze, share in shares.items():
                    yield {**about, "limit": limit, "maze": maze, "solved": round(share, 4)}
    for count in counts:
        yield from beside(count)


def effort(run: RunDirectory) -> dict[str, int]:
    """Environment steps of a run, and how many of these were learned from."""
    metrics = run.read_metrics()
    steps, learned = metrics["env_steps"], np.isfinite(column(metrics, "grad_norm"))
    return {
        "env_steps": int(steps[-1]),
        "learned_from": int(np.diff(steps, prepend=0)[learned].sum()),
    }


def column(metrics: Mapping[str, Values], name: str) -> Values:
    """A metric by lines; NaN where a line lacks it."""
    return metrics.get(name, np.full(len(metrics["env_steps"]), np.nan))


def beside(count: int) -> Iterator[dict[str, Any]]:
    """Solve rates of those who learn nothing, in the same mazes and on the same fresh levels."""
    effort = dict.fromkeys(("env_steps", "learned_from", "cpu_seconds"), 0)
    for limit in LIMITS:
        problem = UEDMazes("named", horizon=limit)
        named = problem.known(tuple(problem.every_task))
        fresh = UEDMazes(horizon=limit).known(tuple(fresh_levels(limit, count)))
        mazes = np.array([maze for _, maze in named.mazes or ()])
        for name, called in BESIDE.items():
            found, solved = named.each[name] > 0, (fresh.each[name] > 0).astype(float)
            shares = {maze: float(found[mazes == maze].mean()) for maze in (*EIGHT, *CORRIDORS)}
            shares[FRESH] = float(solved.mean())
            shares |= {f"worst {p} %": worst(solved, p) or 0.0 for p in RISKS}
            for maze, share in shares.items():
                about = {"method": called, "seed": "", **effort, "limit": limit, "maze": maze}
                yield {**about, "solved": round(share, 4)}


def curves(folder: Path) -> Iterator[dict[str, Any]]:
    """Training return in a few marks."""
    for method, runs in trained(folder):
        for run in runs:
            metrics = run.read_metrics()
            for mark in marks_of(metrics["env_steps"], column(metrics, LOOKS[method])):
                yield {"method": method, "seed": run.seed, **mark}


def table(rows: Sequence[Row], limit: int) -> str:
    """Markdown: a column per curriculum, a line per maze, and what sums them up."""
    mine = [row for row in rows if int(row["limit"]) == limit]
    methods = list(dict.fromkeys(row["method"] for row in mine))
    scores = {method: by_seed([r for r in mine if r["method"] == method]) for method in methods}

    def line(name: str, cell: Callable[[dict[str, Values]], str]) -> str:
        return f"| {name} | " + " | ".join(cell(scores[method]) for method in methods) + " |"

    risks = [f"worst {p} %" for p in reversed(RISKS)]
    lines = [
        f"| {limit} steps | " + " | ".join(methods) + " |",
        "|---|" + "---:|" * len(methods),
        *(
            line(maze, lambda of, maze=maze: share(of[maze].mean()))  # type: ignore[misc]
            for maze in (*EIGHT, *CORRIDORS)
        ),
        line("**mean of the eight**", lambda of: interval(over(of, EIGHT).mean(1))),
        line("the same, seed by seed", lambda of: " / ".join(map(share, over(of, EIGHT).mean(1)))),
        line("IQM of the eight", lambda of: middle(over(of, EIGHT))),
        line("mean of the nine", lambda of: interval(over(of, NINE).mean(1))),
        line(f"**{FRESH}**", lambda of: interval(of[FRESH])),
        *(line(f"{FRESH}, {p}", lambda of, p=p: interval(of[p])) for p in risks),  # type: ignore[misc]
    ]
    for name, column, factor in (
        ("M environment steps", "env_steps", 1e6),
        ("M of them learned from", "learned_from", 1e6),
        ("CPU minutes", "cpu_seconds", 60.0),
    ):
        effort = {
            method: np.mean([float(r[column] or 0) for r in mine if r["method"] == method]) / factor
            for method in methods
        }
        lines.append(f"| {name} | " + " | ".join(f"{effort[m]:.1f}" for m in methods) + " |")
    return "\n".join(lines)


def by_seed(rows: Sequence[Row]) -> dict[str, Values]:
    """Solve rates ``[seeds]`` by maze."""
    return {
        maze: np.array([float(row["solved"]) for row in group])
        for (maze,), group in groups_of(rows, "maze").items()
    }


def over(of: Mapping[str, Values], mazes: Sequence[str]) -> Values:
    """Solve rates ``[seeds, mazes]``."""
    return np.stack([of[maze] for maze in mazes], 1)


def share(value: float) -> str:
    """A share in two digits, without the 0 before the point."""
    return f"{value:.2f}".removeprefix("0")


def interval(values: Values) -> str:
    """Mean over seeds with its t interval, as far as a share can be."""
    if len(values) == 1:
        return share(float(values[0]))
    mean, low, high = (float(x) for x in mean_and_interval(values))
    return f"{share(mean)} ({share(max(low, 0.0))}–{share(min(high, 1.0))})"


def middle(values: Values) -> str:
    """Interquartile mean over seeds and mazes, with a bootstrap interval over seeds."""
    found = bootstrap_ci(values, rng=np.random.default_rng(0), resampling=clustered, statistic=iqm)
    if len(values) == 1:
        return share(found.estimate)
    return f"{share(found.estimate)} ({share(found.low)}–{share(found.high)})"


def learning(rows: Sequence[Row]) -> Any:
    """Training return of every curriculum, seeds thin and their mean thick; accel's dotted."""
    figure, axes = canvas(
        "training on the published levels", "environment steps", "return per trial of 256 steps"
    )
    for number, method in enumerate(LOOKS):
        mine = [row for row in rows if row["method"] == method]
        if not mine:
            continue
        marks = sorted({int(row["env_steps"]) for row in mine})
        values = [
            np.mean([float(row["return"]) for row in mine if int(row["env_steps"]) == mark])
            for mark in marks
        ]
        style = ":" if method == "accel" else "-"
        axes.plot(marks, values, style, color=COLOURS[number], label=method)
        for seed in groups_of(mine, "seed").values():
            one = sorted((int(row["env_steps"]), float(row["return"])) for row in seed)
            axes.plot(*zip(*one, strict=True), style, color=COLOURS[number], linewidth=0.5)
    legend(axes, "mean over seeds, thin: one seed", "on fresh levels; accel: on those it replays")
    return figure


if __name__ == "__main__":
    main()
