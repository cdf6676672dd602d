"""Sees every optimiser that steps on given parameters, whoever made it and wherever it steps."""

from __future__ import annotations

import weakref
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
        here, told = weakref.ref(self), weakref.ref(watcher)  # the hooks outlive nobody

        def before(optimiser: Optimizer, args: Any, kwargs: Any) -> None:
            watch, watcher = here(), told()
            if watch and watcher and watch._sees(optimiser):
                has_closure = len(args) > 1 or kwargs.get("closure") is not None
                watcher.before(optimiser, has_closure=has_closure)

        def after(optimiser: Optimizer, args: Any, kwargs: Any) -> None:
            watch, watcher = here(), told()
            if watch and watcher and watch._sees(optimiser):
                watcher.after(optimiser)

        handles = register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after)
        self._closing = [weakref.finalize(self, handle.remove) for handle in handles]

    def close(self) -> None:
        """Watch no more."""
        for closing in self._closing:
            closing()

    def _sees(self, optimiser: Optimizer) -> bool:
        held = {id(p) for group in optimiser.param_groups for p in group["params"]}
        return any(id(p) in held for p in self.fast.values())
