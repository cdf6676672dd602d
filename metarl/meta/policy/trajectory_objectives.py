"""Objectives of the initialisation, C(theta_0) beside a warp, on the trajectory it began.

WarpGrad learns slow parameters and leaves open how the initialisation is learned (Flennerhag et
al. 2020, eq. 13 and 15): J(phi, theta_0) = L(phi) + lambda C(theta_0). Warp-Leap takes Leap for C,
Warp-MAML takes MAML. lambda is the ratio of the two learning rates. Each is a value with `begin`,
and what that returns is shown the steps of one trajectory as they are taken.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from metarl.core import (
    InnerStep,
    Params,
    TaskBatch,
    UpdateRule,
    added,
    gradients,
    leaves,
    precise,
    rewind,
)
from metarl.meta.leap import EndPoint, LeapMetric, segment_gradient


class Trajectory(Protocol):
    """Follows N tasks from phi_0 to phi_K."""

    def see(self, step: InnerStep[Any]) -> None:
        """Take notice of the next step, which has no graph."""

    def gradient(
        self, tasks: TaskBatch[Any], slow: Params, rule: UpdateRule, rule_params: Params
    ) -> dict[str, Tensor]:
        """The gradient with respect to phi_0 ``[N, ...]`` after the last step.

        Args:
            tasks: The N tasks.
            slow: Slow parameters, stacked ``[N, ...]``.
            rule: The update rule.
            rule_params: Learned parameters of the rule, unstacked.
        """


class TrajectoryObjective(Protocol):
    """The objective by which the initialisation is learned."""

    def begin(self) -> Trajectory:
        """Start to follow a trajectory."""


@dataclass(frozen=True)
class ReptileObjective:
    """phi_0 - phi_K (`Reptile`); with an outer learning rate of its own, no scale."""

    def begin(self) -> Trajectory:
        """Start to follow a trajectory."""
        return _Reptile()


@dataclass(frozen=True)
class LeapObjective:
    """Leap's eq. 8 (`leap_gradient`).

    Attributes:
        metric: Metric of the length; `SIMPLIFIED` is the published Warp-Leap's.
        include_final: phi_K is a point of the path: K segments, else K - 1 (the published code).
    """

    metric: LeapMetric = field(default_factory=LeapMetric)
    include_final: bool = True

    def begin(self) -> Trajectory:
        """Start to follow a trajectory."""
        return _Leap(self)


@dataclass(frozen=True)
class MAMLObjective:
    """The query loss at phi_K, back through all steps (`MAML`), whose phi_k are kept.

    Attributes:
        first_order: Take d phi_K / d phi_0 for the identity; then no step is kept.
    """

    first_order: bool = False

    def begin(self) -> Trajectory:
        """Start to follow a trajectory."""
        return _MAML(self.first_order)


class _Reptile:
    def __init__(self) -> None:
        self.start: Params | None = None
        self.end: Params = {}

    def see(self, step: InnerStep[Any]) -> None:
        self.start = self.start or step.fast
        self.end = step.next_fast

    @torch.no_grad()
    def gradient(
        self, tasks: TaskBatch[Any], slow: Params, rule: UpdateRule, rule_params: Params
    ) -> dict[str, Tensor]:
        return {n: precise(p) - precise(self.end[n]) for n, p in (self.start or {}).items()}


class _Leap:
    def __init__(self, objective: LeapObjective) -> None:
        self.objective = objective
        self.last: InnerStep[Any] | None = None
        self.total: dict[str, Tensor] = {}

    def see(self, step: InnerStep[Any]) -> None:
        if self.last is not None:
            self._add(segment_gradient(self.last, step, self.objective.metric))
        self.last = step

    def _add(self, segment: dict[str, Tensor]) -> None:
        self.total = added(self.total, segment)

    @torch.no_grad()
    def gradient(
        self, tasks: TaskBatch[Any], slow: Params, rule: UpdateRule, rule_params: Params
    ) -> dict[str, Tensor]:
        last = self.last
        if self.objective.include_final and last is not None:
            fast, loss = last.next_fast, last.loss
            if self.objective.metric.loss:
                loss = tasks.loss(fast, slow, tasks.sample(fast, slow, "support"))
            self._add(segment_gradient(last, EndPoint(fast, loss), self.objective.metric))
        if not self.total:
            raise ValueError("without the final point Leap needs at least 2 inner steps")
        return self.total


class _MAML:
    def __init__(self, first_order: bool) -> None:
        self.first_order = first_order
        self.steps: list[InnerStep[Any]] = []

    def see(self, step: InnerStep[Any]) -> None:
        self.steps = [step] if self.first_order else [*self.steps, step]

    def gradient(
        self, tasks: TaskBatch[Any], slow: Params, rule: UpdateRule, rule_params: Params
    ) -> dict[str, Tensor]:
        adapted = leaves(self.steps[-1].next_fast)
        with torch.no_grad():
            query = tasks.sample(adapted, slow, "query")
        with torch.enable_grad():
            loss = tasks.loss(adapted, slow, query)
        grads = gradients(loss.sum(), adapted)
        if self.first_order:
            return grads
        return rewind(tasks, self.steps, slow, rule, grads, rule_params)[0]
