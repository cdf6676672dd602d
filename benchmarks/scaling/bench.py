"""What an iteration takes of one process, and of each of two that share it.

    OMP_NUM_THREADS=1 python -m benchmarks.scaling.bench [--rounds 5] [NAME ...]

In every round each training runs in one process and in two (`torchrun`), one after the other, and
an iteration's CPU time, its time by the clock and what of both went into talking (collectives) are
noted in every process; tables have medians over iterations and rounds. With c_P the CPU time of the
busiest of P processes, talking included,

    efficiency (CPU) = c_1 / (2 c_2)        efficiency (clock) = t_1 / (2 t_2)

The first counts what sharing adds to the work; the second what is waited for as well, and is only
worth something where nobody else computes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch.distributed as dist

from metarl.devices import small_networks
from metarl.invocation import rank_of_launch
from metarl.run.command_line import parse_training
from metarl.run.recipe import train
from metarl.train.loop import MetaTraining

WARM_UP = 5
"""Iterations at the start that are not counted."""

LINES = {
    "warp-rnn": ("maze --preset default", 25),
    "warp-rnn 120": ("maze --preset default --batch-size 120", 15),
    "random mazes": ("maze --mazes dfs", 8),
    "maze maml": ("maze_adapt --env maze --method maml --meta-batch 40", 12),
    "omniglot maml": ("omniglot --method maml --filters 64 --validate-every 1000", 8),
    "sine maml": ("regression --method maml", 60),
}
"""By name: a training, and how many iterations of it."""

TALKING = ("all_gather", "all_to_all_single", "broadcast_object_list")
"""Functions of `torch.distributed` in which processes talk."""


class Stopwatch:
    """CPU time and time by the clock, in seconds."""

    def __init__(self) -> None:
        self.cpu = self.clock = 0.0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, with its time added up."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            cpu, clock = time.process_time(), time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.cpu += time.process_time() - cpu
                self.clock += time.perf_counter() - clock

        return timed


def measure(line: str, iterations: int, output: Path) -> None:
    """Train in this process, alone or of several, and write what each iteration took."""
    talk, rows = Stopwatch(), []
    for name in TALKING:
        setattr(dist, name, talk.around(getattr(dist, name)))
    iterate = MetaTraining._iterate

    def timed(training: MetaTraining) -> Any:
        before = time.process_time(), time.perf_counter(), talk.cpu, talk.clock
        metrics = iterate(training)
        after = time.process_time(), time.perf_counter(), talk.cpu, talk.clock
        rows.append([b - a for a, b in zip(before, after, strict=True)])
        return metrics

    MetaTraining._iterate = timed  # type: ignore[method-assign,assignment]
    script, *words = line.split()
    recipe = import_module(f"experiments.{script}").RECIPE
    with tempfile.TemporaryDirectory() as folder, small_networks():
        words += ["--iterations", str(WARM_UP + iterations), "--log-every", "1000"]
        words += ["--checkpoint-every", "100000", "--run-dir", str(Path(folder) / "run")]
        train(recipe, parse_training(recipe, "train", words), words)
    median = [statistics.median(column) for column in zip(*rows[WARM_UP:], strict=True)]
    (output / f"{rank_of_launch()}.json").write_text(json.dumps(median))


def launched(count: int, line: str, iterations: int) -> list[list[float]]:
    """Medians of every process: CPU, clock, talking's CPU, talking's clock, in seconds."""
    how = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count), "-m"]
    words = ["benchmarks.scaling.bench", "--measure", line, "--iterations", str(iterations)]
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *(how if count > 1 else ["-m"]), *words, "--output", folder]
        ended = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
        if ended.returncode:
            raise RuntimeError(f"`{line}` in {count} processes ended so:\n{ended.stderr}")
        return [json.loads(f.read_text()) for f in sorted(Path(folder).glob("*.json"))]


def row(name: str, rounds: Sequence[tuple[list[list[float]], list[list[float]]]]) -> str:
    """A line of the table, medians over rounds, in milliseconds."""
    alone = [one[0] for one, _ in rounds]
    # Of two processes the busier one, and the one that waits less by the clock.
    busy = [max(two) for _, two in rounds]
    talk = [max(t[2] for t in two) for _, two in rounds]
    wait = [min(t[3] for t in two) for _, two in rounds]
    by_cpu = [a[0] / (2 * b[0]) for a, b in zip(alone, busy, strict=True)]
    by_clock = [one[0][1] / (2 * max(t[1] for t in two)) for one, two in rounds]
    ms = [statistics.median(values) * 1e3 for values in ([a[0] for a in alone],)]
    ms += [statistics.median([b[0] for b in busy]) * 1e3]
    ms += [statistics.median(talk) * 1e3, statistics.median(wait) * 1e3]
    numbers = " | ".join(f"{value:.1f}" for value in ms)
    shares = " | ".join(f"{statistics.median(v):.2f}" for v in (by_cpu, by_clock))
    return f"| {name} | {numbers} | {shares} |"


def main() -> None:
    """Measure and print the table; or (in a process that is launched) measure one training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(LINES)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--iterations", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        measure(asked.measure, asked.iterations, asked.output)
        return
    print("| training | one process | busier of two | its talking | waits and talks |", end="")
    print(" efficiency, CPU | by the clock |\n|---|---:|---:|---:|---:|---:|---:|")
    for name in asked.names or LINES:
        line, iterations = LINES[name]
        rounds = [
            (launched(1, line, iterations), launched(2, line, iterations))
            for _ in range(asked.rounds)
        ]
        print(row(name, rounds), flush=True)


if __name__ == "__main__":
    main()
