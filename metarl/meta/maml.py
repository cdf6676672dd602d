"""Model-agnostic meta-learning (Finn et al. 2017), second and first order.

Every task adapts from the shared initialisation for K steps on its support experience and is judged
on its query experience:

    phi_0 = theta,   phi_{k+1} = U(phi_k, grad l_support(phi_k)),
    theta <- theta - beta * grad_theta (1/N) sum_i l_query(phi_K^i)                  (their eq. 1)

The gradient passes through all K steps. First-order MAML takes d phi_K / d theta for the identity:
the gradient at phi_K is applied to theta (their section 5.2). In between, truncated
back-propagation goes through the last few steps, and takes those before to first order. What the
loss says about the slow parameters and about the rule's own is learned alike, so that ANIL and
Meta-SGD are this learner with other parameters.

A step of first order is ``phi_{k+1} = phi_k + u(sg[grad l]; rule)``: its gradient is a constant, so
that theta sees the identity and the slow parameters nothing, but the rule's own parameters
(step sizes, curvature) have their derivative, at that gradient. The same holds of clones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from metarl.core import (
    Execution,
    MetaCurvature,
    Model,
    Params,
    TaskBatch,
    UpdateRule,
    chain,
    gradients,
    leaves,
    prefixed,
    pull_back,
    rewind,
    scope,
)
from metarl.core.inner_loop import Point, first_state
from metarl.core.settings import Compiled, InnerLoop, LearnedSteps, RuleSide
from metarl.meta.learner import Metrics
from metarl.meta.method import GradientMethod, Untrained
from metarl.meta.taskwise import TaskwiseLearner


class MAML(TaskwiseLearner):
    """The initialisation from which K steps lead furthest.

    Attributes:
        truncate: The last so many steps are differentiated through, those before are of first
            order: 0 is first-order MAML; None: all.
        checkpoint: Keep no graph through the K steps but take each again on the way back: memory
            of one step, time of one more forward pass.
    """

    compilable: ClassVar[bool] = True

    def __init__(
        self,
        params: Model,
        *,
        rule: UpdateRule,
        num_steps: int = 1,
        slow: Sequence[str] = (),
        execution: Execution | None = None,
        first_order: bool = False,
        truncate: int | None = None,
        checkpoint: bool = False,
    ) -> None:
        """Copy a model's parameters; see `MetaLearner`.

        Raises:
            ValueError: ``truncate`` is below 0, or given beside ``first_order``.
        """
        super().__init__(params, rule=rule, num_steps=num_steps, slow=slow, execution=execution)
        if truncate is not None and (first_order or truncate < 0):
            raise ValueError(
                "truncate must be at least 0, or None, and first_order is truncate=0: give one of "
                f"them, got truncate={truncate}, first_order={first_order}"
            )
        self.truncate, self.checkpoint = 0 if first_order else truncate, checkpoint

    @property
    def first_order(self) -> bool:
        """Whether the Jacobian of adaptation is taken for the identity."""
        return self.truncate == 0

    @property
    def num_first_order(self) -> int:
        """The number of first-order steps, before those that are differentiated through."""
        return 0 if self.truncate is None else max(self.num_steps - self.truncate, 0)

    def task_gradients(self, tasks: TaskBatch[Any]) -> tuple[dict[str, Tensor], Metrics]:
        """Adapt, judge, and go back the way the phi came."""
        early = self.num_first_order
        identity = early == self.num_steps and not self.rule_params  # nothing to go back through
        if identity or (self.checkpoint and early < self.num_steps):
            return self._step_by_step(tasks)
        return self._whole_graph(tasks)

    def _whole_graph(self, tasks: TaskBatch[Any]) -> tuple[dict[str, Tensor], Metrics]:
        """One backward pass through the graph of all steps."""
        with torch.enable_grad():
            seen, slow = self._to_adapt(tasks)
            walk = self.differentiable_adaptation(seen, slow, num_first_order=self.num_first_order)
            for step in walk:
                if step.index == 0:
                    support_loss = step.loss.detach()
            loss = self._judged(tasks, step.next_fast)
        metrics = {"support_loss": support_loss, "query_loss": loss.detach()}
        return gradients(loss.sum(), self.params), metrics

    def _step_by_step(self, tasks: TaskBatch[Any]) -> tuple[dict[str, Tensor], Metrics]:
        """Steps without a graph, each taken again on the way back where it is gone back through.

        g = grad l_query(phi_K),   grad_theta = J_0^T ... J_{K-1}^T g
        """
        early = self.num_first_order
        path: list[Point[Any]] = []
        with torch.enable_grad():
            seen, slow = self._to_adapt(tasks)
            walk = self.differentiable_adaptation(
                seen, slow, create_graph=False, num_first_order=early
            )
            for step in walk:
                if step.index == 0:
                    support_loss = step.loss.detach()
                    whole = self.rule_params or first_state(self.rule, leaves(step.fast))
                if whole or step.index >= early:
                    path.append(step.point)
            adapted = leaves(step.next_fast)
            loss = self._judged(tasks, adapted)
        metrics = {"support_loss": support_loss, "query_loss": loss.detach()}
        shared = prefixed(self.slow, "slow")
        found = gradients(loss.sum(), {**shared, **prefixed(adapted, "fast")})
        of_fast, of_slow, of_rule = rewind(
            seen,
            path,
            slow,
            self.rule,
            scope(found, "fast"),
            self.rule_params,
            num_first_order=early if whole else 0,
        )
        of_shared = pull_back(of_slow, slow, shared)
        return {
            **found,
            **prefixed({n: g.sum(0) for n, g in of_fast.items()}, "fast"),  # over tasks
            **{name: found[name] + g for name, g in of_shared.items()},
            **prefixed(of_rule, "rule"),
        }, metrics

    def _to_adapt(self, tasks: TaskBatch[Any]) -> tuple[TaskBatch[Any], dict[str, Tensor]]:
        """The tasks and what stands still in adaptation, to which first order has no graph."""
        with torch.set_grad_enabled(not self.first_order):
            return self.standing_still(tasks, "support")

    def _judged(self, tasks: TaskBatch[Any], adapted: Params) -> Tensor:
        """The query loss ``[N]`` of adapted parameters, in grad mode."""
        judged, slow = self.standing_still(tasks, "query")
        return judged.loss(adapted, slow, judged.sample(adapted, slow, "query"))


@dataclass(frozen=True)
class SecondOrder(Compiled, GradientMethod):
    """The gradient through adaptation, and how much of it is kept in memory.

    Attributes:
        checkpoint: Second order in the memory of one inner step.
    """

    family: ClassVar[str] = "through the adaptation"

    checkpoint: bool = False

    def check(self) -> None:
        """Check that a compiled gradient may keep its graph."""
        super().check()
        if self.compile and self.checkpoint:
            raise ValueError(
                "a compiled meta-gradient keeps its whole graph: take compile or checkpoint"
            )


@dataclass(frozen=True)
class Truncated(SecondOrder):
    """The gradient through the last steps of adaptation.

    Attributes:
        truncate: Go back through the last so many inner steps alone, and take those before to
            first order. None: through all.
    """

    truncate: int | None = None

    def check(self) -> None:
        """Check the number of steps."""
        super().check()
        if self.truncate is not None and self.truncate < 0:
            raise ValueError(f"truncate must be at least 0, or None, got {self.truncate}")

    def build(self, model: Untrained) -> MAML:
        """Make the learner."""
        how = self._adaptation()
        return MAML(model.params, truncate=self.truncate, checkpoint=self.checkpoint, **how)


@dataclass(frozen=True)
class MAMLSettings(Truncated, RuleSide, LearnedSteps, InnerLoop):
    """Adapt from a learned initialisation, to second order."""

    name: ClassVar[str] = "maml"
    through_adaptation: ClassVar[bool] = True


@dataclass(frozen=True)
class FOMAMLSettings(Compiled, RuleSide, LearnedSteps, InnerLoop, GradientMethod):
    """Adapt from a learned initialisation, without second derivatives."""

    name: ClassVar[str] = "fomaml"
    family: ClassVar[str] = "first order, implicit"

    def build(self, model: Untrained) -> MAML:
        """Make the learner."""
        return MAML(model.params, first_order=True, **self._adaptation())


@dataclass(frozen=True)
class MetaCurvatureSettings(Truncated, RuleSide, LearnedSteps):
    """Adapt by gradient descent through learned curvature (`core.MetaCurvature`)."""

    name: ClassVar[str] = "meta-curvature"
    suits: ClassVar[frozenset[str]] = frozenset({"data"})

    def rule(self) -> UpdateRule:
        """Make the update rule."""
        return chain(MetaCurvature(), super().rule())
