"""Parts of many things by a hash of each: for training, for choosing settings, for reporting.

Where a thing falls does not depend on the others, on order, process or platform.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from numbers import Real
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Splits", "check_fractions", "deal_out"]

ItemT = TypeVar("ItemT")
SourceT = TypeVar("SourceT")


class Splits(NamedTuple, Generic[SourceT]):
    """Disjoint parts of a task set, or of a region of a family; together they are the whole."""

    train: SourceT
    validation: SourceT
    test: SourceT


def deal_out(
    items: Iterable[tuple[object, ItemT]], fractions: tuple[float, float, float], salt: str
) -> tuple[tuple[ItemT, ...], ...]:
    """Items parted by the hash of their names: train, validation and test, in the given order.

    Args:
        items: Pairs of a name and what is dealt out by it.
        fractions: Sizes of the three parts, as fractions.
        salt: Another string gives another split.

    Raises:
        ValueError: If a fraction is negative or they do not sum to 1.
    """
    check_fractions(*fractions)
    train, validation, _ = fractions
    parts: tuple[list[ItemT], ...] = ([], [], [])
    for name, item in items:
        # The same on every machine: a number in [0, 1) from the hash.
        digits = hashlib.sha256(f"{salt}/{name}".encode()).digest()[:6]
        place = int.from_bytes(digits, "big") / 2**48
        parts[0 if place < train else 1 if place < train + validation else 2].append(item)
    return tuple(tuple(part) for part in parts)


def check_fractions(train: float, validation: float, test: float) -> None:
    """Checks that the sizes of three parts are fractions of a whole.

    Raises:
        ValueError: If a fraction is negative or they do not sum to 1.
    """
    parts = f"train={train!r}, validation={validation!r}, test={test!r}"
    wanted = "they must be fractions of at least 0 that sum to 1"
    each: tuple[object, ...] = train, validation, test
    if not all(isinstance(part, Real) for part in each):
        raise ValueError(f"{parts}: {wanted}")
    total = train + validation + test
    if not (min(train, validation, test) >= 0 and abs(total - 1) <= 1e-9):
        raise ValueError(f"{parts} sum to {total}: {wanted}")
