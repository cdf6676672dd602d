"""The maze, end to end: ``python -m experiments.maze train|evaluate|render|export``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import torch
import tyro

from experiments.maze.evaluate import EvaluateSettings, evaluate
from experiments.maze.export import ExportSettings, export
from experiments.maze.render import RenderSettings, render
from experiments.maze.settings import TrainSettings, defaults
from experiments.maze.train import train
from metarl.errors import UserError
from metarl.meta import NonFiniteLossError

COMMANDS = ("train", "evaluate", "render", "export")
USAGE = """usage: python -m experiments.maze COMMAND [OPTIONS]

commands:
  train      train agents into a run directory
  evaluate   measure a trained agent on tasks it has not seen, or on fresh ones
  render     draw or film a trial
  export     copy a run without what only its resume needs

`python -m experiments.maze COMMAND --help` explains every option."""


def main(arguments: Sequence[str]) -> None:
    """Run one command; mistakes of the user end in one line and exit status 2."""
    command, *rest = arguments or ("--help",)
    if command in ("-h", "--help"):
        print(USAGE)
        return
    if command not in COMMANDS:
        fail(f"unknown command {command!r}; it is one of {', '.join(COMMANDS)}")
    # Networks of this size are several times slower in two threads than in one, and denormal
    # numbers, which vanishing gradients are full of, slower still.
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    prog = f"python -m experiments.maze {command}"
    try:
        match command:
            case "train":
                run_train(prog, rest)
            case "evaluate":
                evaluate(tyro.cli(EvaluateSettings, prog=prog, args=rest))
            case "render":
                render(tyro.cli(RenderSettings, prog=prog, args=rest))
            case "export":
                export(tyro.cli(ExportSettings, prog=prog, args=rest))
    except UserError as error:
        fail(str(error))
    except NonFiniteLossError as error:
        fail(str(error), status=1)


def run_train(prog: str, arguments: Sequence[str]) -> None:
    """Train; the preset and the method choose the defaults that the other options change."""
    default = defaults(
        option(arguments, "--preset", "default"),  # type: ignore[arg-type]
        option(arguments, "--method", "warp"),  # type: ignore[arg-type]
    )
    settings = tyro.cli(TrainSettings, prog=prog, args=arguments, default=default)
    try:
        runs = train(settings)
    except KeyboardInterrupt as interrupt:
        place = settings.resume or settings.run_dir or "RUN"
        print(f"\ninterrupted, {interrupt}; go on with: {prog} --resume {place}", file=sys.stderr)
        sys.exit(130)
    for run in runs:
        print(f"trained: {run.path}")


def option(arguments: Sequence[str], name: str, default: str) -> str:
    """The value of one option, before the others are read."""
    for here, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if here == name:
            return following
        if here.startswith(name + "="):
            return here.removeprefix(name + "=")
    return default


def fail(message: str, status: int = 2) -> NoReturn:
    """End with one line on standard error."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
