"""In what settings differ, one by one, in words."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from metarl.runs.files import to_json


def differences(one: Any, other: Any, without: Collection[str] = ()) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ, by their paths, such as ``learner.lr``.

    Args:
        one: A dataclass or a mapping, with others in it.
        other: Another one; what one of the two does not have is None there.
        without: Names of settings at the top that make no difference.
    """
    values = [dict(_leaves(to_json(_named(each), "settings"), without)) for each in (one, other)]
    names = dict.fromkeys([*values[0], *values[1]])
    pairs = {name: (values[0].get(name), values[1].get(name)) for name in names}
    return {name: (a, b) for name, (a, b) in pairs.items() if a != b}


def in_words(found: Mapping[str, tuple[Any, Any]], here: str, there: str) -> str:
    """Return differences in words, where one and the other have their names."""
    return "; ".join(f"{n} is {a!r} {here}, {b!r} {there}" for n, (a, b) in found.items())


def _named(settings: Any) -> Mapping[str, Any]:
    return settings if isinstance(settings, Mapping) else vars(settings)


def _leaves(
    values: Mapping[str, Any], without: Collection[str] = (), prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if name in without:
            continue
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
