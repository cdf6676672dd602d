"""How an iteration grows: ``python -m benchmarks.adaptation_step.growth [--device cuda]``.

Time and peak memory by inner steps, tasks and horizon, second and first order, all tasks at once
and in chunks; each figure from a process of its own. `Setting` says what stands still.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import asdict, replace

from benchmarks.adaptation_step.iteration import Setting, own, peak, seconds
from metarl.devices import small_networks

NUM_STEPS = (1, 2, 3, 5)
NUM_TASKS = (5, 20, 100, 300, 1000)
HORIZONS = (50, 100, 200)
CHUNKS = (None, 20, 5)
MOST_AT_ONCE = 300
"""Tasks in one piece: more would not fit beside other work."""


def measure(setting: Setting, repeats: int) -> tuple[float, float]:
    """Median seconds, and megabytes that the peak grew by."""
    own(replace(setting, num_tasks=1, episodes=2, horizon=2, chunk_size=None))()
    run, before = own(setting), peak(setting.device)
    times = [seconds(run, setting.device) for _ in range(repeats + 1)]
    return statistics.median(times[1:] or times), peak(setting.device) - before


def in_a_process(setting: Setting, repeats: int) -> str:
    """``seconds, MB`` for a cell of a table."""
    if setting.num_tasks > MOST_AT_ONCE and setting.chunk_size is None:
        return "not run"
    arguments = ("--of", json.dumps(asdict(setting)), "--repeats", str(repeats))
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.adaptation_step.growth"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True)
    time, memory = json.loads(done.stdout.strip().splitlines()[-1])
    return f"{1e3 * time:,.0f} ms, {memory:,.0f} MB"


def table(name: str, rows: dict[str, Setting], repeats: int) -> None:
    """Second order by size of chunks, then first order."""
    chunks = ["all at once", *(f"{c} at a time" for c in CHUNKS if c)]
    heads = [name, *chunks, "first order, all at once", "first order, 20 at a time"]
    print("\n| " + " | ".join(heads) + " |\n|---|" + "---:|" * (len(heads) - 1))
    for label, setting in rows.items():
        variants = [replace(setting, chunk_size=c) for c in CHUNKS]
        variants += [replace(setting, chunk_size=c, first_order=True) for c in (None, 20)]
        cells = [in_a_process(v, 1 if v.num_tasks >= MOST_AT_ONCE else repeats) for v in variants]
        print(f"| {label} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """One figure, or all of them as tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--of", metavar="JSON", help="print one figure")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.of:
        with small_networks():
            print(json.dumps(measure(Setting(**json.loads(options.of)), options.repeats)))
        return
    base, repeats = Setting(device=options.device), options.repeats
    table("inner steps K", {str(k): replace(base, num_steps=k) for k in NUM_STEPS}, repeats)
    table("tasks N", {f"{n:,}": replace(base, num_tasks=n) for n in NUM_TASKS}, repeats)
    table("horizon T", {str(t): replace(base, horizon=t) for t in HORIZONS}, repeats)


if __name__ == "__main__":
    main()
