"""Learning rates against clipping: ``python -m benchmarks.maze.scan RUN [RUN ...]``.

Each RUN is a folder of seed-N runs at a constant learning rate. Writes scan.csv beside this file,
one line a seed: its mean training return of 200 iterations, the last that all runs of the method
got to; and prints the table.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.csv_file import write_csv
from experiments.maze import RECIPE
from metarl.runs.directory import RunDirectory
from metarl.runs.seeds import find_runs

HERE = Path(__file__).parent
ITERATIONS = 200

Row = Mapping[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    runs = [run for path in parser.parse_args().runs for run in find_runs(path)]
    lengths: dict[str, int] = {}
    for run in runs:
        method, length = core_of(run), int(run.read_metrics()["iteration"][-1])
        lengths[method] = min(length, lengths.get(method, length))
    rows = [row(run, lengths[core_of(run)]) for run in runs]
    rows.sort(key=lambda r: (r["method"], r["lr"], -r["clip"], r["seed"]))
    write_csv(HERE / "scan.csv", rows)
    print(table(rows))


def core_of(run: RunDirectory) -> str:
    """The agent's memory, which is what methods of the maze differ by."""
    core: str = RECIPE.settings_of(run.config).core
    return core


def row(run: RunDirectory, end: int) -> dict[str, Any]:
    """What one run had come to by then."""
    metrics, outer = run.read_metrics(), RECIPE.settings_of(run.config).learner.outer
    iterations = metrics["iteration"].astype(int)
    last = (iterations > end - ITERATIONS) & (iterations <= end)
    clip = outer.max_grad_norm
    return {
        "method": core_of(run),
        "lr": outer.optimiser.lr,
        "clip": float("inf") if clip is None else clip,
        "seed": run.seed,
        "iterations": end,
        "return": round(float(np.mean(metrics["return"][last])), 2),
    }


def table(rows: Sequence[Row]) -> str:
    """Markdown: a line a method and clipping, a column a learning rate, mean over seeds."""
    rates = sorted({r["lr"] for r in rows})
    lines = ["| | clipped at | " + " | ".join(f"{rate:g}" for rate in rates) + " |"]
    lines.append("|---|---:|" + "---:|" * len(rates))
    for method, clip in dict.fromkeys((r["method"], r["clip"]) for r in rows):
        own = [r for r in rows if (r["method"], r["clip"]) == (method, clip)]
        cells = (cell([r for r in own if r["lr"] == rate]) for rate in rates)
        bound = "never" if clip == float("inf") else f"{clip:g}"
        lines.append(f"| {method} | {bound} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(rows: Iterable[Row]) -> str:
    returns = [r["return"] for r in rows]
    if not returns:
        return ""
    return f"{np.mean(returns):.1f} ({', '.join(f'{x:.0f}' for x in returns)})"


if __name__ == "__main__":
    main()
