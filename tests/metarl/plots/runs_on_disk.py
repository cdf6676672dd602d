"""Runs as if they had been trained."""

from pathlib import Path
from typing import Any

from metarl.runs.seeds import create_runs

ANCHORS = {"random": 2.0, "explore_then_exploit": 30.0}


def trained(path: Path, seeds: tuple[int, ...] = (0,), num_lines: int = 5, **config: Any) -> Path:
    """A run with metrics `return` = iteration + seed, as if it had been trained."""
    settings = {"method": "warp", "preset": "default", "iterations": 99, **config}
    for run in create_runs(path, seeds, settings, anchors=ANCHORS):
        with run:
            for iteration in range(10, 10 * num_lines + 1, 10):
                run.write_metrics(
                    iteration,
                    {
                        "return": iteration + run.config["seed"],
                        "loss": float("nan"),
                        "falling": -iteration,
                    },
                    wall_seconds=1.0,
                    env_steps=iteration * 6000,
                )
    return path
