"""Whole numbers from outside: counts, horizons, sizes, seeds; refused by name if they are none.

Where a seed enters, all of it counts: torch's CPU generators read the low 32 bits only, so larger
seeds are hashed.
"""

from __future__ import annotations

import hashlib
import operator
import reprlib
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

__all__ = ["check_seed", "check_seeds", "torch_seed", "whole_number"]

TORCH_BITS = 32
"""The bits of a seed that torch's CPU generator reads."""

LARGEST = 2**31 - 1
"""More environments, steps or cells than this are a slip: torch counts elements with 63 bits."""


def whole_number(value: Any, name: str, *, least: int = 1, most: int = LARGEST) -> int:
    """The value as an integer.

    Args:
        value: An integer of Python, NumPy or torch, or a float without a fraction (13.0, as JSON
            may have it).
        name: What the caller calls it.
        least: The smallest value allowed.
        most: The largest value allowed.

    Raises:
        ValueError: If it is anything else (a truth value, a fraction, a text) or out of range.
    """
    number = _index(value)
    if number is None and isinstance(value, float | np.floating) and value.is_integer():
        number = int(value)
    if number is None:
        raise ValueError(f"{name} must be a whole number, at least {least}, got {_shown(value)}")
    if not least <= number <= most:
        bound = f"least {least}" if number < least else f"most {most}"
        raise ValueError(f"{name} must be at {bound}, got {_shown(value)}")
    return number


def check_seed(seed: Any) -> int:
    """The seed as a Python integer.

    Raises:
        TypeError: If it is no integer of Python, NumPy or torch; a truth value is none.
        ValueError: If it is negative.
    """
    number = _index(seed)
    if number is None:
        raise TypeError(f"a seed must be a whole number, at least 0, got {_shown(seed)}")
    if number < 0:
        raise ValueError(f"a seed must be at least 0, got {_shown(seed)}")
    return number


def check_seeds(seeds: Any, num_seeds: int) -> list[int | None]:
    """One seed for each of `num_seeds`; None leaves its generator as it is.

    Args:
        seeds: An integer s for s, s + 1, ..., or a sequence of seeds and None.
        num_seeds: How many are wanted.

    Raises:
        ValueError: If there is another number of them, or one is negative.
        TypeError: If one is no whole number.
    """
    if isinstance(seeds, np.ndarray) and seeds.ndim == 1:
        seeds = list(seeds)
    if not isinstance(seeds, Sequence) or isinstance(seeds, str | bytes):
        first = check_seed(seeds)
        return [first + number for number in range(num_seeds)]
    checked = [None if seed is None else check_seed(seed) for seed in seeds]
    if len(checked) != num_seeds:
        raise ValueError(
            f"got {len(checked)} seeds for {num_seeds} generators: give an integer or one seed for "
            f"each generator"
        )
    return checked


def torch_seed(seed: int) -> int:
    """What a torch generator is seeded with: below 2^32 the seed itself, above it a hash.

    A generator on the CPU reads the lowest 32 bits of its seed alone, which would make 2^32 and 0
    the same seed.

    Args:
        seed: At least 0, of any size.

    Raises:
        TypeError: If it is no integer.
        ValueError: If it is negative.
    """
    number = check_seed(seed)
    if number < 2**TORCH_BITS:
        return number
    digits = format(number, "d") if number < 10**1000 else format(number, "x")
    return int.from_bytes(hashlib.sha256(digits.encode()).digest()[:4], "big")


def _index(value: Any) -> int | None:
    """The value as an integer, None if it is none; truth values are none."""
    if isinstance(value, bool) or "bool" in str(getattr(value, "dtype", "")):
        return None
    try:
        return operator.index(value)
    except (TypeError, RuntimeError):
        return None


def _shown(value: Any) -> str:
    """The value as text, cut to what is read at a glance."""
    if isinstance(value, int) and abs(value) >= 10**30:  # as text it may be refused or endless
        return f"an integer of {value.bit_length()} bits"
    return str(value) if isinstance(value, Real) else reprlib.repr(value)
