"""What a request may ask for: every value is looked at before anything is done with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn

from metarl.errors import UserError

SHOWN = 60
"""Characters of a wrong value that are shown."""


class Asked:
    """The fields of a JSON object, each taken once.

    Args:
        fields: The object.
        known: Names of the fields that it may have.

    Raises:
        UserError: It is no object, or has others.
    """

    def __init__(self, fields: Any, known: Collection[str]) -> None:
        if not isinstance(fields, Mapping):
            raise UserError(f"send a JSON object with {', '.join(known)}, not {_shown(fields)}")
        unknown = [name for name in fields if name not in known]
        if unknown:
            raise UserError(f"{_shown(unknown[0])} is no field here: they are {', '.join(known)}")
        self._fields = fields

    def any(self, name: str) -> Any:
        """A field as it is; None where it is not given."""
        return self._fields.get(name)

    def text(self, name: str) -> str:
        """A text that must be given."""
        value = self._fields.get(name)
        if not isinstance(value, str):
            self._refuse(name, "a text")
        return value

    def whole(self, name: str, least: int, most: int, default: int | None = None) -> int:
        """A whole number; the default where it is not given."""
        found = self.whole_or_none(name, least, most)
        if found is not None:
            return found
        if default is None:
            self._refuse(name, f"a whole number from {least} to {most}")
        return default

    def whole_or_none(self, name: str, least: int, most: int) -> int | None:
        """A whole number, or None where it is not given."""
        value = self._fields.get(name)
        if value is None:
            return None
        if type(value) is not int or not least <= value <= most:
            self._refuse(name, f"a whole number from {least} to {most}")
        return value

    def flag(self, name: str) -> bool:
        """Whether something is asked for; False where it is not given."""
        value = self._fields.get(name, False)
        if not isinstance(value, bool):
            self._refuse(name, "true or false")
        return value

    def choice(self, name: str, choices: Sequence[str]) -> Any:
        """One of a few texts, or None where it is not given."""
        value = self._fields.get(name)
        if value is not None and value not in choices:
            self._refuse(name, f"one of {', '.join(choices)}, or left out")
        return value

    def numbers(self, name: str, most: int, count: int) -> list[int]:
        """A list of whole numbers from 0.

        Args:
            name: Of the field.
            most: The largest number.
            count: The most numbers.
        """
        value = self._fields.get(name)
        if (
            not isinstance(value, list)
            or len(value) > count
            or not all(type(one) is int and 0 <= one <= most for one in value)
        ):
            self._refuse(name, f"a list of at most {count} whole numbers from 0 to {most}")
        return value

    def _refuse(self, name: str, wanted: str) -> NoReturn:
        raise UserError(f"{name} must be {wanted}, got {_shown(self._fields.get(name))}")


def _shown(value: Any) -> str:
    """A value of JSON in few characters."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
