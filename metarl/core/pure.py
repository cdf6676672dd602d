"""Pure functions may run in several threads at once; they are told apart from all others.

A function that swaps a module's parameters (`torch.func.functional_call`), counts its calls or
draws from torch's one generator gives other results when a second thread runs it meanwhile, and
nothing about the function shows it. So only what is known to be pure runs in threads: the classes
and functions of this package, as far as all that they hold is pure too, and what says so of itself
by an attribute ``thread_safe = True``, a function or a class. A subclass says so again: it may do
other things.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from typing import Any

import torch

PACKAGE = __name__.partition(".")[0]

PURE_FUNCTIONS = ("torch", "torch.nn.functional", "builtins", "math")
"""Modules whose functions keep nothing between calls."""

ATOMS = (
    *(type(None), bool, int, float, complex, str, bytes, slice, range),
    *(torch.Tensor, torch.Generator, torch.dtype, torch.device, torch.Size),
)
"""Values that call nothing."""


def impure(*values: Any) -> Any:
    """The first thing among some values, or within them, that is not known to be pure.

    Args:
        values: Functions, bound methods, tasks, learners: what a thread would run.

    Returns:
        The thing, or None where there is none.
    """
    seen: set[int] = set()
    waiting = list(reversed(values))
    while waiting:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, ATOMS):
            continue
        seen.add(id(value))
        said = _said(value)
        if said is False or (said is None and not _is_known(value)):
            return value
        if said is None:
            waiting += reversed(list(_parts(value)))
    return None


def is_ours(value: Any) -> bool:
    """Whether a value's very class, or a function, is this package's."""
    if isinstance(value, types.FunctionType):
        # Not its ``__module__``, which functools.wraps copies from another function.
        return _of_package(str(value.__globals__.get("__name__")))
    return _of_package(value.__module__ if isinstance(value, type) else type(value).__module__)


def _said(value: Any) -> bool | None:
    """Return ``thread_safe`` of a function, or of the very class of a value; None: not said."""
    if isinstance(value, types.FunctionType):
        return getattr(value, "thread_safe", None)
    return bool(value.thread_safe) if "thread_safe" in vars(type(value)) else None


def _is_known(value: Any) -> bool:
    """Whether a value is pure but for what it holds."""
    if is_ours(value):
        return True
    if isinstance(value, types.FunctionType):
        return value.__globals__.get("__name__") in PURE_FUNCTIONS
    if isinstance(value, types.BuiltinFunctionType):
        return (value.__module__ or "builtins") in PURE_FUNCTIONS
    holders = (functools.partial, types.MethodType, tuple, list, dict, set, frozenset)
    return type(value) in holders


def _of_package(module: str) -> bool:
    return module.partition(".")[0] == PACKAGE


def _parts(value: Any) -> Iterator[Any]:
    """Yield the values that a value holds, and may call."""
    match value:
        case types.FunctionType():
            yield from (cell.cell_contents for cell in value.__closure__ or ())
            yield from value.__defaults__ or ()
            yield from (value.__kwdefaults__ or {}).values()
        case types.MethodType():
            yield from (value.__self__, value.__func__)
        case functools.partial():
            yield from (value.func, *value.args, *value.keywords.values())
        case dict():
            yield from value.values()
        case tuple() | list() | set() | frozenset():
            yield from value
        case _:
            yield from getattr(value, "__dict__", {}).values()
            for kind in type(value).__mro__:
                yield from (getattr(value, s, None) for s in vars(kind).get("__slots__", ()))
