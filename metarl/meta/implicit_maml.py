"""Implicit MAML (Rajeswaran et al. 2019): the meta-gradient at the solution of the inner problem.

Adaptation is held near the initialisation by a proximal term (their eq. 3),

    phi* = argmin_phi  l_support(phi) + lambda / 2 |phi - theta|^2,

which K steps of the update rule solve as well as they can. The gradient does not go back through
them: by the implicit function theorem (their Lemma 1), with H the Hessian of l_support at phi*,

    g = (I + H / lambda)^-1 grad l_query(phi*),

found by a few iterations of a linear solver (their Algorithm 2), each of which takes one
Hessian-vector product. So memory does not depend on K. What stands still in the inner loop, s,
follows from the same theorem:

    grad_s = d l_query / d s - (d^2 l_support / d s d phi) g / lambda.

Reduces to: for lambda to infinity, phi* = theta and g the gradient of joint training on query
experience. What the rule has learned gets no gradient: phi* does not depend on the way to it.

# Deviation: the published code has no proximal term in its inner steps and solves another linear
system, ((1 + 1) I + H / (lambda + 10)) x = grad l_query; here both are those of the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from metarl.core import (
    Chain,
    Execution,
    Model,
    Params,
    TaskBatch,
    Transform,
    UpdateRule,
    cut,
    gradients,
    leaves,
    precise,
    prefixed,
    run_once,
    scope,
)
from metarl.core.second_order import refuse_second_derivative
from metarl.core.settings import Executed, InnerLoop, OuterLoop
from metarl.core.update_rules import State
from metarl.errors import is_finite_number
from metarl.meta.learner import Metrics
from metarl.meta.linear_solvers import ConjugateGradient, NeumannSeries, Solver
from metarl.meta.method import GradientMethod, Untrained
from metarl.meta.taskwise import TaskwiseLearner


@dataclass(frozen=True)
class Proximal(Transform):
    """``g + strength (phi - phi_0)``: the gradient of strength / 2 |phi - phi_0|^2 beside l.

    Attributes:
        strength: lambda.
    """

    strength: float

    def __post_init__(self) -> None:
        """Check that the strength is positive."""
        if not (is_finite_number(self.strength) and self.strength > 0):
            raise ValueError(f"the proximal strength must be above 0, got {self.strength}")

    def init(self, fast: Params) -> State:
        """Keep phi_0, the point that holds."""
        return dict(fast)

    def update(
        self, grads: Params, fast: Params, state: State, params: Params
    ) -> tuple[Params, State]:
        """Add the pull; phi_0 stays."""
        return {n: g + self.strength * (fast[n] - state[n]) for n, g in grads.items()}, state


class ImplicitMAML(TaskwiseLearner):
    """The initialisation whose neighbourhood holds the tasks' solutions.

    The proximal term is part of ``rule``, so that adaptation to new tasks has it too.

    Attributes:
        strength: lambda.
        solver: Solver of the linear system.
    """

    def __init__(
        self,
        params: Model,
        *,
        rule: UpdateRule,
        num_steps: int,
        slow: Sequence[str] = (),
        execution: Execution | None = None,
        strength: float = 2.0,
        solver: Solver | None = None,
    ) -> None:
        """Copy a model's parameters; see `MetaLearner`. ``rule`` without the proximal term."""
        rule = Chain((Proximal(strength), *rule.links))
        super().__init__(params, rule=rule, num_steps=num_steps, slow=slow, execution=execution)
        self.strength, self.solver = strength, solver or ConjugateGradient()

    def task_gradients(self, tasks: TaskBatch[Any]) -> tuple[dict[str, Tensor], Metrics]:
        """Solve the inner problem, then the linear system at its solution."""
        metrics: Metrics = {}
        for step in self.adaptation(tasks, self.num_steps):
            metrics.setdefault("support_loss", step.loss)
            metrics["last_support_loss"] = step.loss
        adapted, shared = leaves(step.next_fast), cut(self.slow)
        del step  # and with it what the last step drew
        with torch.enable_grad():
            tasks, slow = run_once(tasks, adapted.keys(), shared, ("support", "query"))
            with torch.no_grad():
                support = tasks.sample(adapted, slow, "support")
                query = tasks.sample(adapted, slow, "query")
            loss = tasks.loss(adapted, slow, query)
        metrics["query_loss"] = loss.detach()
        wrt = {**prefixed(adapted, "fast"), **prefixed(shared, "slow")}
        found = gradients(loss.sum(), wrt)
        with torch.enable_grad():
            again = tasks.loss(adapted, slow, support)
            inner = gradients(again.sum(), adapted, create_graph=True)
            refuse_second_derivative(again, list(inner.values()), adapted)
        of_fast, metrics["residual"] = self._solve(inner, adapted, scope(found, "fast"))
        grads = prefixed({n: g.sum(0) for n, g in of_fast.items()}, "fast")
        if shared:
            with torch.enable_grad():
                pull = torch.stack([(inner[n] * of_fast[n]).sum() for n in inner]).sum()
            through = gradients(pull, shared)
            for name, direct in scope(found, "slow").items():
                grads[f"slow.{name}"] = direct - through[name] / self.strength
        return grads, metrics

    def _solve(self, inner: Params, adapted: Params, b: Params) -> tuple[dict[str, Tensor], Tensor]:
        """``(I + H / lambda)^-1 b`` and the relative residual ``[N]``.

        Args:
            inner: The gradient of l_support at ``adapted``, with its graph.
            adapted: phi* ``[N, ...]``, leaves.
            b: ``[N, ...]``.
        """

        def product(p: Tensor) -> Tensor:
            hp = torch.autograd.grad(
                list(inner.values()),
                list(adapted.values()),
                list(_unflattened(p, adapted).values()),
                retain_graph=True,
                materialize_grads=True,
            )
            return p + _flattened(hp) / self.strength

        x, residual = self.solver.solve(product, _flattened(list(b.values())))
        return _unflattened(x, adapted), residual


def _flattened(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors ``[N, ...]`` side by side, ``[N, D]``, in at least float32."""
    flat = [precise(t).flatten(1) if t.dim() > 1 else precise(t).unsqueeze(1) for t in tensors]
    return torch.cat(flat, 1)


def _unflattened(flat: Tensor, like: Params) -> dict[str, Tensor]:
    """``[N, D]`` taken apart."""
    parts = torch.split(flat, [p[0].numel() for p in like.values()], 1)
    return {
        n: part.reshape(p.shape).to(p) for part, (n, p) in zip(parts, like.items(), strict=True)
    }


@dataclass(frozen=True)
class ImplicitMAMLSettings(Executed, OuterLoop, InnerLoop, GradientMethod):
    """Take implicit gradients of a proximal problem (Rajeswaran et al. 2019: 16 inner steps).

    Attributes:
        strength: Strength of the proximal term, lambda.
        solver: cg: conjugate gradient; neumann: the Neumann series.
        solver_iterations: Most Hessian-vector products.
    """

    name: ClassVar[str] = "imaml"
    family: ClassVar[str] = "first order, implicit"

    inner_steps: int = 16
    strength: float = 2.0
    solver: Literal["cg", "neumann"] = "cg"
    solver_iterations: int = 5

    def check(self) -> None:
        """Check the problem and its solver."""
        super().check()
        if not (is_finite_number(self.strength) and self.strength > 0):
            raise ValueError(f"strength must be finite and above 0, got {self.strength}")
        if self.solver_iterations < 1:
            raise ValueError(f"solver_iterations must be at least 1, got {self.solver_iterations}")

    def build(self, model: Untrained) -> ImplicitMAML:
        """Make the learner."""
        kind = ConjugateGradient if self.solver == "cg" else NeumannSeries
        solver = kind(self.solver_iterations)
        return ImplicitMAML(
            model.params, strength=self.strength, solver=solver, **self._adaptation()
        )

    def draws(self) -> int:
        """Return how often experience of every task is drawn in one iteration."""
        return self.inner_steps + 2
