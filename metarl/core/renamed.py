"""Keywords that published code has under another name: refused with ours."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


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
