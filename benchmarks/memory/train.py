"""Every core in random mazes with trials of growing length: ``python -m benchmarks.memory.train``.

For every core, size of maze, length of trial and seed, two agents are trained and then tested on
mazes that nobody has trained on:

    steps   on the same number of environment steps (``--env-steps``)
    time    on as many as it learns from in the same CPU time (``--cpu-seconds``), as fast as the
            first of the two was trained

Both have learning rates and entropy that fall to 0 over their own training. An iteration has
sixteen minibatches of about 3,200 steps, whatever the length of a trial.

What is done is left alone, so that the same command goes on after Ctrl-C or a kill, and a run that
was cut off is resumed. Set OMP_NUM_THREADS=1, so that CPU time is that of one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from experiments.maze import RECIPE
from metarl.compare.work import CpuClock, cpu_seconds
from metarl.nn import CORES
from metarl.run import Recipe
from metarl.run import main as run

MINIBATCH_STEPS, MINIBATCHES = 3200, 16
ARMS = ("steps", "time")
SIZES = dict.fromkeys(("transformer", "linear-attention"), ("--core-sizes", "layers=1"))
"""One layer each, as the other cores have."""


@dataclass(frozen=True)
class Case:
    """One agent: its memory, where it learns, and its seed.

    Attributes:
        core: Name of the core.
        two_timescales: Whether its slow weights step at another pace (``--method warp-rnn``).
        size: Rows and columns of the mazes.
        steps: Steps of a trial.
        seed: Of the training.
        hidden_size: Hidden units.
    """

    core: str
    two_timescales: bool
    size: int
    steps: int
    seed: int
    hidden_size: int

    @property
    def name(self) -> str:
        """What it is called."""
        core = f"{self.core}-two" if self.two_timescales else self.core
        return f"{core}-{self.size}x{self.size}-{self.steps}-{self.seed}"

    @property
    def minibatch(self) -> int:
        """Trials of a minibatch."""
        return max(1, MINIBATCH_STEPS // self.steps)

    @property
    def steps_per_iteration(self) -> int:
        """Environment steps."""
        return MINIBATCHES * self.minibatch * self.steps

    def options(self, iterations: int) -> list[str]:
        """The command line of the training."""
        return [
            *("train", "--mazes", "mst", "--size", str(self.size), "--horizon", str(self.steps)),
            *("--method", "warp-rnn" if self.two_timescales else "rl2", "--core", self.core),
            *("--hidden-size", str(self.hidden_size), *SIZES.get(self.core, ())),
            *("--seeds", str(self.seed)),
            *("--batch-size", str(MINIBATCHES * self.minibatch)),
            *("--minibatch-trials", str(self.minibatch)),
            *("--iterations", str(iterations), "--log-every", "1", "--checkpoint-every", "5"),
            *("--device", "cpu"),
        ]


def cases(asked: argparse.Namespace) -> Iterator[Case]:
    """What is asked for, the seeds one after the other."""
    for seed, size, steps in product(asked.seeds, asked.sizes, asked.steps):
        for core in asked.cores:
            yield Case(core, False, size, steps, seed, asked.hidden_size)
        for core in asked.two_timescales:
            yield Case(core, True, size, steps, seed, asked.hidden_size)


def trained(recipe: Recipe[Any], options: Sequence[str], place: Path, num_tests: int) -> float:
    """Train and test one agent as far as that is not done; returns its CPU seconds of training.

    Args:
        recipe: Of the training.
        options: Command line of the training, with ``--iterations``.
        place: Its run directory.
        num_tests: Tasks that it is tested on.
    """
    if not (place / "summary.json").exists():
        iterations = options[options.index("--iterations") + 1]
        with CpuClock(place / "cost.json"):
            if (place / "config.json").exists():
                run(recipe, ["train", "--resume", str(place), "--iterations", iterations])
            else:
                run(recipe, [*options, "--run-dir", str(place)])
        run(recipe, ["evaluate", str(place), "--tasks", str(num_tests), "--device", "cpu"])
    seconds = cpu_seconds(place / "cost.json")
    assert seconds is not None
    return seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is not trained yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/memory"))
    parser.add_argument("--cores", nargs="*", default=list(CORES), choices=list(CORES))
    parser.add_argument("--two-timescales", nargs="*", default=["warp"], choices=list(CORES))
    parser.add_argument("--sizes", nargs="+", type=int, default=[9, 13])
    parser.add_argument("--steps", nargs="+", type=int, default=[200, 400, 1000])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--env-steps", type=float, default=1e7)
    parser.add_argument("--cpu-seconds", type=float, default=600)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--tests", type=int, default=1000)
    asked = parser.parse_args(arguments)
    for case in cases(asked):
        iterations = max(1, round(asked.env_steps / case.steps_per_iteration))
        place = asked.runs / "steps" / case.name
        seconds = trained(RECIPE, case.options(iterations), place, asked.tests)
        if "time" in asked.arms:
            iterations = max(1, round(iterations * asked.cpu_seconds / seconds))
            place = asked.runs / "time" / case.name
            trained(RECIPE, case.options(iterations), place, asked.tests)


if __name__ == "__main__":
    main()
