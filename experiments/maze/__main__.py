"""The maze, end to end: ``python -m experiments.maze train|evaluate|render|export``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import tyro

from experiments.maze.settings import TrainSettings, defaults
from metarl.devices import small_networks
from metarl.errors import UserError
from metarl.meta import NonFiniteLossError

COMMANDS = {
    "train": "train agents into a run directory",
    "evaluate": "measure a trained agent on fresh trials, or on held-out goals",
    "render": "draw or film a trial",
    "export": "copy a run without what only its resume needs",
}


def main(arguments: Sequence[str]) -> None:
    """Run one command; mistakes of the user end in one line and exit status 2."""
    command, *rest = arguments or ("--help",)
    if command in ("-h", "--help"):
        print(usage())
        return
    if command not in COMMANDS:
        fail(f"unknown command {command!r}; it is one of {', '.join(COMMANDS)}")
    try:
        with small_networks():
            run(command, f"python -m experiments.maze {command}", rest)
    except UserError as error:
        fail(str(error))
    except (NonFiniteLossError, OSError) as error:
        fail(str(error), status=1)
    except KeyboardInterrupt:
        fail("interrupted", status=130)


def run(command: str, prog: str, arguments: Sequence[str]) -> None:
    """Import only what the command needs: training has no use for the drawing libraries."""
    match command:
        case "train":
            run_train(prog, arguments)
        case "evaluate":
            from experiments.maze.evaluate import EvaluateSettings, evaluate

            evaluate(tyro.cli(EvaluateSettings, prog=prog, args=arguments))
        case "render":
            from experiments.maze.render import RenderSettings, render

            render(tyro.cli(RenderSettings, prog=prog, args=arguments))
        case "export":
            from experiments.maze.export import ExportSettings, export

            export(tyro.cli(ExportSettings, prog=prog, args=arguments))


def run_train(prog: str, arguments: Sequence[str]) -> None:
    """Train; the preset and the method choose the defaults that the other options change."""
    from experiments.maze.train import default_run_dir, train

    default = defaults(
        option(arguments, "--preset", "default"),  # type: ignore[arg-type]
        option(arguments, "--method", "warp"),  # type: ignore[arg-type]
    )
    settings = tyro.cli(TrainSettings, prog=prog, args=arguments, default=default)
    place = settings.resume or settings.run_dir or default_run_dir(settings)
    go_on = f"go on with: {prog} --resume {place}"
    try:
        runs = train(settings)
    except KeyboardInterrupt as interrupt:
        if not place.exists():
            raise
        # A second Ctrl-C does not wait for the checkpoint and says nothing.
        what = f"{interrupt}" if interrupt.args else "the last checkpoint stands"
        fail(f"interrupted, {what}; {go_on}", status=130)
    except OSError as error:  # a full disk, no permission
        if not place.exists():
            raise
        fail(f"{error}; the last checkpoint stands: mend this, then {go_on}", status=1)
    for finished in runs:
        print(f"trained: {finished.path}")


def option(arguments: Sequence[str], name: str, default: str) -> str:
    """The value of one option, before the others are read."""
    for here, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if here == name:
            return following
        if here.startswith(name + "="):
            return here.removeprefix(name + "=")
    return default


def usage() -> str:
    """The list of commands."""
    lines = [f"  {name:10} {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        (
            "usage: python -m experiments.maze COMMAND [OPTIONS]\n\ncommands:",
            *lines,
            "\n`python -m experiments.maze COMMAND --help` explains every option.",
        )
    )


def fail(message: str, status: int = 2) -> NoReturn:
    """End with one line on standard error."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
