"""JSON from outside, read into an object or refused by name."""

from __future__ import annotations

import json
from typing import Any, NoReturn

__all__ = ["json_object"]


def json_object(text: Any, name: str) -> dict[str, Any]:
    """The fields of a JSON object.

    Args:
        text: The JSON, text or bytes.
        name: What the object is, for the error message.

    Raises:
        ValueError: If it is no JSON, no object, holds NaN or an infinity, names a field twice, or
            is nested too deeply.
    """
    shown = repr(text[:80]) if isinstance(text, str | bytes) else repr(type(text).__name__)
    try:
        fields = json.loads(text, parse_constant=_refuse, object_pairs_hook=_once)
    except (ValueError, TypeError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise ValueError(f"not a {name}: {reason}; got {shown}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"not a {name}: expected a JSON object, got {shown}")
    return fields


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError(f"a field is named twice among {[name for name, _ in pairs][:8]}")
    return fields
