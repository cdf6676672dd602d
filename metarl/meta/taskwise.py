"""Learners whose meta-gradient is the mean of what every task says on its own.

    ∇J = (1/N) Σ_i g_i

Tasks are worked on in chunks, by threads or compiled, as `core.Execution` says.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from metarl.core import CompiledGradients, Params, TaskBatch, add_to_grads, added, prefixed, scope
from metarl.meta.learner import MetaLearner, Metrics
from metarl.meta.task_views import check_metrics, check_offers


class TaskwiseLearner(MetaLearner):
    """A learner whose meta-gradient is the mean of what every task says on its own."""

    @abstractmethod
    def task_gradients(self, tasks: TaskBatch[Any]) -> tuple[dict[str, Tensor], Metrics]:
        """The meta-gradient of some tasks.

        Args:
            tasks: A chunk of the meta-batch; other threads may work on other chunks.

        Returns:
            Gradients by the names of ``params``, summed over the tasks (a name may be missing:
            no gradient), and metrics.
        """

    def _gradients(self, tasks: TaskBatch[Any]) -> Iterator[Metrics]:
        """Sum over chunks, mean over tasks, one step."""
        check_offers(tasks, self, *self.asks)
        metrics: list[Metrics] = []
        total: dict[str, Tensor] = {}
        for _, (grads, chunk_metrics) in self.execution.map(self._checked_gradients, tasks):
            total = added(total, grads, 1.0 / tasks.num_tasks)
            metrics.append(chunk_metrics)
        add_to_grads(self.params, total)
        yield {name: torch.cat([m[name] for m in metrics]) for name in metrics[0]}

    def _checked_gradients(self, tasks: TaskBatch[Any]) -> tuple[dict[str, Tensor], Metrics]:
        """The meta-gradient of some tasks; what is wrong with them is said in words."""
        with self.explained(tasks):
            if self.execution.compile:
                every = {**self.params, **prefixed(self.frozen, "frozen")}
                grads, metrics = self._compiled(every, tasks)
            else:
                grads, metrics = self.task_gradients(tasks)
        check_metrics(tasks, metrics)
        return grads, metrics

    @cached_property
    def _compiled(self) -> CompiledGradients:
        """The meta-gradient as a function of the meta-parameters."""

        def work(params: Params, tasks: TaskBatch[Any]) -> tuple[dict[str, Tensor], Metrics]:
            there = copy.copy(self)
            there.frozen = {n: p.detach() for n, p in scope(params, "frozen").items()}
            there.params = {n: params[n] for n in self.params}
            return there.task_gradients(tasks)

        return CompiledGradients(work)
