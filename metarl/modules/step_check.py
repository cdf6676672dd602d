"""Whether a user's optimiser steps by the rule that its steps are to be taken again with."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from metarl.core import Params, UpdateRule, precise
from metarl.core.update_rules import State

NUM_STEPS = 2
"""Steps of a task that are compared: momentum shows in the second."""

TOLERANCE = 1e-3


class StepCheck:
    """Compares the first steps of a task with the rule's, on the gradient that the optimiser sees.

    Every optimiser that steps on the adapting parameters is found, registered or not. Gradients may
    be clipped or unscaled before the step. Steps by hand, and those with a closure, go unseen.
    """

    def __init__(
        self, rule: UpdateRule, learned: Params, fast: Params, state: Callable[[], State]
    ) -> None:
        """Watch until `close`.

        Args:
            rule: The rule.
            learned: What it has learned.
            fast: The adapting parameters themselves.
            state: The rule's state of now, unstacked.
        """
        self.rule, self.learned, self.fast, self.state = rule, learned, fast, state
        self._num_seen = 0
        self._expected: dict[str, tuple[Tensor, Tensor]] = {}  # start and update, by name
        here = weakref.ref(self)  # the hooks outlive nobody

        def before(optimiser: Optimizer, args: Any, kwargs: Any) -> None:
            check = here()
            if check and len(args) < 2 and kwargs.get("closure") is None:
                check._before(optimiser)

        def after(optimiser: Optimizer, args: Any, kwargs: Any) -> None:
            check = here()
            if check:
                check._after(optimiser)

        handles = register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after)
        self._closing = [weakref.finalize(self, handle.remove) for handle in handles]

    def close(self) -> None:
        """Watch no more."""
        for closing in self._closing:
            closing()

    @torch.no_grad()
    def _before(self, optimiser: Optimizer) -> None:
        held = {id(p) for group in optimiser.param_groups for p in group["params"]}
        grads = {
            n: p.grad.to_dense().unsqueeze(0)
            for n, p in self.fast.items()
            if id(p) in held and p.grad is not None
        }
        if not grads or self._num_seen == NUM_STEPS:
            return
        stacked = {n: p.unsqueeze(0) for n, p in self.fast.items()}
        all_grads = {n: grads.get(n, torch.zeros_like(p)) for n, p in stacked.items()}
        state = {n: s.unsqueeze(0) for n, s in self.state().items()}
        updates, _ = self.rule.update(all_grads, stacked, state, self.learned)
        self._expected = {n: (self.fast[n].clone(), updates[n].squeeze(0)) for n in grads}

    @torch.no_grad()
    def _after(self, optimiser: Optimizer) -> None:
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
                "warp.register_optimizer; where step sizes are learned, make it anew for every "
                "task from warp.optimizer_parameter_groups()"
            )


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([precise(t).flatten() for t in tensors])


def _described(optimiser: Optimizer) -> str:
    settings = optimiser.param_groups[0]
    names = ("lr", "momentum", "nesterov", "betas", "weight_decay")
    shown = ", ".join(f"{n}={settings[n]}" for n in names if settings.get(n))
    return f"{type(optimiser).__name__}({shown})"
