"""Tensors within what a task or a model gives: tuples, lists and mappings of any depth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor


def nested_tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in a value, in order; whatever else is in it is passed over."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from nested_tensors(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from nested_tensors(part)
