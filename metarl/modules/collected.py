"""A meta-batch of trajectories, as a `Warp` hands it to its updater."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from metarl.core import InnerStep, Params, ReplayBuffer, gradients, leaves, share
from metarl.core.replay import Visit
from metarl.modules.module_task import Criterion, ModuleTask
from metarl.modules.trajectory import Trajectory


@dataclass(frozen=True)
class Collected:
    """What there is to learn from, and what is to learn.

    Attributes:
        model: The module.
        init: Where adaptation begins: the model's own parameters of the adapting modules.
        slow: The model's parameters of the warp modules.
        learned: What the rule has learned.
        paths: One a task.
        buffer: The points of all of them.
        turn: How many meta-batches came before.
    """

    model: nn.Module
    init: dict[str, nn.Parameter]
    slow: dict[str, nn.Parameter]
    learned: dict[str, nn.Parameter]
    paths: Sequence[Trajectory]
    buffer: ReplayBuffer
    turn: int

    @property
    def device(self) -> torch.device:
        """Of the parameters."""
        return next(iter(self.init.values())).device

    def task(self, number: int, criterion: Criterion) -> ModuleTask:
        """One of the tasks."""
        path = self.paths[number]
        return ModuleTask(self.model, criterion, path.source, path.modes)

    def stacked(self, params: Params) -> dict[str, Tensor]:
        """One point, as tasks take it: ``[1, ...]``, on the device."""
        return {name: p.unsqueeze(0).to(self.device) for name, p in params.items()}

    def steps(
        self, path: Trajectory, criterion: Criterion, *, evaluate: bool
    ) -> Iterator[InnerStep[Any]]:
        """The steps of a path from one recorded point to the next, without a graph.

        Args:
            path: Of one task.
            criterion: The loss.
            evaluate: Draw a batch for every point and take loss and gradient there; else both
                are zero.

        Raises:
            ValueError: The buffer has dropped points of the path.
        """
        wanted = list(range(0, path.num_steps, self.buffer.stride))
        kept = set(self.buffer.keys())
        if not kept.issuperset((path.task, k) for k in wanted):
            raise ValueError("the initialisation learns from whole paths: use no capacity")
        slow = share({n: p.detach() for n, p in self.slow.items()}, 1)
        visits = [self.buffer[path.task, k] for k in wanted]
        end = Visit(path.task, path.num_steps, dict(path.end), dict(path.end_state))
        for before, after in pairwise([*visits, end]):
            fast, state = self.stacked(before.fast), self.stacked(before.state)
            batch, loss, grads = None, torch.zeros(1, device=self.device), fast
            if evaluate:
                task = self.task(path.task, criterion)
                batch = task.sample(fast, slow, "support")
                with torch.enable_grad():
                    here = leaves(fast)
                    loss = task.loss(here, slow, batch)
                grads = gradients(loss.sum(), here)
            next_fast, next_state = self.stacked(after.fast), self.stacked(after.state)
            yield InnerStep(
                before.step, fast, state, batch, loss.detach(), grads, next_fast, next_state
            )
