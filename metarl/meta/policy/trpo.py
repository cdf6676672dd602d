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
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from metarl.core import (
    Model,
    OptimiserSettings,
    Params,
    PolicyTaskBatch,
    TaskBatch,
    UpdateRule,
    add_to_grads,
    inner_steps,
    scope,
    share,
)
from metarl.core.processes import current
from metarl.core.settings import InnerLoop, LearnedSteps, OuterSettings
from metarl.core.tasks import check_ratios
from metarl.meta.learner import MetaLearner, Metrics
from metarl.meta.linear_solvers import ConjugateGradient, Solver
from metarl.meta.method import GradientMethod, Untrained
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


# The neighbourhood of an initialisation -----------------------------------------------------------


class TrustRegion:
    """The neighbourhood of theta: its loss, its gradient and how fast policies diverge there.

    The divergence is that of the adapted policies from those that played, and its Hessian F is that
    of the module's docstring.

    Vectors are flat, ``[D]`` in float64, in the order of the learner's parameters.

    Attributes:
        support_loss: Before adaptation ``[N]``, of the tasks of this process.
        loss: After it ``[N]``, likewise.
        mean_loss: Mean over the tasks of all processes.
        gradient: Gradient of the mean loss.
    """

    def __init__(self, learner: MetaLearner, recorded: Recorded[Any]) -> None:
        """Draw the batches, with the graph of adaptation kept for products."""
        self.learner, self.recorded = learner, recorded
        self.tasks: PolicyTaskBatch[Any] = check_offers(recorded.tasks, learner, *learner.asks)
        self.theta = learner.params
        with torch.enable_grad():
            fast, slow, self.support_loss = self.adapt(self.theta, create_graph=True)
            with torch.no_grad():
                self.query = recorded.sample(fast, slow, "query")
                check_ratios(self.tasks.largest_log_ratio(fast, slow, self.query))
            loss = self.tasks.loss(fast, slow, self.query)
            self.predictions = self.tasks.predictions(fast, slow, self.query)
        self.loss = loss.detach()
        everywhere = current().joined([self.loss])[0]
        self.mean_loss, self._num_tasks = float(everywhere.mean()), len(everywhere)
        self.gradient = self._pulled_back(loss, torch.ones_like(loss)) / self._num_tasks
        self._check_all_act()

    def adapt(
        self, theta: Params, *, create_graph: bool
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        """Adapted and slow parameters ``[N, ...]`` from theta, and the first loss ``[N]``."""
        num_tasks = self.tasks.num_tasks
        fast = share(scope(theta, "fast"), num_tasks)
        slow = share({**scope(theta, "slow"), **self.learner.frozen}, num_tasks)
        steps = inner_steps(
            self.recorded,
            fast,
            slow,
            self.learner.rule,
            self.learner.num_steps,
            rule_params=scope(theta, "rule"),
            create_graph=create_graph,
        )
        first: Tensor | None = None
        for step in steps:
            first = step.loss.detach() if first is None else first
            fast = step.next_fast
        assert first is not None
        return fast, slow, first

    def product(self, v: Tensor) -> Tensor:
        """``J^T M J v``: the Hessian of the mean divergence times v."""
        tangents = self.unflat(v)
        self.recorded.replay()
        with torch.enable_grad(), forward_ad.dual_level():
            theta = duals(self.theta, tangents)
            fast, slow, _ = self.adapt(theta, create_graph=True)
            outputs = self.tasks.predictions(fast, slow, self.query)
            tangent = tangent_of(outputs)
        if tangent is None:  # nothing in v moves the policy
            return torch.zeros_like(v)
        with torch.no_grad():
            metric = self.tasks.fisher(self.query, tangent) / self._num_tasks
        return self._pulled_back(self.predictions, metric)

    @torch.no_grad()
    def at(self, step: Tensor) -> tuple[float, float]:
        """Mean loss and divergence (nan where not finite) at theta minus a step."""
        steps = self.unflat(step)
        self.recorded.replay()
        theta = {n: (p.double() - steps[n]).to(p.dtype) for n, p in self.theta.items()}
        fast, slow, _ = self.adapt(theta, create_graph=False)
        loss = self.tasks.loss(fast, slow, self.query)
        divergence = self.tasks.divergence(fast, slow, self.query)
        loss, divergence = current().joined([loss, divergence])
        return float(loss.double().mean()), float(divergence.double().mean())

    def unflat(self, v: Tensor) -> dict[str, Tensor]:
        """A flat vector taken apart."""
        parts = torch.split(v, [p.numel() for p in self.theta.values()])
        return {
            n: part.view(p.shape) for part, (n, p) in zip(parts, self.theta.items(), strict=True)
        }

    def _pulled_back(self, end: Tensor, cotangent: Tensor) -> Tensor:
        """``J^T u`` of something whose graph is kept, summed over the processes."""
        found = torch.autograd.grad(
            end,
            list(self.theta.values()),
            cotangent,
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return current().total([torch.cat([g.flatten().double() for g in found])])[0]

    def _check_all_act(self) -> None:
        ones = torch.ones_like(self.predictions)
        found: Sequence[Tensor | None] = torch.autograd.grad(
            self.predictions, list(self.theta.values()), ones, retain_graph=True, allow_unused=True
        )
        idle = [n for n, g in zip(self.theta, found, strict=True) if g is None]
        if idle:
            raise ValueError(
                f"the policy does not depend on {', '.join(idle)}: a trust region does not bound "
                "them (take a policy without a critic, and a baseline that is fitted)"
            )


def duals(primals: Params, tangents: Params) -> dict[str, Tensor]:
    """Tensors that carry a direction through what is computed of them."""
    with warnings.catch_warnings():
        # The first dual tensor of a process makes torch compile rules by its own deprecated means.
        warnings.filterwarnings("ignore", "`torch.jit.script", DeprecationWarning)
        return {
            n: forward_ad.make_dual(p, tangents[n].to(p.dtype))  # type: ignore[no-untyped-call]
            for n, p in primals.items()
        }


def tangent_of(value: Tensor) -> Tensor | None:
    """The direction that arrived, without a graph; None: none did."""
    tangent: Tensor | None = forward_ad.unpack_dual(value).tangent  # type: ignore[no-untyped-call]
    return None if tangent is None else tangent.detach()
