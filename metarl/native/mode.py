"""The switch: native kernels where they can be had, or none.

The mode belongs to the context of the caller (threads that are started with a copy of it inherit
it). Outside any `using` it is what ``METARL_NATIVE`` says, ``auto`` where that is not set.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Literal, TypeAlias, get_args

from metarl.native.compiler import NativeUnavailableError, library

Mode: TypeAlias = Literal["auto", "off"]
"""auto: kernels where there are some, eager code elsewhere; off: eager code alone."""

VARIABLE = "METARL_NATIVE"
"""Variable of the environment that gives the mode."""

logger = logging.getLogger(__name__)

_mode: ContextVar[Mode | None] = ContextVar("metarl_native", default=None)


def native_mode() -> Mode:
    """The mode that holds here.

    Raises:
        ValueError: ``METARL_NATIVE`` is neither auto nor off.
    """
    return _from_environment() or _mode.get() or "auto"


@contextmanager
def using(mode: Mode) -> Iterator[None]:
    """Choose the mode for what runs within; ``METARL_NATIVE=off`` wins over it."""
    if mode not in get_args(Mode):
        raise ValueError(f"native must be auto or off, got {mode!r}")
    token = _mode.set(mode)
    try:
        yield
    finally:
        _mode.reset(token)


def kernels(name: str) -> ctypes.CDLL | None:
    """The library of kernels of that name; None: run eagerly.

    Where the mode is ``auto`` and there is no library, the log says why, once for each reason.
    """
    if native_mode() == "off":
        return None
    try:
        return library(name)
    except NativeUnavailableError as reason:
        _say_once(str(reason))
        return None


@cache
def _say_once(reason: str) -> None:
    logger.warning("no native kernels, running eagerly: %s", reason)


def _from_environment() -> Mode | None:
    value = os.environ.get(VARIABLE)
    if not value or value == "auto":
        return None
    if value != "off":
        raise ValueError(f"{VARIABLE} must be auto or off, got {value!r}")
    return "off"
