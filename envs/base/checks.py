"""Values from outside, read or refused by name: numbers, seeds, cells, JSON, options, actions.

Where a seed enters, all of it counts: torch's CPU generators read the low 32 bits only, so larger
seeds are hashed.
"""

from __future__ import annotations

import hashlib
import json
import math
import operator
import reprlib
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from .arrays import as_tensor

__all__ = [
    "as_actions",
    "as_cell",
    "check_discrete",
    "check_horizon",
    "check_options",
    "check_render_mode",
    "check_seed",
    "check_seeds",
    "float32_array",
    "float32_tuple",
    "is_finite_number",
    "json_object",
    "torch_seed",
    "whole_number",
]

TORCH_BITS = 32
"""The bits of a seed that torch's CPU generator reads."""

LARGEST = 2**31 - 1
"""More environments, steps or cells than this are a slip: torch counts elements with 63 bits."""


def whole_number(value: Any, name: str, *, least: int = 1, most: int = LARGEST) -> int:
    """The value as an integer.

    Args:
        value: An integer of Python, NumPy or torch, or a float without a fraction (13.0, as JSON
            may have it).
        name: The caller's name for it.
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


def is_finite_number(value: Any) -> bool:
    """Whether a value is a number, neither NaN nor infinite; a text is none."""
    try:
        return not isinstance(value, str | bytes) and math.isfinite(value)
    except (TypeError, ValueError, OverflowError):
        return False


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
        num_seeds: Number of seeds.

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
    """The seed of a torch generator: below 2^32 the seed itself, above it a hash.

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


def float32_array(values: Any, name: str) -> NDArray[np.float32]:
    """The values rounded to float32; too large ones become infinite.

    Raises:
        ValueError: If they are no full array of numbers.
    """
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} must be a full array of numbers: {error}") from None
    if array.size and array.dtype.kind not in "iuf":  # texts and truth values are no numbers
        raise ValueError(f"{name} must be a full array of numbers, got {reprlib.repr(values)}")
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def float32_tuple(values: Sequence[float], name: str) -> tuple[float, ...]:
    """The values rounded to float32, as Python floats.

    Raises:
        ValueError: If they are no sequence of numbers.
    """
    array = float32_array(values, name)
    if array.ndim != 1:
        raise ValueError(f"{name} must be a sequence of numbers, got {reprlib.repr(values)}")
    return tuple(array.tolist())


def json_object(text: Any, name: str) -> dict[str, Any]:
    """The fields of a JSON object.

    Args:
        text: The JSON, text or bytes.
        name: Name of the object, for the error message.

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


def as_cell(cell: Any, role: str) -> tuple[int, int]:
    """(row, column) of two integers.

    Args:
        cell: Two whole numbers, of whatever type.
        role: The caller's name for this cell, for the error message.

    Raises:
        ValueError: If it is anything else.
    """
    try:
        row, column = cell
        low = -(2**31)  # a cell outside the grid is named as such, where the grid is known
        return whole_number(row, "row", least=low), whole_number(column, "column", least=low)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{role} {reprlib.repr(cell)} is no cell: give (row, column), two whole numbers"
        ) from error


def check_options(options: Mapping[str, Any] | None, known: Sequence[str]) -> dict[str, Any]:
    """The reset options as a dict.

    Raises:
        ValueError: If an option is not known: a misspelt one would be ignored in silence.
    """
    unknown = sorted(set(options or ()) - set(known))
    if unknown:
        raise ValueError(f"unknown reset options {unknown}: this environment knows {list(known)}")
    return dict(options or {})


def as_actions(actions: Any, device: torch.device) -> torch.Tensor:
    """Whatever was given as actions, as int64 on `device`; the tensor itself if it is that.

    Raises:
        ValueError: If the values are not whole numbers.
    """
    if isinstance(actions, torch.Tensor) and actions.dtype == torch.int64:
        return actions
    tensor = as_tensor(actions, device, name="actions")
    if tensor.is_floating_point() or tensor.dtype == torch.bool:
        raise ValueError(f"actions must be whole numbers (int64), got {tensor.dtype}")
    return tensor.to(torch.int64)


def check_discrete(action: Any, num_actions: int, names: str = "") -> np.int64:
    """The action as an integer.

    Args:
        action: The action given.
        num_actions: Number of actions.
        names: Names of the actions, for the error message.

    Raises:
        ValueError: If it is not a whole number in [0, num_actions).
    """
    try:
        return np.int64(whole_number(action, "action", least=0, most=num_actions - 1))
    except ValueError:
        wanted = names or f"a whole number in [0, {num_actions})"
        raise ValueError(f"action must be {wanted}, got {action}") from None


def check_horizon(horizon: int) -> int:
    """The number of steps in an episode.

    Raises:
        ValueError: If it is no whole number of at least 1.
    """
    return whole_number(horizon, "horizon")


def check_render_mode(render_mode: str | None, known: Sequence[str]) -> None:
    """Checks that a render mode is known.

    Raises:
        ValueError: If it is neither None nor known.
    """
    if render_mode is not None and render_mode not in known:
        raise ValueError(f"render_mode must be None or one of {list(known)}, got {render_mode!r}")


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


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError(f"a field is named twice among {[name for name, _ in pairs][:8]}")
    return fields
