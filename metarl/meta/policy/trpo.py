"""Trust-region steps on the initialisation: MAML-TRPO (Finn et al. 2017; Schulman et al. 2015).

With pi_i the policy of task i *after* adaptation from theta, one step solves

    minimise  (1/N) sum_i l_i(theta)   subject to   (1/N) sum_i KL(played_i || pi_i(theta)) <= delta

to first and second order: direction x = F^-1 g by conjugate gradient, scaled to the bound, then
shortened until the loss falls and the divergence keeps to it, adapting again by the recorded
batches at each candidate.

F is the Hessian of the divergence. Where the batches were played the divergence and its gradient
are 0, so that F is exactly J^T M J: J the derivative of the adapted policies' outputs by theta,
through the adaptation, M the Fisher information of those outputs. Each product takes one
forward-mode pass (J v) and one backward pass through a graph that is kept (J^T u); the naive
Hessian-vector product builds third derivatives of the inner loss too, which are multiplied by 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from metarl.core import Model, OptimiserSettings, TaskBatch, UpdateRule, add_to_grads
from metarl.core.settings import InnerLoop, LearnedSteps, OuterSettings
from metarl.meta.learner import MetaLearner, Metrics
from metarl.meta.linear_solvers import ConjugateGradient, Solver
from metarl.meta.method import GradientMethod, Untrained
from metarl.meta.policy.trust_region import TrustRegion
from metarl.meta.task_views import Recorded, check_offers


class TRPO(MetaLearner):
    """An initialisation that moves by trust-region steps.

    It yields once per meta-batch, and what it leaves in ``.grad`` is minus the step it found: give
    it ``torch.optim.SGD(lr=1)`` and neither clip nor schedule. Where no step was found it is 0.

    All meta-parameters must act on the policy (a critic does not): a direction in which nothing
    diverges has no bound.

    Attributes:
        max_divergence: delta, nats per step.
        damping: Added to F's diagonal.
        solver: Solver of ``(F + damping) x = g``, in float64.
        num_backtracks: Candidates of the line search.
        backtrack: Each is this much of the one before.
    """

    asks: ClassVar[tuple[str, ...]] = ("predictions", "divergence", "fisher", "largest_log_ratio")

    def __init__(
        self,
        params: Model,
        *,
        rule: UpdateRule,
        num_steps: int = 1,
        slow: Sequence[str] = (),
        max_divergence: float = 0.01,
        damping: float = 1e-5,
        solver: Solver | None = None,
        num_backtracks: int = 15,
        backtrack: float = 0.8,
    ) -> None:
        """Copy a model's parameters; see `MetaLearner`."""
        super().__init__(params, rule=rule, num_steps=num_steps, slow=slow)
        if not (max_divergence > 0 and math.isfinite(damping) and damping >= 0):
            raise ValueError(
                "max_divergence must be above 0 and damping finite and at least 0, got "
                f"{max_divergence} and {damping}"
            )
        if num_backtracks < 1 or not 0 < backtrack < 1:
            raise ValueError(
                "num_backtracks must be at least 1 and backtrack in (0, 1), got "
                f"{num_backtracks} and {backtrack}"
            )
        self.max_divergence, self.damping = max_divergence, damping
        self.solver = solver or ConjugateGradient(10)
        self.num_backtracks, self.backtrack = num_backtracks, backtrack
        self._failed = False

    @property
    def incidents(self) -> dict[str, int]:
        """``line_search_failed``: whether there was a gradient, but no step that may be taken."""
        return {"line_search_failed": int(self._failed)}

    def _gradients(self, tasks: TaskBatch[Any]) -> Iterator[Metrics]:
        """Draw, find a step, and leave minus the step in ``.grad``.

        Args:
            tasks: N tasks, a `PolicyTaskBatch`.

        Yields:
            ``support_loss``, ``query_loss``, and the same for every task: ``divergence`` and
            ``improvement`` of the step (0 without), ``accepted`` (1 or 0) and ``candidates`` tried.

        Raises:
            StaleBatchError: The ratios do not begin at 1.
            ValueError: A meta-parameter does not act on the policy.
        """
        check_offers(tasks, self, *self.asks)
        with self.explained(tasks):
            region = TrustRegion(self, Recorded(tasks))
        gradient = region.gradient
        x = self.solver.solve(
            lambda v: region.product(v[0]).unsqueeze(0) + self.damping * v, gradient.unsqueeze(0)
        ).x[0]
        curvature = float(x @ (region.product(x) + self.damping * x))
        found = Candidate(torch.zeros_like(x), 0.0, 0.0, 0, accepted=False)
        if math.isfinite(curvature) and curvature > 0:
            found = self._search(region, x * math.sqrt(2 * self.max_divergence / curvature))
        self._failed = not found.accepted and bool(gradient.any())
        step = region.unflat(found.step)
        add_to_grads(self.params, {n: v.to(self.params[n].dtype) for n, v in step.items()})
        same = torch.ones_like(region.loss)
        yield {
            "support_loss": region.support_loss,
            "query_loss": region.loss,
            "divergence": found.divergence * same,
            "improvement": found.improvement * same,
            "accepted": float(found.accepted) * same,
            "candidates": float(found.tried) * same,
        }

    def _search(self, region: TrustRegion, step: Tensor) -> Candidate:
        """The longest candidate that makes the loss smaller and keeps to the bound."""
        before = region.mean_loss
        for tried in range(1, self.num_backtracks + 1):
            loss, divergence = region.at(step)
            if loss < before and divergence <= self.max_divergence:
                return Candidate(step, before - loss, divergence, tried, accepted=True)
            step = step * self.backtrack
        return Candidate(torch.zeros_like(step), 0.0, 0.0, self.num_backtracks, accepted=False)


class Candidate(NamedTuple):
    """The result of a line search.

    Attributes:
        step: The step to be taken off theta, flat.
        improvement: Decrease of the loss there.
        divergence: Mean over tasks, nats per step.
        tried: Candidates that were tried.
        accepted: Whether there is a step.
    """

    step: Tensor
    improvement: float
    divergence: float
    tried: int
    accepted: bool


@dataclass(frozen=True)
class TRPOSettings(LearnedSteps, InnerLoop, GradientMethod):
    """Take steps within a trust region; it finds their length, on all tasks at once.

    Attributes:
        max_divergence: Radius of the trust region, nats per step.
        damping: Added to the diagonal of the Fisher matrix.
        solver_iterations: Iterations of conjugate gradient.
        num_backtracks: Candidates of the line search.
        backtrack: Length of each as a part of the one before.
    """

    name: ClassVar[str] = "trpo-maml"
    family: ClassVar[str] = "made for policies"
    suits: ClassVar[frozenset[str]] = frozenset({"policy"})
    through_adaptation: ClassVar[bool] = True

    max_divergence: float = 0.01
    damping: float = 1e-5
    solver_iterations: int = 10
    num_backtracks: int = 15
    backtrack: float = 0.8

    @property
    def outer(self) -> OuterSettings:
        """Settings of the optimiser that takes the step that has been found."""
        return OuterSettings(OptimiserSettings("sgd", lr=1.0, beta1=0.0))

    def build(self, model: Untrained) -> TRPO:
        """Make the learner."""
        return TRPO(
            model.params,
            rule=self.rule(),
            num_steps=self.inner_steps,
            max_divergence=self.max_divergence,
            damping=self.damping,
            solver=ConjugateGradient(self.solver_iterations),
            num_backtracks=self.num_backtracks,
            backtrack=self.backtrack,
        )
