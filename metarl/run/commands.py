"""Begin and end of a command: chosen by name, options read, mistakes told in a line.

What computes is imported by the command itself, and the parser where options are read, so that a
list of commands comes at once.
"""

from __future__ import annotations

import io
import os
import re
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import make_dataclass
from itertools import pairwise
from typing import Any, NoReturn, TypeVar

from metarl.errors import NonFiniteLossError, ProcessLostError, UserError, first_line
from metarl.invocation import rank_of_launch
from metarl.run.counts import check_memory, check_numbers

LARGE_DIGITS = 3
"""Counts of more digits are named where the memory does not suffice."""

BROKEN_PIPE = 141
"""Exit status of a process whose reader has gone, as a shell reports it: 128 + SIGPIPE."""

TOO_LARGE = (
    "DefaultCPUAllocator",
    "calculation overflowed",
    "integer multiplication overflow",
    "array is too big",
    "maximum allowed dimension",
    "bad_alloc",
    "out of memory",  # of a GPU
)
"""Words of torch and NumPy where there is no memory for a tensor, or its size has no number."""


def chosen(program: str, commands: Mapping[str, str], arguments: Sequence[str]) -> str | None:
    """Return the command that is asked for; None: help was, and has been printed.

    Args:
        program: What was typed before it, such as ``python -m experiments.NAME``.
        commands: What each command does, by name.
        arguments: The command, and its own.
    """
    command = next(iter(arguments), "--help")
    if command in ("-h", "--help"):
        print(usage(program, commands))
        return None
    if command not in commands:
        fail(f"unknown command {command!r}; it is one of {', '.join(commands)}")
    return command


@contextmanager
def brought_to_an_end(arguments: Sequence[str]) -> Iterator[None]:
    """Within it a command writes what the terminal can show, and ends in words and a status.

    Args:
        arguments: Of the command line.
    """
    with for_a_reader(), warnings_in_one_line(), told_in_one_line(arguments):
        yield


@contextmanager
def for_a_reader() -> Iterator[None]:
    """Write whatever the terminal can show, and end in silence where its reader has had enough."""
    write_anything()
    try:
        try:
            yield
        finally:  # of ``--help`` too, after which the parser ends the process
            sys.stdout.flush()
    except BrokenPipeError:  # as `head` leaves behind
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Warnings are for the user here: what is the matter, not which line of the program said so."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


def write_anything() -> None:
    """Let the terminal's encoding lack a character: it is written as its number."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def told_in_one_line(arguments: Sequence[str]) -> Iterator[None]:
    """Mistakes of the user end in one line on standard error, and the process with its status.

    Args:
        arguments: Of the command; the large counts among them are named where the memory does not
            suffice.
    """
    try:
        yield
    except UserError as error:
        fail(str(error), once=getattr(error, "said_by_first", False))
    except BrokenPipeError:
        raise
    except (NonFiniteLossError, OSError, ProcessLostError) as error:
        fail(str(error), status=1, once=isinstance(error, NonFiniteLossError))
    except (MemoryError, OverflowError, RuntimeError, ValueError) as error:
        if not is_too_large(error):
            raise
        fail(
            f"this does not fit the memory ({first_line(error)}); take less{largest_of(arguments)}"
        )
    except KeyboardInterrupt:
        fail("interrupted", status=130, once=True)


def is_too_large(error: Exception) -> bool:
    """Whether an exception says that something does not fit the memory."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or any(part.lower() in words for part in TOO_LARGE)


def largest_of(arguments: Sequence[str]) -> str:
    """The large counts of a command line, as the end of a sentence."""
    words = [part for word in arguments for part in word.split("=", 1)]
    large = [f"{a} {b}" for a, b in pairwise(words) if a.startswith("--") and _is_large(b)]
    return f" than {', '.join(large)}" if large else ""


def _is_large(word: str) -> bool:
    return word.isdecimal() and len(word.lstrip("0")) > LARGE_DIGITS


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


def fail(message: str, status: int = 2, *, once: bool = False) -> NoReturn:
    """End with one line on standard error.

    Args:
        message: What went wrong, and the remedy.
        status: Exit status.
        once: All processes of a job say it, so that the first one does for all.
    """
    rank = rank_of_launch()
    if rank == 0 or not once:
        print(f"error: {f'process {rank}: ' if rank else ''}{message}", file=sys.stderr)
    sys.exit(status)


# Options ------------------------------------------------------------------------------------------


SettingsT = TypeVar("SettingsT")


def parse(
    kind: type[SettingsT],
    prog: str,
    arguments: Sequence[str],
    default: SettingsT | None = None,
    *,
    config: Sequence[Any] = (),
) -> SettingsT:
    """Settings from the command line, none of whose counts is more than a machine can hold.

    Args:
        kind: The dataclass of settings.
        prog: ``python -m experiments.NAME COMMAND``.
        arguments: The options.
        default: The settings without options; None: those of the class.
        config: Of `tyro`.

    Raises:
        UserError: The settings refuse a value, or a count is too large.
        SystemExit: An option is unknown, or no value of its kind; the parser has said so.
    """
    import tyro

    usual: Any = tyro.MISSING_NONPROP if default is None else default
    try:
        settings: SettingsT = tyro.cli(
            kind, prog=prog, args=list(arguments), default=usual, config=config
        )
        check_numbers(settings)
        check_memory(settings)
    except ValueError as error:  # settings of the library, which know of no options
        raise refused(error) from error
    return settings


def refused(error: ValueError, names: Collection[str] = ()) -> UserError:
    """The refusal of a value by the library, by the name of its option.

    Args:
        error: The refusal.
        names: Settings that are options too where they stand before a number.
    """
    text = re.sub(r"^[a-z]\w*(?= must )", _as_option, str(error))
    beside = "|".join(names)
    return UserError(re.sub(rf"\b({beside})(?= \d)", _as_option, text) if names else text)


def _as_option(name: re.Match[str]) -> str:
    return f"--{name[0].replace('_', '-')}"


def option(arguments: Sequence[str], name: str, default: str | None = None) -> Any:
    """The value of one option, before the others are read; of several the last counts.

    Args:
        arguments: Of the command line.
        name: Of the option, such as ``--method``; ``_`` and ``-`` are one to the parser, and here.
        default: Its value where it is not given.

    Raises:
        SystemExit: It has no value; the parser has said so.
    """
    import tyro

    field = name.removeprefix("--").replace("-", "_")
    one = make_dataclass("Options", [(field, str | None, default)])
    found: Any
    found, _ = tyro.cli(one, args=list(arguments), return_unknown_args=True, add_help=False)
    return getattr(found, field)


def is_given(arguments: Sequence[str], name: str) -> bool:
    """Whether an option is on the command line, in any way that the parser takes."""
    return option(arguments, name) is not None
