"""The maze, end to end: ``python -m experiments.maze train|evaluate|render|export``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import get_args

from experiments.maze.settings import Method, Preset, TrainSettings, defaults
from metarl.run.command_line import option, parse, run_command, run_training

PROGRAM = "python -m experiments.maze"
COMMANDS = {
    "train": "train agents into a run directory",
    "evaluate": "measure a trained agent on fresh trials, or on held-out goals",
    "render": "draw or film a trial",
    "export": "copy a run without what only its resume needs",
}


def main(arguments: Sequence[str]) -> None:
    """Run one command; mistakes of the user end in one line and exit status 2."""
    run_command(PROGRAM, COMMANDS, run, arguments)


def run(command: str, prog: str, arguments: Sequence[str]) -> None:
    """Import only what the command needs: training has no use for the drawing libraries."""
    match command:
        case "train":
            run_train(prog, arguments)
        case "evaluate":
            from experiments.maze.evaluate import EvaluateSettings, evaluate

            evaluate(parse(EvaluateSettings, prog, arguments))
        case "render":
            from experiments.maze.render import RenderSettings, render

            render(parse(RenderSettings, prog, arguments))
        case "export":
            from experiments.maze.export import ExportSettings, export

            export(parse(ExportSettings, prog, arguments))


def run_train(prog: str, arguments: Sequence[str]) -> None:
    """Train; the preset and the method choose the defaults that the other options change."""
    from experiments.maze.train import default_run_dir, train

    default = defaults(
        option(arguments, "--preset", "default", get_args(Preset)),  # type: ignore[arg-type]
        option(arguments, "--method", "warp", get_args(Method)),  # type: ignore[arg-type]
    )
    settings = parse(TrainSettings, prog, arguments, default)
    place = settings.resume or settings.run_dir or default_run_dir(settings)
    run_training(prog, place, lambda: train(settings, arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
