"""The errors that a user can mend; their messages name the value at fault and the remedy.

Scripts catch `UserError` alone and print its message without a traceback. Mistakes of a programmer
stay `TypeError`, `ValueError` and so on, with their traceback. Four kinds are checked for here:
options with a few named values, counts, values that are to be different, and keywords that
published code has under another name.

`understood` is the border where bytes of a file become values. A file may have been cut short,
damaged, edited by hand or made by somebody else. What a reader of JSON, zip, pickle or pixels
raises then is anything: `ValueError`, `KeyError`, `OverflowError`, `RecursionError`,
`struct.error`, `zlib.error`, `MemoryError`. No list of them is ever complete, so everything is
caught, and the border stands around the reading alone:

    data = path.read_bytes()                  # outside: what the disk says is an OSError
    with understood(path, "is not valid JSON", "restore it"):
        content = json.loads(data)            # inside: what the bytes say
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


class UserError(Exception):
    """Something outside the program is wrong: an argument, a file, a device.

    Not a `ValueError`: tyro would catch that in the settings' own checks, and wrap it in a box.
    """


class RunDirectoryError(UserError):
    """A run directory is missing, foreign, damaged or already there."""


class LockedError(RunDirectoryError):
    """Another process works in a directory."""


class CheckpointError(UserError):
    """A checkpoint is missing, foreign, damaged or of another version."""


class DeviceError(UserError):
    """A device was asked for that this machine or this torch does not have."""


class ProcessLostError(Exception):
    """Another process of the same job has ended or hangs: this one cannot go on alone."""


class NonFiniteLossError(ArithmeticError):
    """A loss or gradient became NaN or infinite.

    Attributes:
        agents: Which of the stacked agents' it was; empty where that was not said.
    """

    def __init__(self, message: str, agents: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.agents = tuple(agents)


def check_choice(option: str, value: object, choices: Sequence[str]) -> None:
    """Check that an option has one of its values; a misspelt one is never taken for another.

    Raises:
        ValueError: It is none of them.
    """
    if value not in choices:
        raise ValueError(f"{option} must be one of {', '.join(choices)}; got {value!r}")


def check_choices(settings: Any) -> None:
    """Check every field of a dataclass that has a few named values (`check_choice`).

    Raises:
        ValueError: A field has another value.
    """
    kind: Any = type(settings)
    for name, (choices, alone) in _choices(kind).items():
        value = getattr(settings, name)
        if alone or isinstance(value, str):
            check_choice(name, value, choices)


@functools.cache
def _choices(kind: Any) -> dict[str, tuple[tuple[str, ...], bool]]:
    """The fields of a dataclass that are one of some words, with these, and whether that is all.

    Otherwise they may be something else that is no word, such as ``int | Literal["auto"]``.
    """
    found = {}
    hints = get_type_hints(kind)
    for field in fields(kind):
        hint = hints[field.name]
        parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        words = [word for one in parts if get_origin(one) is Literal for word in get_args(one)]
        if words and str not in parts:
            found[field.name] = tuple(words), all(get_origin(one) is Literal for one in parts)
    return found


def is_finite_number(value: Any) -> bool:
    """Whether a value is a number, neither NaN nor infinite; a text is none."""
    try:
        return not isinstance(value, str | bytes) and math.isfinite(value)
    except (TypeError, ValueError, OverflowError):
        return False


def check_counts(
    *, least: int = 1, error: type[Exception] = ValueError, **counts: int | None
) -> None:
    """Check that counts are whole numbers and not too small; None is none.

    Args:
        least: The smallest that is taken.
        error: What is raised.
        counts: The counts by name.

    Raises:
        Exception: Of that kind: one is no whole number, or smaller.
    """
    for name, count in counts.items():
        if count is None:
            continue
        if not hasattr(count, "__index__"):
            raise error(f"{name} must be a whole number, got {count!r}")
        if count < least:
            raise error(f"{name} must be at least {least}, got {count}")


def check_different(
    values: Sequence[Any], name: str, *, error: type[Exception] = ValueError
) -> None:
    """Check that values are at least one, none is there twice, and no number negative.

    Raises:
        Exception: Of the kind `error`: they are not.
    """
    if not values:
        raise error(f"{name} needs at least one value")
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise error(f"{name} must be different, got {twice} twice")
    negative = [value for value in values if not isinstance(value, str) and value < 0]
    if negative:
        raise error(f"{name} must not be negative, got {negative[0]}")


def renamed(**names: str) -> Callable[[FunctionT], FunctionT]:
    """Name our keyword where a function is called with the published one.

    Args:
        names: By the published keyword, what it is here.

    Returns:
        A decorator; the function raises TypeError for these keywords.
    """

    def decorated(function: FunctionT) -> FunctionT:
        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            for name in names.keys() & kwargs.keys():
                what = function.__qualname__.removesuffix(".__init__")
                raise TypeError(f"{what} has no {name}={kwargs[name]!r}: use {names[name]}")
            return function(*args, **kwargs)

        return checked  # type: ignore[return-value]

    return decorated


LONGEST_REASON = 160
"""Characters of a reader's own message that are passed on."""


@contextmanager
def understood(
    path: Path | str, problem: str, remedy: str, error: type[UserError] = RunDirectoryError
) -> Iterator[None]:
    """Name the file where its bytes cannot be understood.

    Args:
        path: The file, or the part of it.
        problem: What is wrong with it then: ``is not valid JSON``.
        remedy: What the user can do.
        error: What is raised.

    Raises:
        UserError: Of the given kind, in place of any exception inside; one that is a `UserError`
            already passes, as do interrupts.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as reason:
        raise error(f"{path} {problem} ({first_line(reason)}); {remedy}") from reason


def first_line(reason: Exception) -> str:
    """The kind of an exception and the first line of its message, shortened."""
    text = str(reason).strip()
    line = text.splitlines()[0] if text else ""
    short = line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}…"
    return f"{type(reason).__name__}: {short}" if short else type(reason).__name__
