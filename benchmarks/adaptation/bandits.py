"""RL² on bandits beside bandit algorithms on the same bandits: `bandits.csv`, and its table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.csv_file import read_csv, write_csv
from envs import BanditTasks
from envs.bandit.algorithms import Algorithm, gittins, greedy, play_bandits, thompson, ucb1
from experiments.maze_adapt import RECIPE
from metarl.methods.gradient import STREAMS, TEST_STREAMS
from metarl.rl.problem import unseen_tasks
from metarl.runs.seeds import find_runs
from metarl.seeding import spawn_generators

PATH = Path(__file__).with_name("bandits.csv")

PUBLISHED = {(10, 5): 6.7, (10, 10): 6.7, (10, 50): 6.8}
PUBLISHED |= {(100, 5): 78.7, (100, 10): 83.5, (100, 50): 84.9}
"""RL² of Duan et al. (2016) by pulls and arms, as recalled."""

NAMES = (*STREAMS, *TEST_STREAMS, "algorithms")
TEST_SEED, VALIDATION_SEED = 10_000, 20_000
YARDSTICKS = ("posterior_mean", "thompson", "ucb1", "gittins")
BONUSES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0)

HEADS = (
    *("pulls, arms", "core", "RL² (three seeds)", "each seed", "posterior mean", "Thompson"),
    *("UCB1, tuned", "Gittins", "published RL²", "random", "best arm"),
)


def write(runs: Sequence[Path]) -> None:
    """A line for each folder of evaluated seeds."""
    write_csv(PATH, map(row, runs))


def row(run: Path) -> dict[str, Any]:
    """What the seeds of a run earn in a trial, and algorithms on the bandits they were tested on.

    The summary says how many bandits and trials, and of which seed.
    """
    summary = json.loads((run / "summary.json").read_text())
    trained = RECIPE.settings_of(find_runs(run)[0].config)
    problem: Any = trained.learning().problem
    pulls, arms = problem.horizon, problem.arms
    streams = spawn_generators(summary["seed"], NAMES)
    tasks = unseen_tasks(problem, "test", summary["num_tasks"], streams["test_tasks"])
    earned = algorithms(tasks, pulls, summary["episodes_per_step"], streams["algorithms"])
    (mean,), ((low, high),) = summary["return_mean"], summary["return_mean_ci95"]
    found = {
        **{"pulls": pulls, "arms": arms, "core": getattr(trained.agent, "core", "none")},
        "iterations": summary["iteration"],
        **{"num_tasks": summary["num_tasks"], "trials_per_task": summary["episodes_per_step"]},
        **{"return_mean": mean, "return_mean_low": low, "return_mean_high": high},
        "return_of_each_seed": " ".join(
            f"{one['return_mean'][0]:.4f}" for one in summary.get("runs", [summary])
        ),
        **earned,
        "published": PUBLISHED[pulls, arms],
        **{"random": summary["floor_return"], "best_arm": summary["oracle_return"]},
    }
    return {name: round(v, 4) if isinstance(v, float) else v for name, v in found.items()}


def algorithms(
    tasks: Sequence[Any], pulls: int, trials: int, generator: torch.Generator
) -> dict[str, float]:
    """What each algorithm earns in a trial, mean over the bandits and so many trials on each."""
    chances = torch.tensor([task.probabilities for task in tasks], dtype=torch.float64)
    chances = chances.repeat_interleave(trials, 0)
    bonus = best_bonus(chances.shape[1], pulls)
    compared: dict[str, Algorithm] = {
        "posterior_mean": greedy,
        "thompson": thompson,
        "ucb1": partial(ucb1, bonus=bonus, prior_pulls=2.0),
        "gittins": gittins(pulls),
    }
    return {
        **{
            name: earned(algorithm, chances, pulls, generator)
            for name, algorithm in compared.items()
        },
        "ucb1_bonus": bonus,
    }


def earned(
    algorithm: Algorithm, chances: torch.Tensor, pulls: int, generator: torch.Generator
) -> float:
    """Mean reward of a trial."""
    return float(play_bandits(algorithm, chances, pulls, generator).sum(1).mean())


def best_bonus(arms: int, pulls: int) -> float:
    """The bonus of UCB1 that earns most on bandits that no result is of."""
    streams = spawn_generators(VALIDATION_SEED, NAMES)
    tasks = BanditTasks(arms).sample(4000, streams["test_tasks"])
    chances = torch.tensor([task.probabilities for task in tasks], dtype=torch.float64)
    scores = {
        bonus: earned(
            partial(ucb1, bonus=bonus, prior_pulls=2.0), chances, pulls, streams["algorithms"]
        )
        for bonus in BONUSES
    }
    return max(scores, key=lambda bonus: scores[bonus])


def again() -> None:
    """Play the algorithms again on the bandits of every line, whose runs need not be there."""
    lines: list[dict[str, Any]] = []
    for line in read_csv(PATH):
        streams = spawn_generators(TEST_SEED, NAMES)
        tasks = BanditTasks(int(line["arms"])).sample(int(line["num_tasks"]), streams["test_tasks"])
        pulls, trials = int(line["pulls"]), int(line["trials_per_task"])
        found = algorithms(tasks, pulls, trials, streams["algorithms"])
        lines.append({**line, **{name: round(value, 4) for name, value in found.items()}})
    write_csv(PATH, lines)


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
            *(f"{float(line[name]):.{digits}f}" for name in YARDSTICKS),
            line["published"],
            *(f"{float(line[name]):.2f}" for name in ("random", "best_arm")),
        ]
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)
