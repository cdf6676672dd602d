"""Sizes of a core beside its inputs and hidden units, as words: ``layers=3 heads=8``.

A core's own whole numbers are fields of its dataclass, and so a new core brings its sizes with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, cast

from metarl.nn.recurrent import RecurrentCore


def sizes_of(core: RecurrentCore) -> dict[str, int]:
    """Sizes of a core by name, but for its inputs and hidden units."""
    own = [f.name for f in fields(cast(Any, core)) if f.type in ("int", int)]
    return {n: getattr(core, n) for n in own if n not in ("input_size", "hidden_size")}


def with_sizes(core: RecurrentCore, words: Sequence[str]) -> RecurrentCore:
    """The same core with other sizes.

    Args:
        core: The core.
        words: ``NAME=COUNT`` each.

    Raises:
        ValueError: A word is none, the core has no such size, or it is out of range.
    """
    known = sizes_of(core)
    given: dict[str, int] = {}
    for word in words:
        name, sign, count = word.partition("=")
        if not sign or not count.isdecimal():
            raise ValueError(f"a size is NAME=COUNT, such as layers=3, got {word!r}")
        if name not in known:
            there = ", ".join(known) or "none but the hidden units"
            raise ValueError(f"{word!r} is no size of a {type(core).__name__}, which has: {there}")
        if int(count) < 1 or name in given:
            raise ValueError(f"{name} must be at least 1, and said once, got {' '.join(words)}")
        given[name] = int(count)
    return cast(RecurrentCore, replace(cast(Any, core), **given))
