"""Sees every optimiser that steps on given parameters, and checks that it steps by a rule.

Optimisers are seen whoever made them and wherever they step. torch walks over its hooks while it
calls them, and a hook that goes meanwhile ends the step in an error. Watches come and go at any
time, by garbage collection and in other threads too: one pair of hooks is registered for good, and
asks a tuple that is only ever replaced as a whole.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from metarl.core import Params, UpdateRule, precise
from metarl.core.update_rules import State


class Watcher(Protocol):
    """A listener that is told of steps."""

    def before(self, optimiser: Optimizer, *, has_closure: bool) -> None:
        """An optimiser is about to step; with a closure it calls the loss first."""

    def after(self, optimiser: Optimizer) -> None:
        """Note that the optimiser has stepped."""


class StepWatch:
    """Tells a watcher of steps on parameters until it is closed. Steps by hand go unseen."""

    def __init__(self, watcher: Watcher, fast: Params) -> None:
        """Begin to watch.

        Args:
            watcher: Listener that is told; the watch does not keep it alive.
            fast: The parameters themselves, by name.
        """
        self.fast = fast
        self._watcher = weakref.ref(watcher)
        _WATCHES.add(self)

    def close(self) -> None:
        """Watch no more."""
        _WATCHES.remove(self)

    def sees(self, optimiser: Optimizer) -> Watcher | None:
        """Return the watcher of the optimiser's steps, if they move the parameters."""
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
    """Return the number of watches in this process."""
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


NUM_STEPS = 2
"""Steps of a task that are compared: momentum shows in the second."""

TOLERANCE = 1e-3


class StepCheck:
    """Compares the first steps of a task with the rule's, on the gradient that the optimiser sees.

    Gradients may be clipped or unscaled before the step. Steps with a closure are not compared.
    """

    def __init__(self, rule: UpdateRule, learned: Params, fast: Params) -> None:
        """Begin a task.

        Args:
            rule: The rule.
            learned: Learned parameters of the rule.
            fast: The adapting parameters themselves.
        """
        self.rule, self.learned, self.fast = rule, learned, fast
        self._num_seen = 0
        self._expected: dict[str, tuple[Tensor, Tensor]] = {}  # start and update, by name

    @torch.no_grad()
    def before(self, optimiser: Optimizer, state: State) -> None:
        """Take the step that is about to be taken, from the rule's state, unstacked."""
        if self._num_seen == NUM_STEPS:
            return
        held = {id(p) for group in optimiser.param_groups for p in group["params"]}
        grads = {
            n: p.grad.to_dense().unsqueeze(0)
            for n, p in self.fast.items()
            if id(p) in held and p.grad is not None
        }
        stacked = {n: p.unsqueeze(0) for n, p in self.fast.items()}
        all_grads = {n: grads.get(n, torch.zeros_like(p)) for n, p in stacked.items()}
        states = {n: s.unsqueeze(0) for n, s in state.items()}
        updates, _ = self.rule.update(all_grads, stacked, states, self.learned)
        self._expected = {n: (self.fast[n].clone(), updates[n].squeeze(0)) for n in grads}

    @torch.no_grad()
    def after(self, optimiser: Optimizer) -> None:
        """Compare the step that was taken with the rule's.

        Raises:
            ValueError: The optimiser went elsewhere.
        """
        expected, self._expected = self._expected, {}
        if not expected:
            return
        self._num_seen += 1
        moved = _flat([precise(self.fast[n]) - start for n, (start, _) in expected.items()])
        update = _flat([u for _, u in expected.values()])
        starts = _flat([start for start, _ in expected.values()])
        eps = max(torch.finfo(start.dtype).eps for start, _ in expected.values())
        apart = (moved - update).norm()
        if apart > max(TOLERANCE, 4 * eps) * update.norm() + 4 * eps * starts.norm():
            raise ValueError(
                f"{_described(optimiser)} moved the parameters by {float(moved.norm()):.4g} in "
                f"step {self._num_seen}, but {self.rule}, the rule that its steps are taken again "
                f"with, would by {float(update.norm()):.4g} ({float(apart):.2g} apart): give "
                "DualUpdater(rule=...) the rule of the optimiser, or the optimiser to "
                "warp.register_optimizer; where step sizes are learned, make a new one for every "
                "task from warp.optimizer_parameter_groups()"
            )


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([precise(t).flatten() for t in tensors])


def _described(optimiser: Optimizer) -> str:
    settings = optimiser.param_groups[0]
    names = ("lr", "momentum", "nesterov", "betas", "weight_decay")
    shown = ", ".join(f"{n}={settings[n]}" for n in names if settings.get(n))
    return f"{type(optimiser).__name__}({shown})"
