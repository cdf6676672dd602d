"""How a command begins and ends: chosen among others by its name, its mistakes told in one line.

What computes is imported by the command itself, so that a list of commands comes at once.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import NoReturn

from metarl.errors import NonFiniteLossError, ProcessLostError, UserError, first_line
from metarl.invocation import rank_of_launch

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
