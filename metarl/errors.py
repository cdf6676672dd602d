"""The errors that a user can mend; their messages name the value at fault and the remedy.

Scripts catch `UserError` alone and print its message without a traceback. Mistakes of a programmer
stay `TypeError`, `ValueError` and so on, with their traceback. Two kinds are checked for here:
options with a few named values, and keywords that published code has under another name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

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
