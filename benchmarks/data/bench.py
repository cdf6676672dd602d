"""CPU time of drawing tasks, and of loading Omniglot.

    OMP_NUM_THREADS=1 python -m benchmarks.data.bench --data DIR

DIR holds Omniglot as `python -m experiments.omniglot download` leaves it. Figures are medians of
CPU time (`time.process_time`) of one thread.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from metarl.supervised import (
    REGRESSION_FAMILIES,
    AlphabetBatches,
    AlphabetSettings,
    Omniglot,
    alphabet_tasks,
    choose_alphabets,
    load_omniglot,
    omniglot_tasks,
    split_alphabets,
    split_characters,
)
from metarl.supervised.omniglot.download import default_folder

SETTINGS = ((5, 1, 1), (5, 5, 5), (5, 1, 15), (20, 1, 1), (20, 5, 5))
"""Ways, shots, query shots."""


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Median CPU time of a call."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(1000 * (time.process_time() - start))
    return statistics.median(times)


def report(name: str, value: float) -> None:
    print(f"| {name} | {value:.2f} |", flush=True)


def measure_loading(folder: Path) -> Omniglot:
    with tempfile.TemporaryDirectory() as cache:
        start = time.process_time()
        omniglot = load_omniglot(folder, cache=Path(cache))
        report("first load of Omniglot", 1000 * (time.process_time() - start))
        cached = milliseconds(lambda: load_omniglot(folder, cache=Path(cache)), 20)
        report("load from the cached tensor file", cached)
    return omniglot


def measure_few_shot(omniglot: Omniglot) -> None:
    train = omniglot.select(split_characters(omniglot.characters).train)
    generator = torch.Generator().manual_seed(0)
    for ways, shots, query in SETTINGS:
        tasks = omniglot_tasks(train, ways, shots, query)
        value = milliseconds(lambda tasks=tasks: tasks.sample(32, generator), 100)  # type: ignore[misc]
        report(f"32 tasks, {ways}-way {shots}-shot, {query} queries a class", value)


def measure_alphabets(omniglot: Omniglot) -> None:
    tasks = alphabet_tasks(omniglot, split_alphabets(omniglot, seed=0).pretrain)
    chosen = choose_alphabets(len(tasks), 20, torch.Generator().manual_seed(0))
    distorted = AlphabetBatches.start(tasks, chosen, AlphabetSettings(), (0,))
    report("20 alphabets x 20 images, distorted", milliseconds(distorted.minibatch, 100))
    plain = AlphabetBatches.start(tasks, chosen, AlphabetSettings(distortion=None), (0,))
    report("20 alphabets x 20 images, as they are", milliseconds(plain.minibatch, 100))
    report("20 alphabets x 100 held out, distorted", milliseconds(distorted.held_out, 20))


def measure_regression() -> None:
    generator = torch.Generator().manual_seed(0)
    for name, family in REGRESSION_FAMILIES.items():
        value = milliseconds(lambda f=family: f.sample_tasks(25, 10, 10, generator), 200)  # type: ignore[misc]
        report(f"{name}: 25 tasks x (10 + 10) points", value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=default_folder())
    folder = parser.parse_args().data
    torch.set_num_threads(1)
    print("| what | ms |\n|---|---:|")
    omniglot = measure_loading(folder)
    measure_few_shot(omniglot)
    measure_alphabets(omniglot)
    measure_regression()


if __name__ == "__main__":
    main()
