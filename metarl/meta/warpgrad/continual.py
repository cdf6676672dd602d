"""WarpGrad on a stream (Flennerhag et al. 2020, Algorithm 3): fast parameters are never reset.

N tasks are learned side by side without end. Their fast parameters theta step all the time, and
the slow parameters phi of all of them once every few of these steps:

    theta <- U(theta, grad l_task(theta; phi)),
    g += grad_phi of the objective at theta;  every ``warp_period`` steps phi steps on g / count.

`two_timescale` is this learner where the meta-loss is the task loss (the replay objective) and both
sides have optimisers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from metarl.core import (
    Execution,
    Model,
    Params,
    TaskBatch,
    UpdateRule,
    add_to_grads,
    added,
)
from metarl.errors import check_choice
from metarl.meta.learner import MetaLearner, Metrics
from metarl.meta.task_views import NumberedTasks, check_offers
from metarl.meta.warpgrad.objectives import OBJECTIVES, Objective, look


class ContinualWarpGrad(MetaLearner):
    """Slow parameters under fast ones that go on learning their N tasks.

    Adaptation to *other* tasks (`adapt`) begins where these began.

    Attributes:
        objective: Objective of the slow parameters and of the rule's own.
        warp_period: Fast steps between two slow steps.
        live: The fast parameters of now, ``[N, ...]``; empty before the first step.
    """

    def __init__(
        self,
        params: Model,
        *,
        rule: UpdateRule,
        num_steps: int,
        slow: Sequence[str],
        execution: Execution | None = None,
        objective: Objective = "exact",
        warp_period: int = 1,
    ) -> None:
        """Copy a model's parameters; ``num_steps`` fast steps per meta-batch. See `MetaLearner`."""
        super().__init__(params, rule=rule, num_steps=num_steps, slow=slow, execution=execution)
        check_choice("objective", objective, OBJECTIVES)
        if warp_period < 1:
            raise ValueError(f"warp_period must be at least 1, got {warp_period}")
        self.objective, self.warp_period = objective, warp_period
        self.live: dict[str, Tensor] = {}
        self._state: dict[str, Tensor] = {}
        self._sums: dict[str, Tensor] = {}
        self._num_summed = 0

    @property
    def shareable(self) -> bool:
        """Whether processes may share a meta-batch: the tasks' weights live on in one."""
        return False

    def _gradients(self, tasks: TaskBatch[Any]) -> Iterator[Metrics]:
        """Take ``num_steps`` fast steps; the same N tasks every time.

        Yields:
            ``support_loss`` and ``query_loss`` of the last step, every ``warp_period`` steps; the
            count goes on from one call to the next.
        """
        check_offers(tasks, self)
        self._begin(tasks)
        left = self.num_steps
        while left:
            count = min(left, self.warp_period - self._num_summed)
            with self.explained(tasks):
                metrics = self._walk(tasks, count)
            left -= count
            if self._num_summed == self.warp_period:
                scale = 1.0 / (self.warp_period * tasks.num_tasks)
                for p in self.adapting.values():
                    p.grad = None
                add_to_grads(self.params, self._sums, scale)
                self._sums, self._num_summed = {}, 0
                yield metrics

    def state_dict(self) -> dict[str, Any]:
        """Everything the learner needs to go on; tensors are copies."""
        groups = {"live": self.live, "rule_state": self._state, "sums": self._sums}
        copies = {key: {n: p.clone() for n, p in g.items()} for key, g in groups.items()}
        return {**super().state_dict(), **copies, "num_summed": self._num_summed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` left off."""
        super().load_state_dict(state)
        device = next(iter(self.params.values())).device
        self.live, self._state, self._sums = (
            {n: p.detach().to(device, copy=True) for n, p in state[key].items()}
            for key in ("live", "rule_state", "sums")
        )
        self._num_summed = int(state["num_summed"])

    def _begin(self, tasks: TaskBatch[Any]) -> None:
        """Start the stream, or see that it is the same one."""
        if not self.live:
            self.live = {n: p.detach().clone() for n, p in self.initial_fast(tasks).items()}
            self._state = dict(self.rule.init(self.live))
        num_live = len(next(iter(self.live.values())))
        if tasks.num_tasks != num_live:
            raise ValueError(f"this stream has {num_live} tasks, got {tasks.num_tasks}")

    def _walk(self, tasks: TaskBatch[Any], count: int) -> Metrics:
        """``count`` fast steps of all tasks, chunk by chunk; slow gradients are added up."""

        def walk(chunk: TaskBatch[Any]) -> tuple[Params, Params, Params, Metrics]:
            assert isinstance(chunk, NumberedTasks)
            fast = {n: p[chunk.places] for n, p in self.live.items()}
            state: Params = {n: p[chunk.places] for n, p in self._state.items()}
            sums: dict[str, Tensor] = {}
            for _ in range(count):
                seen = look(
                    self.objective, chunk, fast, state, self.slow, self.rule, self.rule_params
                )
                sums = added(sums, seen.grads)
                fast, state = seen.step.next_fast, seen.step.next_state
            return fast, state, sums, {"support_loss": seen.step.loss, **seen.ahead}

        results = [r for _, r in self.execution.map(walk, NumberedTasks(tasks))]
        fasts, states, sums, metrics = zip(*results, strict=True)
        self.live, self._state = _joined(fasts), _joined(states)
        for part in sums:
            self._sums = added(self._sums, part)
        self._num_summed += count
        return _joined(metrics)


def _joined(parts: Sequence[Params]) -> dict[str, Tensor]:
    """Chunks of tasks put together again ``[N, ...]``."""
    return {name: torch.cat([p[name] for p in parts]) for name in parts[0]}
