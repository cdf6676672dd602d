"""What `python -m experiments.NAME COMMAND` does around its work: commands, errors, exit status."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any, NoReturn

import tyro

from metarl.devices import small_networks
from metarl.errors import UserError
from metarl.meta import NonFiniteLossError
from metarl.runs.directory import RunDirectory

BROKEN_PIPE = 141
"""Exit status of a process whose reader has gone, as a shell reports it: 128 + SIGPIPE."""


def run_command(
    program: str,
    commands: Mapping[str, str],
    run: Callable[[str, str, Sequence[str]], None],
    arguments: Sequence[str],
) -> None:
    """Run one command; mistakes of the user end in one line and exit status 2.

    Args:
        program: ``python -m experiments.NAME``.
        commands: What each command does, by name.
        run: Does the work, given the command, ``PROGRAM COMMAND`` and the other arguments.
        arguments: Of the command line.
    """
    write_anything()
    try:
        _run_command(program, commands, run, arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads has had enough, as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)


def write_anything() -> None:
    """Let the terminal's encoding lack a character: it is written as its number."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _run_command(
    program: str,
    commands: Mapping[str, str],
    run: Callable[[str, str, Sequence[str]], None],
    arguments: Sequence[str],
) -> None:
    command, *rest = arguments or ("--help",)
    if command in ("-h", "--help"):
        print(usage(program, commands))
        return
    if command not in commands:
        fail(f"unknown command {command!r}; it is one of {', '.join(commands)}")
    try:
        with small_networks():
            run(command, f"{program} {command}", rest)
    except UserError as error:
        fail(str(error))
    except BrokenPipeError:
        raise
    except (NonFiniteLossError, OSError) as error:
        fail(str(error), status=1)
    except KeyboardInterrupt:
        fail("interrupted", status=130)


def run_training(prog: str, place: Path, train: Callable[[], Sequence[RunDirectory]]) -> None:
    """Train; an interruption says how to go on.

    Args:
        prog: ``python -m experiments.NAME train``.
        place: The run directory, or the folder of several.
        train: Does it.
    """
    go_on = f"go on with: {prog} --resume {place}"
    try:
        runs = train()
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


def option(arguments: Sequence[str], name: str, default: str, choices: Sequence[str]) -> str:
    """The value of one option, before the others are read.

    Args:
        arguments: Of the command line.
        name: Of the option, such as ``--method``; ``_`` and ``-`` are one to the parser, and here.
        default: Its value where it is not given.
        choices: What it may be; empty: anything.

    Raises:
        UserError: It is none of the choices.
        SystemExit: It has no value; the parser has said so.
    """
    value = _read(arguments, name, default)
    if choices and value not in choices:
        raise UserError(f"{name} {value!r} is not one of {', '.join(choices)}")
    return value


def is_given(arguments: Sequence[str], name: str) -> bool:
    """Whether an option is on the command line, in any way that the parser takes."""
    return _read(arguments, name, None) is not None


def _read(arguments: Sequence[str], name: str, default: Any) -> Any:
    """One option as `tyro` reads it, by its rules: ``--x-y V``, ``--x_y=V``, the last counts."""
    field = name.removeprefix("--").replace("-", "_")
    one = make_dataclass("Options", [(field, str | None, default)])
    found: Any
    found, _ = tyro.cli(one, args=list(arguments), return_unknown_args=True, add_help=False)
    return getattr(found, field)


def usage(program: str, commands: Mapping[str, str]) -> str:
    """The list of commands."""
    lines = [f"  {name:10} {what}" for name, what in commands.items()]
    return "\n".join(
        (
            f"usage: {program} COMMAND [OPTIONS]\n\ncommands:",
            *lines,
            f"\n`{program} COMMAND --help` explains every option.",
        )
    )


def fail(message: str, status: int = 2) -> NoReturn:
    """End with one line on standard error."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)
