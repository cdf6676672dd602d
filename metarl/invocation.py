"""Invocation of this program, so that commands it tells a user to type work where they are read.

    python -m experiments.maze train ...    a script of a checkout
    metarl train maze ...                   the console command, of a wheel or a checkout
    torchrun --nproc-per-node P -m ...      either of them, in P processes

`torchrun` says to each process, in its environment, which one it is (``RANK``, ``WORLD_SIZE``,
``LOCAL_RANK``) and where the others are found (``MASTER_ADDR``, ``MASTER_PORT``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from metarl.errors import UserError

WORDS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What `torchrun` says in the environment."""


class Called(NamedTuple):
    """Words before a command.

    Attributes:
        program: The console command, or the package of the scripts.
        scripts: Whether each recipe is a script of its own.
    """

    program: str = "metarl"
    scripts: bool = False


CONSOLE = Called()
"""How a user is told to type who has come from Python."""

_called: ContextVar[Called] = ContextVar("called", default=CONSOLE)


@contextmanager
def called(program: str, *, scripts: bool = False) -> Iterator[None]:
    """Tell users in the `with` block to type what they have typed; see `Called`."""
    before = _called.set(Called(program, scripts))
    try:
        yield
    finally:
        _called.reset(before)


def typed(command: str, recipe: str, *, of_run: bool = False) -> str:
    """Words that a user types for a command of a recipe.

    Args:
        command: Its name.
        recipe: The recipe's, with or without its package.
        of_run: Whether it is about a run, which says itself what recipe it is of.
    """
    program, scripts = _called.get()
    name = recipe.rpartition(".")[2]
    if scripts:
        return f"python -m {f'{program}.{name}'.lstrip('.')} {command}"
    return f"{program} {command}" if of_run else f"{program} {command} {name}"


def as_started(program: str) -> str:
    """Words that a user types to start the same number of processes.

    Args:
        program: What starts one: ``python -m MODULE ...``, or a command.
    """
    if count_of_launch() == 1:
        return program
    launcher = f"torchrun --nproc-per-node {os.environ.get('LOCAL_WORLD_SIZE', 'P')}"
    if program.startswith("python -m "):
        return f"{launcher} {program.removeprefix('python ')}"
    return f"{launcher} --no-python {program}"


def count_of_launch() -> int:
    """Number of processes that were started together: 1 without `torchrun`.

    Raises:
        UserError: What the environment says is no number.
    """
    if any(word not in os.environ for word in WORDS):
        return 1
    said = os.environ["WORLD_SIZE"]
    if not said.isdecimal() or int(said) < 1:
        raise UserError(f"WORLD_SIZE must be a number of processes, got {said!r}: use torchrun")
    return int(said)


def rank_of_launch() -> int:
    """Number of this process among those that were started together; 0 without `torchrun`."""
    return int(os.environ["RANK"]) if count_of_launch() > 1 else 0


def refuse_several(what: str) -> None:
    """Check that something which one process does is not started in several.

    Args:
        what: Its name, the subject of a sentence.

    Raises:
        UserError: It is.
    """
    if count_of_launch() > 1:
        raise UserError(f"{what} works in one process: start it without torchrun")
