"""Options with a few named values: a misspelt one is refused, never taken for another."""

from __future__ import annotations

from collections.abc import Sequence


def check_choice(option: str, value: object, choices: Sequence[str]) -> None:
    """Refuse what is none of the choices.

    Raises:
        ValueError: It is none of them.
    """
    if value not in choices:
        raise ValueError(f"{option} must be one of {', '.join(choices)}; got {value!r}")
