"""Every curriculum on the published levels: ``python -m benchmarks.curricula.train``.

For every curriculum its seeds are trained as one program, all on the same number of environment
steps, and then tested on levels that nobody has trained on, with both limits of steps:

    on-named-LIMIT   the eight named mazes and the two corridors, over and over
    on-fresh-LIMIT   fresh levels that can be solved, the same for all, several times each

What is done is left alone, so that the same command goes on after Ctrl-C or a kill, and a training
that was cut off is resumed. Set OMP_NUM_THREADS=1, so that CPU time is that of one core. Options
behind ``--`` are those of every training, such as ``-- --hidden-size 64``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch

from envs.base.tasks import TaskSet
from envs.minigrid.tasks import MinigridTask
from envs.problems import UEDMazes
from experiments.maze import RECIPE
from experiments.maze_evaluation import measured_on
from metarl.compare.work import CpuClock
from metarl.run import main as run
from metarl.run.trials import EvaluateSettings, Read, Trained, evaluate
from metarl.runs.place import holds_runs
from metarl.runs.seeds import find_runs
from metarl.train.curriculum import CURRICULA

LIMITS = 250, 450
"""Steps of an episode in tests: of JaxUED; of DCD and minimax."""

STEPS_PER_ITERATION = 256 * 256
"""Trials of an iteration, and steps of a trial."""

FRESH_SEED = 0
"""Of the fresh levels that are tested on."""


@dataclass(frozen=True)
class Tests:
    """How much is tested.

    Attributes:
        named: Trials in named mazes, of which each goal gets the same number.
        levels: Fresh levels.
        attempts: Trials in each of these.
    """

    named: int
    levels: int
    attempts: int

    def each(self) -> Iterator[tuple[str, Read, int]]:
        """Folders of results, what says what a run is tested on, and the trials there."""
        for limit in LIMITS:
            yield f"on-named-{limit}", partial(on_named, limit), self.named
            trials = self.levels * self.attempts
            yield f"on-fresh-{limit}", partial(on_fresh, limit, self.levels), trials

    def missing(self, place: Path) -> list[tuple[Read, int]]:
        """What the runs in a folder are still to be tested on, and the trials there."""
        runs = find_runs(place) if holds_runs(place) else []
        return [
            (read, trials)
            for folder, read, trials in self.each()
            if not (runs and all((each.path / folder / "summary.json").exists() for each in runs))
        ]


def on_named(limit: int, config: Mapping[str, Any]) -> Trained:
    """The named mazes, for the run with these settings."""
    measured = measured_on(RECIPE.settings_of(config), mazes="named", horizon=limit)
    return replace(measured, place=f"on-named-{limit}")


def on_fresh(limit: int, count: int, config: Mapping[str, Any]) -> Trained:
    """Fresh levels, for the run with these settings."""
    measured = measured_on(RECIPE.settings_of(config), horizon=limit)
    return replace(measured, source=fresh_levels(limit, count), place=f"on-fresh-{limit}")


@lru_cache
def fresh_levels(limit: int, count: int) -> TaskSet[MinigridTask]:
    """Levels of the side to report on, all of which can be solved; the same in every run."""
    generator = torch.Generator().manual_seed(FRESH_SEED)
    return TaskSet(UEDMazes(horizon=limit).test.sample(count, generator))


def train(method: str, seeds: Sequence[int], place: Path, iterations: int, more: list[str]) -> None:
    """Train the seeds of one curriculum as one program, or go on with them.

    The CPU time of all seeds together is in the folder of the lowest.
    """
    first = place if len(seeds) == 1 else place / f"seed-{min(seeds)}"
    with CpuClock(first / "cost.json"):
        if holds_runs(place):
            run(RECIPE, ["train", "--resume", str(place), "--iterations", str(iterations)])
            return
        run(
            RECIPE,
            [
                *("train", "--mazes", "ued", "--curriculum", method, "--iterations"),
                *(str(iterations), "--seeds", *map(str, seeds), "--run-dir", str(place)),
                *("--log-every", "1", "--checkpoint-every", "20", "--device", "cpu", *more),
            ],
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and test what is not trained and tested yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/curricula"))
    parser.add_argument("--methods", nargs="+", default=list(CURRICULA), choices=list(CURRICULA))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--env-steps", type=float, default=18e6, help="per agent")
    parser.add_argument("--named", type=int, default=3400, help="trials in named mazes")
    parser.add_argument("--levels", type=int, default=200, help="fresh levels of the test")
    parser.add_argument("--attempts", type=int, default=10, help="trials in each of these")
    parser.add_argument("more", nargs="*", metavar="-- OPTIONS", help="of every training")
    asked = parser.parse_args(arguments)
    iterations = max(1, round(asked.env_steps / STEPS_PER_ITERATION))
    tests = Tests(asked.named, asked.levels, asked.attempts)
    for method in asked.methods:
        place = asked.runs / method
        if tests.missing(place):
            train(method, asked.seeds, place, iterations, asked.more)
        for read, trials in tests.missing(place):
            evaluate(EvaluateSettings(run=place, tasks=trials, device="cpu"), read)


if __name__ == "__main__":
    main()
