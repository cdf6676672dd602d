"""Memories in empty rooms with hidden goals: ``python -m benchmarks.memory.rooms``.

Dark Room as in Algorithm Distillation (9 x 9, optimum 16.54) and as in the Decision-Pretrained
Transformer (10 x 10, optimum 91.99), and Dark Key-to-Door (9 x 9, optimum 2): trials of some
episodes on one goal, tested on goals that nobody trained on. Every core learns for about the same
CPU time, by its pace as measured here, and is then tested. What is done is left alone, and what was
cut off goes on. Set OMP_NUM_THREADS=1.

    python -m benchmarks.memory.rooms --runs runs/rooms      trains, tests, and writes rooms.csv
    python -m benchmarks.memory.rooms --report               prints the table of rooms.csv
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.csv_file import groups_of, read_csv, replace_rows
from benchmarks.memory.train import trained
from experiments.maze_adapt import RECIPE
from metarl.runs.files import read_json

HERE = Path(__file__).parent
TRIALS, MINIBATCH = 256, 16


@dataclass(frozen=True)
class Room:
    """Where agents learn.

    Attributes:
        name: What it is called.
        options: Which tasks they are.
        steps: Steps of an episode.
        episodes: Episodes of a trial.
        reward_scale: Factor of rewards in the loss, for returns of the order of 1.
    """

    name: str
    options: tuple[str, ...]
    steps: int
    episodes: int
    reward_scale: float

    @property
    def steps_per_iteration(self) -> int:
        """Environment steps of an iteration."""
        return TRIALS * self.episodes * self.steps


TEN = ("--env", "darkroom", "--size", "10", "--start", "corner", "--horizon", "100")
ROOMS = (
    Room("dark-room-9", ("--env", "darkroom"), 20, 10, 0.1),
    Room("dark-room-10", TEN, 100, 3, 0.03),
    Room("key-to-door-9", ("--env", "keytodoor"), 50, 6, 0.5),
)


@dataclass(frozen=True)
class Core:
    """A memory: options of its size, and thousands of steps that it learns from in a CPU second."""

    name: str
    sizes: tuple[str, ...]
    pace: int


CORES = (
    Core("gru", ("--hidden-size", "64"), 130),
    Core("lstm", ("--hidden-size", "64"), 150),
    Core("linear-attention", ("--hidden-size", "32", "--core-sizes", "layers=1"), 90),
    Core("transformer", ("--hidden-size", "32", "--core-sizes", "layers=1", "heads=2"), 18),
)


def options(room: Room, core: Core, seed: int, cpu_seconds: float) -> list[str]:
    """The command line of a training."""
    iterations = max(1, round(cpu_seconds * 1000 * core.pace / room.steps_per_iteration))
    return [
        *("train", *room.options, "--method", "rl2", "--core", core.name, *core.sizes),
        *("--trial-episodes", str(room.episodes), "--meta-batch", str(TRIALS)),
        *("--minibatch-trials", str(MINIBATCH), "--num-epochs", "2", "--lr", "0.002"),
        *("--max-grad-norm", "0.5", "--loss.gamma", "0.98", "--loss.value-coef", "0.5"),
        *("--loss.entropy", "shannon", "--loss.entropy-coef", "0.01"),
        *("--loss.entropy-decay", "linear", "--loss.reward-scale", str(room.reward_scale)),
        *("--iterations", str(iterations), "--seeds", str(seed), "--device", "cpu"),
        *("--log-every", "1", "--checkpoint-every", "10"),
    ]


def row(room: Room, core: str, seed: int, place: Path, seconds: float) -> dict[str, Any]:
    """A line of the table, from the summary of a run."""
    summary = read_json(place / "summary.json")
    returns = summary["return_mean"]
    return {
        **{"room": room.name, "core": core, "seed": seed, "cpu_seconds": round(seconds)},
        "env_steps": summary["iteration"] * room.steps_per_iteration,
        "goals": summary["num_tasks"],
        "first_return": round(returns[0], 3),
        "last_return": round(returns[-1], 3),
        "random_return": round(summary["floor_return"], 3),
        "oracle_return": round(summary["oracle_return"], 3),
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: a line per room and core, means over seeds."""
    lines = [
        "| room | memory | seeds | M steps | CPU s | first episode | last episode | random "
        "| who knows the goal | last / that |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    names = (
        *("env_steps", "cpu_seconds", "first_return", "last_return"),
        *("random_return", "oracle_return"),
    )
    for (room, core), group in groups_of(rows, "room", "core").items():
        steps, seconds, first, last, random, oracle = (
            float(np.mean([float(each[name]) for each in group])) for name in names
        )
        lines.append(
            f"| {room} | {core} | {len(group)} | {steps / 1e6:.1f} | {seconds:.0f} "
            f"| {first:.2f} | {last:.2f} | {random:.2f} | {oracle:.2f} | {last / oracle:.2f} |"
        )
    return "\n".join(lines)


def every(asked: argparse.Namespace) -> Iterator[tuple[int, Room, Core]]:
    """What is asked for, the seeds one after the other."""
    for seed, room, core in product(asked.seeds, ROOMS, CORES):
        if room.name in asked.rooms and core.name in asked.cores:
            yield seed, room, core


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is not trained yet, and print the table."""
    rooms, cores = [room.name for room in ROOMS], [core.name for core in CORES]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/rooms"))
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--rooms", nargs="+", default=rooms, choices=rooms)
    parser.add_argument("--cores", nargs="+", default=cores, choices=cores)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--cpu-seconds", type=float, default=60)
    parser.add_argument("--tests", type=int, default=200)
    asked = parser.parse_args(arguments)
    for seed, room, core in () if asked.report else every(asked):
        place = asked.runs / f"{room.name}-{core.name}-{seed}"
        line = options(room, core, seed, asked.cpu_seconds)
        seconds = trained(RECIPE, line, place, asked.tests)
        found = row(room, core.name, seed, place, seconds)
        replace_rows(HERE / "rooms.csv", [found], ("room", "core", "seed"))
    print(table(read_csv(HERE / "rooms.csv")))


if __name__ == "__main__":
    main()
