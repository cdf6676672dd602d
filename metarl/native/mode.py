"""The switch: native kernels where they can be had, or none; the record of what ran; threads.

The mode belongs to the context of the caller (threads that are started with a copy of it inherit
it), and so do the record and the number of threads that a call shares its agents between. ``off``
holds within whatever says it, be it ``METARL_NATIVE`` in the environment, `using` further out, or
`using` here; where nothing says it the mode is ``auto``.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, TypeAlias, get_args

from metarl.errors import UserError, check_choice
from metarl.native.compiler import NativeUnavailableError
from metarl.native.libraries import built_by, load_library

Mode: TypeAlias = Literal["auto", "off"]
"""auto: kernels where there are some, eager code elsewhere; off: eager code alone."""

VARIABLE = "METARL_NATIVE"
"""Variable of the environment that gives the mode."""

logger = logging.getLogger(__name__)

_mode: ContextVar[Mode] = ContextVar("metarl_native", default="auto")


@dataclass
class Ran:
    """Record of what ran natively, and why other things did not.

    Attributes:
        kernels: Libraries that were asked for and found: by whom each was built, and for what.
        eager: Reasons, in words, in the order in which they came.
        before: Reasons of what is gone on with.
    """

    kernels: dict[str, str] = field(default_factory=dict)
    eager: dict[str, None] = field(default_factory=dict)
    before: Collection[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as `config.json` keeps it."""
        return {"kernels": dict(sorted(self.kernels.items())), "eager": list(self.eager)}


_ran: ContextVar[Ran | None] = ContextVar("metarl_native_ran", default=None)


def native_mode() -> Mode:
    """The mode that holds here.

    Raises:
        UserError: ``METARL_NATIVE`` is neither auto nor off.
    """
    return "off" if _from_environment() == "off" else _mode.get()


@contextmanager
def using(mode: Mode) -> Iterator[None]:
    """Choose the mode for what runs within; auto is no more than what holds further out."""
    check_choice("native", mode, get_args(Mode))
    token = _mode.set("off" if mode == "off" else _mode.get())
    try:
        yield
    finally:
        _mode.reset(token)


@contextmanager
def recorded(before: Collection[str] = ()) -> Iterator[Ran]:
    """Record what runs natively within, and what does not.

    Args:
        before: Reasons why something ran eagerly that is gone on with, see `stays_eager`.
    """
    ran = Ran(before=before)
    token = _ran.set(ran)
    try:
        yield ran
    finally:
        _ran.reset(token)


def kernels(name: str) -> ctypes.CDLL | None:
    """The library of kernels of that name; None: run eagerly.

    Where the mode is ``auto`` and there is no library, the log says why, once for each reason.
    """
    ran = _ran.get()
    if native_mode() == "off":
        if ran is not None:
            ran.eager[f"{VARIABLE}=off" if _from_environment() == "off" else "native is off"] = None
        return None
    try:
        found = load_library(name)
    except NativeUnavailableError as reason:
        eagerly(str(reason))
        return None
    if ran is not None and name not in ran.kernels:
        ran.kernels[name] = built_by(name)
    return found


def eagerly(reason: str) -> None:
    """Note that something runs eagerly that kernels were asked for, and why.

    The log says it once, the record of this context keeps it.
    """
    if native_mode() == "off":
        return
    ran = _ran.get()
    if ran is not None:
        ran.eager[reason] = None
    _say_once(reason)


def stays_eager(reason: str) -> bool:
    """Whether what is gone on with ran eagerly for a reason that may hold no more: it still does.

    A kernel that has come since then would change its last bits.
    """
    ran = _ran.get()
    if ran is None or reason not in ran.before or native_mode() == "off":
        return False
    ran.eager[reason] = None
    return True


def unavailable(name: str) -> str | None:
    """Reason why there are no kernels of that name here, in words; None: there are."""
    if native_mode() == "off":
        return f"{VARIABLE}=off" if _from_environment() == "off" else "they are switched off"
    try:
        load_library(name)
    except NativeUnavailableError as reason:
        return str(reason)
    return None


@cache
def _say_once(reason: str) -> None:
    logger.warning("no native kernels, running eagerly: %s", reason)


def _from_environment() -> Mode:
    value = os.environ.get(VARIABLE) or "auto"
    if value == "auto":
        return "auto"
    if value == "off":
        return "off"
    raise UserError(f"the environment says {VARIABLE}={value}; it must be auto or off")


# Threads ------------------------------------------------------------------------------------------


_num_threads: ContextVar[int] = ContextVar("metarl_native_threads", default=1)
"""Threads of a call at most. What is shared are agents that train side by side in one call, never a
product: one agent is worked on in one thread, and which one does what changes no number."""


def num_threads() -> int:
    """The number of threads at most, 1 where nothing else was said."""
    return _num_threads.get()


def check_num_threads(count: int) -> None:
    """Check a number of threads.

    Raises:
        ValueError: There is not one.
    """
    if count < 1:
        raise ValueError(f"num_threads must be at least 1, got {count}")


@contextmanager
def sharing(count: int) -> Iterator[None]:
    """Share the agents of every call within between so many threads at most.

    Args:
        count: Threads, the caller's among them.

    Raises:
        ValueError: There is not one.
    """
    check_num_threads(count)
    token = _num_threads.set(count)
    try:
        yield
    finally:
        _num_threads.reset(token)
