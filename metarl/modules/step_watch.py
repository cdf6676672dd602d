"""Sees every optimiser that steps on given parameters, whoever made it and wherever it steps.

torch walks over its hooks while it calls them, and a hook that goes meanwhile ends the step in an
error. Watches come and go at any time, by garbage collection and in other threads too: one pair of
hooks is registered for good, and asks a tuple that is only ever replaced as a whole.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from functools import cache
from typing import Any, Protocol

from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from metarl.core import Params


class Watcher(Protocol):
    """What is told of steps."""

    def before(self, optimiser: Optimizer, *, has_closure: bool) -> None:
        """An optimiser is about to step; with a closure it calls the loss first."""

    def after(self, optimiser: Optimizer) -> None:
        """It has stepped."""


class StepWatch:
    """Tells a watcher of steps on parameters until it is closed. Steps by hand go unseen."""

    def __init__(self, watcher: Watcher, fast: Params) -> None:
        """Begin.

        Args:
            watcher: What is told; the watch does not keep it alive.
            fast: The parameters themselves, by name.
        """
        self.fast = fast
        self._watcher = weakref.ref(watcher)
        _WATCHES.add(self)

    def close(self) -> None:
        """Watch no more."""
        _WATCHES.remove(self)

    def sees(self, optimiser: Optimizer) -> Watcher | None:
        """Who is to be told of the optimiser's steps, if they move the parameters."""
        held = {id(p) for group in optimiser.param_groups for p in group["params"]}
        return self._watcher() if any(id(p) in held for p in self.fast.values()) else None


class _Watches:
    """The watches that are open; none of them is kept alive."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: tuple[weakref.ref[StepWatch], ...] = ()

    def add(self, watch: StepWatch) -> None:
        _hook_into_torch()
        with self._lock:
            self._open = (*self._others(watch), weakref.ref(watch))

    def remove(self, watch: StepWatch) -> None:
        with self._lock:
            self._open = self._others(watch)

    def __iter__(self) -> Iterator[StepWatch]:
        return (watch for ref in self._open if (watch := ref()) is not None)

    def _others(self, watch: StepWatch) -> tuple[weakref.ref[StepWatch], ...]:
        return tuple(ref for ref in self._open if ref() not in (None, watch))


_WATCHES = _Watches()


def num_watches() -> int:
    """How many watches there are in this process."""
    return len(list(_WATCHES))


@cache
def _hook_into_torch() -> None:
    """See all optimisers from now on."""
    register_optimizer_step_pre_hook(_before)
    register_optimizer_step_post_hook(_after)


def _before(optimiser: Optimizer, args: Any, kwargs: Any) -> None:
    for watch in _WATCHES:
        if (watcher := watch.sees(optimiser)) is not None:
            has_closure = len(args) > 1 or kwargs.get("closure") is not None
            watcher.before(optimiser, has_closure=has_closure)


def _after(optimiser: Optimizer, args: Any, kwargs: Any) -> None:
    for watch in _WATCHES:
        if (watcher := watch.sees(optimiser)) is not None:
            watcher.after(optimiser)
