"""Table of evaluated runs: ``python -m benchmarks.adaptation.report RUN [RUN ...]``.

Each RUN is one that `experiments.maze_adapt evaluate` has been over, or a folder of seeds. Writes
results.csv beside this file, one line a run and gradient step (those of other runs stay), copies
the picture of each RUN to RUN.png (where there are two seeds, the first one's), and prints the
table of the README; ``--table`` prints it from results.csv alone.
``--bandits RUN [RUN ...]`` does so for bandits: bandits.csv, and their table.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from benchmarks.adaptation import bandits
from benchmarks.csv_file import read_csv, replace_rows
from metarl.runs.seeds import find_runs

HERE = Path(__file__).parent
COLUMNS = ("return_mean", "return_iqm", "percentile20", "percent_improved", "normalised_score")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--table", action="store_true", help="print the tables of what is stored")
    parser.add_argument("--bandits", nargs="+", type=Path, metavar="RUN", default=[])
    arguments = parser.parse_args()
    if arguments.bandits:
        bandits.write(arguments.bandits)
        print(bandits.table())
        return
    path = HERE / "results.csv"
    if arguments.runs:
        replace_rows(path, [line for run in arguments.runs for line in rows(run)], ["run"])
        for run in arguments.runs:
            seeds = find_runs(run)
            shown = seeds[0].path if len(seeds) == 2 else run  # an interval of two says nothing
            shutil.copy(shown / "adaptation.png", HERE / f"{run.name}.png")
    elif not arguments.table:
        parser.error("name runs, or give --table")
    print(table(read_csv(path)))
    if arguments.table:
        print(f"\n{bandits.table()}")


def rows(run: Path) -> list[dict[str, Any]]:
    """One line for every number of gradient steps."""
    summary = json.loads((run / "summary.json").read_text())
    names = ("env", "method", "iteration", "num_seeds", "num_tasks", "episodes_per_step")
    return [
        {
            "run": run.name,
            "split": "0.7 / 0.1 / 0.2",
            **{name: summary[name] for name in names},
            "step": k,
            **{n: round(summary[n][k], 4) if summary.get(n) else None for n in COLUMNS},
            "return_mean_low": round(summary["return_mean_ci95"][k][0], 4),
            "return_mean_high": round(summary["return_mean_ci95"][k][1], 4),
            "untrained_return_mean": round(summary["untrained_return_mean"][k], 4),
            "floor_return": round(summary["floor_return"], 4),
            "oracle_return": round(summary["oracle_return"], 4),
        }
        for k in summary["steps"]
    ]


def table(lines: list[dict[str, str]]) -> str:
    """Mean return [95 % interval] by gradient step, a line a run."""
    steps = sorted({int(line["step"]) for line in lines})
    head = ["run", "seeds", "iterations", "tasks", *(f"after {k}" for k in steps)]
    text = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for name in dict.fromkeys(line["run"] for line in lines):
        own = {int(line["step"]): line for line in lines if line["run"] == name}
        cells = [name, *(own[0][c] for c in ("num_seeds", "iteration", "num_tasks"))]
        for k in steps:
            mean, low, high = (
                float(own[k][c]) for c in ("return_mean", "return_mean_low", "return_mean_high")
            )
            cells.append(f"{mean:.2f} [{low:.2f}, {high:.2f}]")
        text.append("| " + " | ".join(cells) + " |")
    return "\n".join(text)


if __name__ == "__main__":
    main()
