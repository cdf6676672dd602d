"""Mazes per CPU second: generators, searches, hashes and draws of families, one thread.

    OMP_NUM_THREADS=1 python -m benchmarks.mazes.generators

Each entry is the best of several rounds in CPU time of the thread, so that other work on the
machine counts only by what it does to the caches. Prints the table of README.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from benchmarks.mazes.learning_step import processor
from envs import MazeFamily, layout_hash
from envs.maze.bits import free_rows, pack_rows
from envs.maze.generators import GENERATORS
from envs.maze.search import cell_masks, distances, reachable

CASES = ((13, 30), (13, 1_024), (13, 8_192), (25, 1_024), (25, 8_192))
"""Sides and numbers of mazes at once."""

NAMES = ("dfs", "mst", "ust", "prim", "rooms", "walls", "caves")
CPU = torch.device("cpu")

Work = Callable[[int, int, torch.Generator], Callable[[], object]]
"""From a side, a number of mazes and a generator to what is timed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU seconds per entry, about")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{processor()}, torch {torch.__version__}, 1 thread; mazes per CPU second\n")
    print("| | " + " | ".join(f"side {side}, {n:,} at once" for side, n in CASES) + " |")
    print("|---|" + "---:|" * len(CASES))
    for name, work in works().items():
        speeds = [speed(work, side, n, arguments.seconds) for side, n in CASES]
        print(f"| {name} | " + " | ".join(f"{rounded(x):,}" for x in speeds) + " |")


def works() -> dict[str, Work]:
    """What is timed, by name."""
    found: dict[str, Work] = {f"`{name}`": generation(name) for name in NAMES}
    found["packed walls to reachable cells"] = searching(reachable)
    found["packed walls to all distances from a cell"] = searching(distances)
    found["hash"] = hashing(up_to_symmetry=False)
    found["hash up to symmetry"] = hashing(up_to_symmetry=True)
    found["tasks of `MazeFamily('dfs', side)`"] = drawing(lambda side: MazeFamily("dfs", side))
    found["those of its training part"] = drawing(
        lambda side: MazeFamily("dfs", side).split().train
    )
    return found


def generation(name: str) -> Work:
    return lambda side, n, generator: lambda: GENERATORS[name](n, side, generator, CPU)


def searching(search: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Work:
    def work(side: int, n: int, generator: torch.Generator) -> Callable[[], object]:
        rows = pack_rows(GENERATORS["dfs"](n, side, generator, CPU))
        start = cell_masks(torch.ones(n, 2, dtype=torch.int64), side) & free_rows(rows)
        return lambda: search(rows, start)

    return work


def hashing(*, up_to_symmetry: bool) -> Work:
    def work(side: int, n: int, generator: torch.Generator) -> Callable[[], object]:
        rows = pack_rows(GENERATORS["dfs"](n, side, generator, CPU))
        return lambda: layout_hash(rows, up_to_symmetry=up_to_symmetry)

    return work


def drawing(make: Callable[[int], MazeFamily]) -> Work:
    def work(side: int, n: int, generator: torch.Generator) -> Callable[[], object]:
        family = make(side)
        return lambda: family.draw(n, generator, CPU)

    return work


def speed(work: Work, side: int, n: int, seconds: float) -> float:
    """Mazes per CPU second, in the best round."""
    timed = work(side, n, torch.Generator().manual_seed(0))
    best, spent, rounds = float("inf"), 0.0, 0
    while rounds < 3 or spent < seconds:
        started = time.thread_time()
        timed()
        took = time.thread_time() - started
        best, spent, rounds = min(best, took), spent + took, rounds + 1
    return n / best


def rounded(number: float) -> int:
    """Three digits."""
    return int(float(f"{number:.3g}"))


if __name__ == "__main__":
    main()
