"""The maze, end to end: ``python -m experiments.maze train|evaluate|render|export``.

Recurrent agents that learn a new maze within one trial: the two-timescale Warp-RNN of Flennerhag et
al. 2020, and baselines with one timescale, in the maze of Miconi et al. 2019.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.maze_problems import MazeReferences
from experiments.maze_settings import METHODS, TrainSettings, defaults
from metarl.core.cuda_graph import require_cuda
from metarl.devices import resolve_device
from metarl.methods.loading import describe_spaces
from metarl.run import Command, Recipe, Training, main
from metarl.run.command_line import parse

QUICK_SIZE = 13
"""Up to it the reference returns take seconds; beyond, up to minutes."""


def prepare(settings: TrainSettings) -> Training:
    """Make everything once, and return the training."""
    if settings.cuda_graph:
        require_cuda(resolve_device(settings.device))
    what = settings.trained()
    if settings.resume is None:  # a run of an earlier version may be more than there is now
        what.check(settings.device, settings.batch_size)
    return lambda runs, resume_to: what.train(
        runs,
        settings.loop,
        settings.batch_size,
        settings.device,
        resume_to=resume_to,
        cuda_graph=settings.cuda_graph,
    )


def place(settings: TrainSettings) -> Path:
    """Return a name that says what a run is, under ``runs/``."""
    return Path("runs") / f"maze{settings.environment.size}-{settings.core}-{settings.preset}"


def beside(settings: TrainSettings) -> dict[str, Any]:
    """Return what random actions, the explorers and the oracle earn on the training's goals."""
    maze = settings.environment
    if maze.size > QUICK_SIZE:
        size = f"{maze.size} x {maze.size}"
        print(f"planning the best walks of a {size} maze, to compare with", file=sys.stderr)
    known = asdict(MazeReferences(maze, maze.train).returns)
    return {"anchors": known, "spaces": describe_spaces(maze)}


def _evaluate(prog: str, arguments: Sequence[str]) -> None:
    from metarl.run.trials import EvaluateSettings, evaluate

    evaluate(parse(EvaluateSettings, prog, arguments), RECIPE.settings_of)


def _render(prog: str, arguments: Sequence[str]) -> None:
    from metarl.run.trials import RenderSettings, render

    render(parse(RenderSettings, prog, arguments), RECIPE.settings_of)


def _export(prog: str, arguments: Sequence[str]) -> None:
    from metarl.run.export import ExportSettings, export

    export(parse(ExportSettings, prog, arguments))


RECIPE = Recipe(
    name="experiments.maze",
    defaults=defaults,
    prepare=prepare,
    place=place,
    methods=METHODS,
    picks=("preset", "method", "core"),
    commands={  # what they import, training has no use for: the drawing libraries
        "evaluate": Command(
            "measure a trained agent on fresh trials, or on held-out goals", _evaluate
        ),
        "render": Command("draw or film a trial", _render),
        "export": Command("copy a run without what only its resume needs", _export),
    },
    unread=lambda settings: ("core",) if settings.method == "warp-rnn" else (),
    train="train agents into a run directory",
    may_move=("cuda_graph",),
    beside=beside,
)

if __name__ == "__main__":
    main(RECIPE)
