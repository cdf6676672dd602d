"""RL² on bandits beside bandit algorithms on the same bandits: `bandits.csv`, and its table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.csv_file import read_csv, write_csv
from envs.bandit_algorithms import greedy, play_bandits, thompson
from experiments.maze_adapt.settings import from_config
from experiments.maze_adapt.streams import STREAMS, TEST_STREAMS
from metarl.run_directory import find_runs
from metarl.seeding import spawn_generators

PATH = Path(__file__).with_name("bandits.csv")

PUBLISHED = {(10, 5): 6.7, (10, 10): 6.7, (10, 50): 6.8}
PUBLISHED |= {(100, 5): 78.7, (100, 10): 83.5, (100, 50): 84.9}
"""RL² of Duan et al. (2016) by pulls and arms, as recalled."""

HEADS = (
    *("pulls, arms", "core", "RL² (three seeds)", "each seed", "posterior mean", "Thompson"),
    *("published RL²", "random", "best arm"),
)


def write(runs: Sequence[Path]) -> None:
    """A line for each folder of evaluated seeds."""
    write_csv(PATH, map(row, runs))


def row(run: Path) -> dict[str, Any]:
    """What the seeds of a run earn in a trial, and algorithms on the bandits they were tested on.

    The summary says how many bandits and trials, and of which seed.
    """
    summary = json.loads((run / "summary.json").read_text())
    trained = from_config(find_runs(run)[0].config)
    pulls, arms = trained.horizon, trained.arms
    streams = spawn_generators(summary["seed"], (*STREAMS, *TEST_STREAMS, "algorithms"))
    tasks = trained.world().unseen_tasks("test", summary["num_tasks"], streams["test_tasks"])
    chances = torch.tensor([task.probabilities for task in tasks], dtype=torch.float64)
    chances = chances.repeat_interleave(summary["episodes_per_step"], 0)
    earned = {
        name: float(play_bandits(algorithm, chances, pulls, streams["algorithms"]).sum(1).mean())
        for name, algorithm in (("posterior_mean", greedy), ("thompson", thompson))
    }
    (mean,), ((low, high),) = summary["return_mean"], summary["return_mean_ci95"]
    found = {
        **{"pulls": pulls, "arms": arms, "core": trained.recurrent.core},
        "iterations": summary["iteration"],
        **{"num_tasks": summary["num_tasks"], "trials_per_task": summary["episodes_per_step"]},
        **{"return_mean": mean, "return_mean_low": low, "return_mean_high": high},
        "return_of_each_seed": " ".join(f"{s['return_mean'][0]:.4f}" for s in summary["runs"]),
        **earned,
        "published": PUBLISHED[pulls, arms],
        **{"random": summary["floor_return"], "best_arm": summary["oracle_return"]},
    }
    return {name: round(v, 4) if isinstance(v, float) else v for name, v in found.items()}


def table() -> str:
    """The README's, from the file: two decimals of 10 pulls, one of 100."""
    text = [f"| {' | '.join(HEADS)} |", "|---|---|---:|---|" + "---:|" * (len(HEADS) - 4)]
    for line in read_csv(PATH):
        digits = 2 if line["pulls"] == "10" else 1
        ends = ("return_mean", "return_mean_low", "return_mean_high")
        mean, low, high = (f"{float(line[name]):.{digits}f}" for name in ends)
        cells = [
            f"{line['pulls']}, {line['arms']}",
            {"gru": "GRU"}.get(line["core"], line["core"]),
            f"{mean} [{low}, {high}]",
            ", ".join(f"{float(v):.{digits}f}" for v in line["return_of_each_seed"].split()),
            *(f"{float(line[name]):.{digits}f}" for name in ("posterior_mean", "thompson")),
            line["published"],
            *(f"{float(line[name]):.2f}" for name in ("random", "best_arm")),
        ]
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)
