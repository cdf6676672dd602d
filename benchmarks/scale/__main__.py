"""What many seeds of many methods cost, and where gradients meet the network: arithmetic alone.

    python -m benchmarks.scale                                  # the tables of README.md
    python -m benchmarks.scale --core-price 0.02 --gpu-prices 1 3 --overhead 0.05
    python -m benchmarks.scale --count                          # makes networks.csv again

CPU seconds are those of the comparisons of `benchmarks`, of the processor that their pages name.
Prices are options, and no speed of a GPU is claimed: the tables say how fast one would have to be.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.csv_file import read_csv, write_csv
from metarl.run.commands import parse

HERE = Path(__file__).parent
NETWORKS = HERE / "networks.csv"

TEN = ("maml", "fomaml", "anil", "metasgd", "reptile", "imaml", "warp", "promp", "rl2", "ppo")
"""Ten methods, which have all been run on the 9 x 9 maze."""

FAMILIES = {
    "hidden goals, 9 × 9": "adaptation/maze9.csv",
    "hidden goals, 13 × 13": "adaptation/maze13.csv",
    "random mazes, 9 × 9": "mazes/adaptation.csv",
}
"""Comparisons whose tables have the CPU seconds of a training run, by family of mazes."""

ROOM = "published room, 13 × 13"
ROOM_ITERATIONS = 20_000
ROOM_MS = {
    "rnn": 11.2,
    "gru": 22.4,
    "lstm": 27.2,
    "plastic": 46.7,
    "modulated": 50.8,
    "warp": 66.8,
}
"""CPU milliseconds of an iteration in the room with native kernels (`benchmarks/training_step`)."""

CONTROL = "none"
"""What is not trained, and is no method here."""


@dataclass(frozen=True)
class Settings:
    """Print what many runs cost, and at which bandwidth a gradient takes a share of its step."""

    seeds: int = 1000
    """Seeds of each method."""
    methods: int = 10
    """Methods."""
    cores: tuple[int, ...] = (64, 1024, 10_000)
    """Processor cores that work at a time."""
    core_price: float = 0.04
    """Price of a core for an hour, in any money; a placeholder, not a quote."""
    gpu_prices: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    """Prices of a GPU for an hour, in the same money; placeholders."""
    processes: tuple[int, ...] = (2, 8, 64)
    """Processes that share a meta-batch."""
    overhead: float = 0.1
    """Share of a step's computation that exchanging its gradients may take."""
    latency: float = 50e-6
    """Seconds of one message between two machines, before its first byte; a placeholder."""
    count: bool = False
    """Make networks.csv again: one iteration of each training."""


@dataclass(frozen=True)
class Step:
    """A training whose iteration has been timed on one core.

    Attributes:
        name: Name in words.
        script: Its recipe.
        options: Of `train`.
        seconds: CPU seconds of an iteration.
        source: Where that is from.
    """

    name: str
    script: str
    options: tuple[str, ...]
    seconds: float
    source: str


def steps() -> list[Step]:
    """Return timed trainings, from the least to the most arithmetic for each parameter."""
    nine = {row["method"]: row for row in rows("adaptation/maze9.csv")}

    def of(method: str, iterations: int) -> float:
        return float(nine[method]["cpu_seconds"]) / iterations

    maze = ("--env", "maze", "--size", "9")
    omniglot = ("--ways", "5", "--shots", "1", "--filters", "64")
    return [
        Step("curves, MAML", "regression", (), 1.52e-3, "meta_step"),
        *(
            Step(
                f"published room, {core}",
                "maze",
                ("--method", core),
                ROOM_MS[core] / 1e3,
                "training_step",
            )
            for core in ("rnn", "lstm", "warp")
        ),
        Step("Omniglot 5-way, MAML", "omniglot", omniglot, 336e-3, "meta_step"),
        Step(
            "9 × 9 goals, RL²",
            "maze_adapt",
            (*maze, "--method", "rl2"),
            of("rl2", 1000),
            "adaptation",
        ),
        Step(
            "9 × 9 goals, MAML",
            "maze_adapt",
            (*maze, "--method", "maml"),
            of("maml", 300),
            "adaptation",
        ),
        Step(
            "9 × 9 goals, WarpGrad",
            "maze_adapt",
            (*maze, "--method", "warp"),
            of("warp", 300),
            "adaptation",
        ),
    ]


def rows(name: str) -> list[dict[str, str]]:
    """Return the rows of a table of `benchmarks`, one per method."""
    found = {row["method"]: row for row in read_csv(HERE.parent / name)}
    return [row for method, row in found.items() if method != CONTROL]


def run_seconds() -> dict[str, dict[str, float]]:
    """Return the CPU seconds of a run by family of mazes and method."""
    found = {
        family: {row["method"]: float(row["cpu_seconds"]) for row in rows(name)}
        for family, name in FAMILIES.items()
    }
    room = {core: ms * ROOM_ITERATIONS / 1e3 for core, ms in ROOM_MS.items()}
    return {**found, ROOM: room}


def main() -> None:
    """Print the tables."""
    asked = parse(Settings, "python -m benchmarks.scale", _arguments())
    if asked.count:
        write_csv(NETWORKS, [counted(step) for step in steps()])
    totals = dict(costs(asked))
    print("## CPU time\n")
    print(table(("mazes", "measured", "CPU s a run", "mean"), measured()))
    print(f"\n## {asked.seeds:,} seeds × {asked.methods} methods\n")
    print(table(*cpu_costs(asked, totals)))
    print("\n## When a GPU is cheaper\n")
    print(table(*gpu_costs(asked, totals)))
    print("\n## Where gradients meet the network\n")
    print(table(*exchanges(asked)))


def measured() -> Iterator[tuple[str, ...]]:
    """Yield what is known of each family."""
    for family, found in run_seconds().items():
        each = ", ".join(f"{method} {seconds:,.0f}" for method, seconds in found.items())
        mean = sum(found.values()) / len(found)
        yield family, str(len(found)), each, f"{mean:.0f}"


class Cost(NamedTuple):
    """Core hours of all runs, and hours of the longest of them."""

    hours: float
    longest: float


def costs(asked: Settings) -> Iterator[tuple[str, Cost]]:
    """Yield what all runs cost, family by family.

    Where ten methods were measured they are these; elsewhere as many as are asked for of the mean.
    """
    for family, found in run_seconds().items():
        chosen = [found[m] for m in TEN if m in found]
        if len(chosen) < len(TEN):
            chosen = list(found.values())
        mean = sum(chosen) / len(chosen)
        yield family, Cost(asked.seeds * asked.methods * mean / 3600, max(chosen) / 3600)


def cpu_costs(
    asked: Settings, totals: dict[str, Cost]
) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """Return core hours, the time on some cores, and the price.

    A run is the unit: with more cores than runs it takes as long as the longest of them.
    """
    heads = ("mazes", "core hours", *(f"on {n:,} cores" for n in asked.cores), "price")
    lines = [
        (
            family,
            f"{cost.hours:,.0f}",
            *(duration(max(cost.hours / n, cost.longest)) for n in asked.cores),
            f"{cost.hours * asked.core_price:,.0f}",
        )
        for family, cost in totals.items()
    ]
    return heads, lines


def gpu_costs(
    asked: Settings, totals: dict[str, Cost]
) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """Return how many cores a GPU has to replace at a price, and the hours that it then has."""
    heads = (
        "price of a GPU hour",
        "cores that it must replace",
        *(f"GPU hours, {f}" for f in totals),
    )
    lines = []
    for price in asked.gpu_prices:
        cores = price / asked.core_price
        each = (f"{cost.hours / cores:,.0f}" for cost in totals.values())
        lines.append((f"{price:g}", f"{cores:g}", *each))
    return heads, lines


def exchanges(asked: Settings) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """Return the bandwidth at which exchanging gradients takes the share that it may take.

    A ring of P processes sends and receives 2 (P - 1) / P times the gradient each, in 2 (P - 1)
    messages one after the other. A process computes 1 / P of an iteration.
    """
    counted = {row["name"]: row for row in read_csv(NETWORKS)}
    heads = (
        *("training", "parameters", "gradients an iteration", "kB an iteration", "ms on a core"),
        *(f"Mbit/s, P = {n}" for n in asked.processes),
        "P by latency",
    )
    lines = []
    for step in steps():
        row = counted[step.name]
        gradients, parameters = int(row["gradients"]), int(row["parameters"])
        size = 4 * parameters * gradients
        needed = [
            2 * (n - 1) * size * 8 / (asked.overhead * step.seconds) / 1e6 for n in asked.processes
        ]
        lines.append(
            (
                f"{step.name} ({step.source})",
                f"{parameters:,}",
                str(gradients),
                f"{size / 1e3:,.0f}",
                f"{1e3 * step.seconds:.3g}",
                *(f"{value:,.0f}" for value in needed),
                str(largest(asked, step.seconds, gradients)),
            )
        )
    return heads, lines


def largest(asked: Settings, seconds: float, gradients: int) -> int:
    """Return how many processes there may be, if messages had no bytes at all.

    2 (P - 1) messages for each gradient take their share of 1 / P of an iteration.
    """
    processes = 1
    while 2 * processes * gradients * asked.latency <= asked.overhead * seconds / (processes + 1):
        processes += 1
    return processes


def counted(step: Step) -> dict[str, Any]:
    """Train for one iteration; return the number of meta-parameters, and of gradients."""
    from importlib import import_module

    from metarl.run import main as run
    from metarl.runs.directory import RunDirectory
    from metarl.train.trainer import Trainer

    trainer: Any = Trainer
    complete, calls = trainer._complete, []

    def seen(self: Any, *given: Any) -> Any:
        calls.append(sum(p.numel() for p in self.learner.params.values() if p.grad is not None))
        return complete(self, *given)

    trainer._complete = seen
    try:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "run"
            line = ["train", *step.options, "--iterations", "1", "--run-dir", str(place)]
            run(import_module(f"experiments.{step.script}").RECIPE, [*line, "--device", "cpu"])
            assert RunDirectory.open(place).load_checkpoint()["iteration"] == 1
    finally:
        trainer._complete = complete
    return {
        "name": step.name,
        "command": " ".join(("experiments." + step.script, "train", *step.options)),
        "parameters": max(calls),
        "gradients": len(calls),
    }


def duration(hours: float) -> str:
    """Return hours in words."""
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours / 24:,.1f} days" if hours >= 48 else f"{hours:.1f} h"


def table(heads: Sequence[str], lines: Any) -> str:
    """Return a table in Markdown."""
    text = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    return "\n".join([*text, *(f"| {' | '.join(line)} |" for line in lines)])


def _arguments() -> list[str]:
    import sys

    return sys.argv[1:]


if __name__ == "__main__":
    main()
