"""All speed benchmarks, one after the other: ``make bench``."""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = {
    "Maze steps": ("benchmarks.stepping.bench",),
    "Minigrid steps": ("benchmarks.minigrid.stepping",),
    "Training iteration": ("benchmarks.training_step.bench",),
    "Meta-gradient": ("benchmarks.meta_step", "--cases", "mlp"),
    "Adaptation by policy gradient": ("benchmarks.adaptation_step",),
    "Growth of the training iteration": ("benchmarks.training_step.bench", "--growth"),
}


def main() -> None:
    """Run each in a process of its own."""
    for title, (module, *arguments) in BENCHMARKS.items():
        print(f"\n## {title}\n", flush=True)
        subprocess.run([sys.executable, "-m", module, *arguments], check=True)


if __name__ == "__main__":
    main()
