"""What an iteration takes of one thread, and of two that share its agents or tasks.

    OMP_NUM_THREADS=1 python -m benchmarks.scaling.threads [--rounds 5]

Kernels share agents that train side by side, and learners chunks of tasks (`--num-threads`); what
is learned is the same to the last bit. In every round each training runs with one thread and with
two, one after the other; the table has medians over iterations and rounds, by the clock, which is
worth something where nobody else computes, and the CPU time of both threads together.
"""

from __future__ import annotations

import argparse
import statistics

from benchmarks.scaling.bench import launched

LINES = {
    "two Warp-RNNs, 30 mazes × 200 steps each": ("maze --preset default --seeds 0 1", 25),
    "two LSTMs, the same": ("maze --method lstm --seeds 0 1", 25),
    "MAML on Omniglot, 5 ways, 64 filters, 32 tasks": (
        "omniglot --method maml --filters 64 --validate-every 1000 --chunk-size 16",
        8,
    ),
}
"""By name: a training, and how many iterations of it."""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print("| training | one thread, ms | two, ms | times as fast | CPU ms of one | of two |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, (line, iterations) in LINES.items():
        found = [
            [launched(1, f"{line} --num-threads {count}", iterations)[0][:2] for count in (1, 2)]
            for _ in range(rounds)
        ]  # [rounds][threads][CPU, clock], in seconds
        cpu = [1e3 * statistics.median(row[k][0] for row in found) for k in (0, 1)]
        clock = [1e3 * statistics.median(row[k][1] for row in found) for k in (0, 1)]
        ratio = statistics.median(one[1] / two[1] for one, two in found)
        print(
            f"| {name} | {clock[0]:.1f} | {clock[1]:.1f} | {ratio:.2f} | {cpu[0]:.1f} "
            f"| {cpu[1]:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
