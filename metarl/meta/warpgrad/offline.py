"""WarpGrad offline (Flennerhag et al. 2020, Algorithm 2): adapt first, then replay.

Every task of a meta-batch adapts for K steps while the slow parameters phi stand still, and the
points theta_k it passes are recorded with the rule's state there. Then (task, k) are drawn without
replacement, and every few draws make a gradient of phi, each with experience drawn afresh:

    g = mean over the draws of grad_phi of the objective at theta_k      (`warpgrad_objectives`)

So 20 tasks of 100 steps give up to 2,000 slow steps. phi moves on meanwhile, the theta_k stay where
the old phi led. The initialisation's gradient (`trajectory_objectives`) is made while tasks adapt
and comes last.

Reduces to: Algorithm 1 (`warpgrad`) where all draws make one step.

# Deviation: the mean over draws where eq. 11 has a sum; the last draws, if they are fewer, are
# divided by their own number. What the initialisation's trajectories need is not subject to the
# buffer's capacity and stride: they are followed as they arise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from metarl.core import (
    DivisibleTaskBatch,
    Execution,
    Model,
    ReplayBuffer,
    TaskBatch,
    UpdateRule,
    add_to_grads,
    added,
    detached,
    prefixed,
    share,
)
from metarl.core.processes import current
from metarl.core.replay import Key
from metarl.meta.learner import MetaLearner, Metrics
from metarl.meta.policy.trajectory_objectives import TrajectoryObjective
from metarl.meta.task_views import NumberedTasks, check_offers
from metarl.meta.warpgrad.objectives import Look, Objective, check_settings, look
from metarl.seeding import stream


class OfflineWarpGrad(MetaLearner):
    """Slow parameters that make the steps of adaptation good ones, learned from recorded points.

    Attributes:
        objective: Objective of the slow parameters and of the rule's own.
        initialisation: Objective of the initialisation; None: it stays, and every task still
            begins from it.
        iterates_per_step: Draws that make one slow gradient; None: all that are recorded.
        num_epochs: Number of draws of every recorded point.
        buffer: Memory of the points: its capacity, stride, whether theta_K belongs to them.
    """

    asks: ClassVar[tuple[str, ...]] = ("select",)

    def __init__(
        self,
        params: Model,
        *,
        rule: UpdateRule,
        num_steps: int,
        slow: Sequence[str],
        execution: Execution | None = None,
        objective: Objective = "exact",
        initialisation: TrajectoryObjective | None = None,
        iterates_per_step: int | None = 1,
        num_epochs: int = 1,
        buffer: ReplayBuffer | None = None,
        seed: int = 0,
    ) -> None:
        """Copy a model's parameters; ``seed`` is that of the draws. See `MetaLearner`."""
        super().__init__(params, rule=rule, num_steps=num_steps, slow=slow, execution=execution)
        check_settings(objective, {**self.slow, **self.rule_params}, initialisation)
        if num_epochs < 1 or (iterates_per_step is not None and iterates_per_step < 1):
            raise ValueError(
                "num_epochs and iterates_per_step must be at least 1 (or None: all), got "
                f"{num_epochs}, {iterates_per_step}"
            )
        self.objective, self.initialisation = objective, initialisation
        self.iterates_per_step, self.num_epochs = iterates_per_step, num_epochs
        self.buffer = buffer if buffer is not None else ReplayBuffer()
        self._generator = stream(seed)

    def _gradients(self, tasks: TaskBatch[Any]) -> Iterator[Metrics]:
        """Adapt, then one gradient of slow and rule every few draws, then one of the start.

        Yields:
            ``support_loss`` and ``query_loss`` of the draws; last, with an ``initialisation``,
            ``support_loss`` and ``last_support_loss`` of the tasks.
        """
        check_offers(tasks, self, *self.asks)
        try:
            with self.explained(tasks):
                start, metrics = self._collect(tasks)
                for draws in self._draws(tasks.num_tasks):
                    self._only_due("slow", "rule")
                    yield self._replay(tasks, draws)
        finally:
            self.buffer.clear()
        if start:
            self._only_due("fast")
            add_to_grads(self.params, prefixed(start, "fast"), 1.0 / tasks.num_tasks)
            yield metrics

    def state_dict(self) -> dict[str, Any]:
        """Everything the learner needs to go on; tensors are copies."""
        own = {"generator": self._generator.get_state(), "num_cleared": self.buffer.num_cleared}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` left off."""
        super().load_state_dict(state)
        self._generator.set_state(state["generator"])
        self.buffer.num_cleared = int(state.get("num_cleared", self.buffer.num_cleared))

    def _collect(self, tasks: TaskBatch[Any]) -> tuple[dict[str, Tensor], Metrics]:
        """Record the points of all tasks; the gradient of the start, summed over tasks."""
        self.buffer.clear()
        total: dict[str, Tensor] = {}
        parts: list[Metrics] = []
        for _, (grads, metrics) in self.execution.map(self._adapt_chunk, NumberedTasks(tasks)):
            total = added(total, grads)
            parts.append(metrics)
        return total, {name: torch.cat([m[name] for m in parts]) for name in parts[0]}

    def _adapt_chunk(self, tasks: TaskBatch[Any]) -> tuple[dict[str, Tensor], Metrics]:
        assert isinstance(tasks, NumberedTasks)
        path = self.initialisation.begin() if self.initialisation else None
        metrics: Metrics = {}
        steps = self.adaptation(tasks, self.num_steps)
        for step in self.buffer.record(steps, first_task=tasks.first):
            metrics.setdefault("support_loss", step.loss)
            metrics["last_support_loss"] = step.loss
            if path:
                path.see(step)
        if not path:
            return {}, metrics
        slow = share(detached(self.slow), tasks.num_tasks)
        grads = path.gradient(tasks, slow, self.rule, self.rule_params)
        return {n: g.sum(0) for n, g in grads.items()}, metrics

    def _draws(self, num_tasks: int) -> Iterator[list[Key]]:
        """(task, k) without replacement, a few at a time; experience is drawn when they are due.

        They are drawn from the points of all processes, which have their tasks one behind the
        other; a task of another process has a number outside 0 to ``num_tasks - 1``.
        """
        own = torch.tensor(self.buffer.keys(), dtype=torch.int64).view(-1, 2)
        counts = current().joined([torch.tensor([num_tasks])])[0]
        before = int(counts[: current().rank].sum())
        own[:, 0] += before
        keys = [(task - before, k) for task, k in current().joined([own])[0].tolist()]
        size = self.iterates_per_step or len(keys)
        for _ in range(self.num_epochs):
            order = torch.randperm(len(keys), generator=self._generator).tolist()
            for first in range(0, len(keys), size):
                yield [keys[i] for i in order[first : first + size]]

    def _replay(self, tasks: TaskBatch[Any], draws: Sequence[Key]) -> Metrics:
        """Add the mean gradient of those draws to ``.grad`` that are this process's."""
        draws = [key for key in draws if 0 <= key[0] < tasks.num_tasks]
        if not draws:
            nothing = next(iter(self.params.values())).detach().new_zeros(0)
            ahead = () if self.objective == "replay" else ("query_loss",)
            return dict.fromkeys(("support_loss", *ahead), nothing)
        total: dict[str, Tensor] = {}
        metrics: list[Metrics] = []
        for key in draws:
            seen = self._look(tasks, key)
            total = added(total, seen.grads)
            metrics.append({"support_loss": seen.step.loss, **seen.ahead})
        add_to_grads(self.params, total, 1.0 / len(draws))
        return {name: torch.cat([m[name] for m in metrics]) for name in metrics[0]}

    def _look(self, tasks: TaskBatch[Any], key: Key) -> Look:
        """Look at one recorded point with the slow parameters of now."""
        divisible: DivisibleTaskBatch[Any] = check_offers(tasks, self, *self.asks)
        visit = self.buffer[key]
        device = next(iter(self.params.values())).device
        return look(
            self.objective,
            divisible.select(slice(visit.task, visit.task + 1)),
            {n: p.unsqueeze(0).to(device) for n, p in visit.fast.items()},
            {n: p.unsqueeze(0).to(device) for n, p in visit.state.items()},
            self.slow,
            self.rule,
            self.rule_params,
            visit.step,
        )

    def _only_due(self, *sides: str) -> None:
        """Drop gradients of the other sides: at zeros an optimiser with momentum would drift."""
        for name, p in self.params.items():
            if name.split(".", 1)[0] not in sides:
                p.grad = None
