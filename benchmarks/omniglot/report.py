"""Tables and pictures from evaluated runs: ``python -m benchmarks.omniglot.report [RUN ...]``.

Each RUN is a run, or a folder of runs such as a sweep, that `experiments.omniglot evaluate` has
been over (on the characters of the test). What a run says replaces what the files beside this one
said of it, of few-shot runs for as many queries a class:

    results.csv      one line a run and number of queries: the final evaluation
    training.csv     one line a run and validation: accuracy in meta-training
    adaptation.csv   one line a run and number of inner steps: accuracy on unseen tasks

Then, with or without runs, from these files alone:

    fewshot-5way-1shot.png, ...    validation accuracy against iterations
    multishot.png                  accuracy against inner steps on an unseen alphabet
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.csv_file import read_csv, write_csv
from metarl.plots.lines import Curves, learning_curves, save_figure
from metarl.runs.directory import RunDirectory
from metarl.stats import mean_and_interval

HERE = Path(__file__).parent
RESULT = (
    *("protocol", "split", "method", "preset", "ways", "shots", "query_shots", "pretrain"),
    *("checkpoint", "iteration"),
    *("trained_iterations", "train_seconds", "num_tasks", "inner_steps", "transductive_accuracy"),
    *("transductive_ci95", "non_transductive_accuracy", "non_transductive_ci95"),
    "area_under_training_loss",
)
TRAINING = ("protocol", "iteration", "tasks_seen", "wall_seconds", "validation_accuracy")
ADAPTATION = (
    *(
        "protocol",
        "query_shots",
        "method",
        "step",
        "transductive_accuracy",
        "non_transductive_accuracy",
    ),
)

Row = dict[str, Any]


def main() -> None:
    """Read the runs, write the files, draw, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path)
    runs = [named for path in parser.parse_args().runs for named in evaluated(path)]
    results = merge("results.csv", (result(*named) for named in runs))
    training = merge("training.csv", (r for named in runs for r in validations(*named)))
    steps = merge("adaptation.csv", (r for named in runs for r in curve(*named)))
    draw_fewshot(training, results)
    draw_multishot(steps)
    print(table(results))


def evaluated(path: Path) -> Iterable[tuple[str, RunDirectory]]:
    """The evaluated runs under a folder, by their names without the seed."""
    for summary in sorted(path.rglob("summary.json")):
        if not (summary.parent / "config.json").exists():
            continue  # of several runs together
        place = summary.parent.relative_to(path.parent)
        name = "/".join(part for part in place.parts if not part.startswith("seed-"))
        yield name, RunDirectory.open(summary.parent)


def result(name: str, run: RunDirectory) -> Row:
    """The final evaluation of one run."""
    summary = {**run.read_summary()}
    summary["inner_steps"] = summary["steps"][-1]
    found = {key: summary.get(key, "") for key in RESULT}
    return {"run": name, "seed": run.seed, **found}


def validations(name: str, run: RunDirectory) -> Iterable[Row]:
    """Accuracy in validation, as training went on."""
    columns = run.read_metrics()
    seen = np.isfinite(columns["validation_accuracy"].astype(float))
    head = {"run": name, "seed": run.seed, "protocol": run.read_summary()["protocol"]}
    for i in np.flatnonzero(seen):
        yield {**head, **{key: columns[key][i] for key in TRAINING[1:]}}


def curve(name: str, run: RunDirectory) -> Iterable[Row]:
    """Accuracy on unseen tasks, as they were adapted to."""
    summary = run.read_summary()
    head = {"run": name, "seed": run.seed, "protocol": summary["protocol"]}
    head["query_shots"] = summary.get("query_shots", "")
    for i, step in enumerate(summary["steps"]):
        accuracies = {k: summary[k.replace("accuracy", "curve")][i] for k in ADAPTATION[4:]}
        yield {**head, "method": summary["method"], "step": step, **accuracies}


def merge(file: str, rows: Iterable[Row]) -> list[Row]:
    """Write the rows, and those of other evaluations that the file had; return all."""
    path, fresh = HERE / file, [{k: _short(v) for k, v in row.items()} for row in rows]
    given = {_key(row) for row in fresh}
    merged = [row for row in read_csv(path) if _key(row) not in given] + fresh
    merged.sort(key=_key)
    write_csv(path, merged)
    return merged


def draw_fewshot(training: list[Row], results: list[Row]) -> None:
    """Validation accuracy against iterations, a picture for each number of ways and shots."""
    pictures: dict[str, list[Curves]] = {}
    found = {_key(row)[:2]: row for row in results}
    for group in groups(training, "fewshot", "run", "seed").values():
        own = found[_key(group[0])[:2]]
        iterations = np.array([int(row["iteration"]) for row in group])
        values = np.array([[float(row["validation_accuracy"]) for row in group]])
        name = f"{own['ways']}way-{own['shots']}shot"
        run = str(own["run"]).removeprefix(f"omniglot-{name}-")  # the method, and what is special
        curve = Curves(f"{run}, seed {own['seed']}", iterations, values)
        pictures.setdefault(name, []).append(curve)
    for name, curves in pictures.items():
        title = f"few-shot, {name}: characters for validation, transductive"
        figure = learning_curves(curves, xlabel="iterations", ylabel="accuracy", title=title)
        save_figure(figure, HERE / f"fewshot-{name}.png")


def draw_multishot(rows: list[Row]) -> None:
    """Accuracy against inner steps, mean over seeds."""
    curves = []
    for (_, method), group in groups(rows, "multishot", "run", "method").items():
        by_seed = list(groups(group, "multishot", "seed").values())
        values = [[float(row["non_transductive_accuracy"]) for row in one] for one in by_seed]
        steps = np.array([int(row["step"]) for row in by_seed[0]])
        curves.append(Curves(method, steps, np.array(values)))
    if curves:
        curves.sort(key=lambda c: -float(c.values[:, -1].mean()))
        figure = learning_curves(
            curves,
            xlabel="inner steps on an unseen alphabet",
            ylabel="accuracy on held-out drawings",
            title="multi-shot: 20 characters of an alphabet",
        )
        save_figure(figure, HERE / "multishot.png")


def groups(rows: list[Row], protocol: str, *names: str) -> Mapping[tuple[str, ...], list[Row]]:
    """The rows of a protocol that agree in some columns."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row["protocol"] == protocol:
            found.setdefault(tuple(str(row[name]) for name in names), []).append(row)
    return found


def table(rows: list[Row]) -> str:
    """Markdown: one line a run, the mean over its seeds; the interval is over seeds, or tasks."""
    lines = [
        "| run | queries | inner steps | transductive | non-transductive | seeds | iterations |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    judged = ("run", "query_shots")
    every = {**groups(rows, "fewshot", *judged), **groups(rows, "multishot", *judged)}
    for (name, queries), group in every.items():
        cells = [_cell(group, side) for side in ("transductive", "non_transductive")]
        first = group[0]
        lines.append(
            f"| {name} | {queries} | {first['inner_steps']} | {' | '.join(cells)} | {len(group)} "
            f"| {first['iteration']} of {first['trained_iterations']} |"
        )
    return "\n".join(lines)


def _cell(group: list[Row], side: str) -> str:
    values = [100 * float(row[f"{side}_accuracy"]) for row in group]
    mean, _, high = mean_and_interval(values)
    half = float(high - mean) if len(group) > 1 else 100 * float(group[0][f"{side}_ci95"])
    return f"{float(mean):.1f} ± {half:.1f}"


def _key(row: Row) -> tuple[str, int, str]:
    """The run, and how it was judged; of rows about training nothing says that."""
    return str(row["run"]), int(row["seed"]), str(row.get("query_shots", ""))


def _short(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


if __name__ == "__main__":
    main()
