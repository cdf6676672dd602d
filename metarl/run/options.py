"""Options of a command line: settings from all of them, and one before the others are read."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import make_dataclass
from typing import Any, TypeVar

import tyro

from metarl.errors import UserError
from metarl.run.counts import check_counts, check_memory

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
    usual: Any = tyro.MISSING_NONPROP if default is None else default
    try:
        settings: SettingsT = tyro.cli(
            kind, prog=prog, args=list(arguments), default=usual, config=config
        )
        check_counts(settings)
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
    field = name.removeprefix("--").replace("-", "_")
    one = make_dataclass("Options", [(field, str | None, default)])
    found: Any
    found, _ = tyro.cli(one, args=list(arguments), return_unknown_args=True, add_help=False)
    return getattr(found, field)


def is_given(arguments: Sequence[str], name: str) -> bool:
    """Whether an option is on the command line, in any way that the parser takes."""
    return option(arguments, name) is not None
