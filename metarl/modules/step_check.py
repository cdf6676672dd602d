"""Whether a user's optimiser steps by the rule that its steps are to be taken again with."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer

from metarl.core import Params, UpdateRule, precise
from metarl.core.update_rules import State

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
            learned: What it has learned.
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
        """Compare.

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
