"""WarpGrad online (Flennerhag et al. 2020, Algorithm 1): one slow step per meta-batch.

Fast parameters theta adapt to each task through layers that stand still; the slow parameters phi of
those warp layers precondition every gradient that passes back through them. phi is learned so that
a step from any point on the way of adaptation leads far:

    L(phi) = mean over tasks and k of the objective at theta_k          (`warpgrad_objectives`)
    theta_{k+1} = U(theta_k, grad l_task(theta_k; phi))

Here the gradient of L is added up while tasks adapt: each step is taken once and serves both. Its
memory does not depend on the number of steps K. Beside it the initialisation may be learned
(`trajectory_objectives`) and what the rule has learned. Algorithm 2 is `warpgrad_offline`,
Algorithm 3 `warpgrad_continual`.

Reduces to: without slow parameters and a learned rule, and with one of the trajectory objectives,
to that learner; with one step and `MAMLObjective`, to MAML with slow parameters.

# Deviation: the mean over k where eq. 11 has a sum, so that the learning rate does not depend on K.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from metarl.core import Execution, Model, TaskBatch, UpdateRule, added, detached, prefixed, share
from metarl.meta.learner import Metrics
from metarl.meta.policy.trajectory_objectives import TrajectoryObjective
from metarl.meta.taskwise import TaskwiseLearner
from metarl.meta.warpgrad.objectives import Objective, check_settings, look


class OnlineWarpGrad(TaskwiseLearner):
    """Slow parameters that make the steps of adaptation good ones, learned on the way.

    Attributes:
        objective: Objective of the slow parameters and of the rule's own.
        initialisation: Objective of the initialisation; None: it stays, and every task still
            begins from it.
    """

    compilable: ClassVar[bool] = True

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
    ) -> None:
        """Copy a model's parameters; see `MetaLearner`."""
        super().__init__(params, rule=rule, num_steps=num_steps, slow=slow, execution=execution)
        check_settings(objective, {**self.slow, **self.rule_params}, initialisation)
        self.objective, self.initialisation = objective, initialisation

    def task_gradients(self, tasks: TaskBatch[Any]) -> tuple[dict[str, Tensor], Metrics]:
        """Walk from theta_0 to theta_K and look ahead from every point."""
        fast = detached(self.initial_fast(tasks))
        state = self.rule.init(fast)
        path = self.initialisation.begin() if self.initialisation else None
        grads: dict[str, Tensor] = {}
        metrics: Metrics = {}
        for k in range(self.num_steps):
            seen = look(
                self.objective, tasks, fast, state, self.slow, self.rule, self.rule_params, k
            )
            grads = added(grads, seen.grads, 1.0 / self.num_steps)
            metrics.setdefault("support_loss", seen.step.loss)
            metrics["last_support_loss"] = seen.step.loss
            metrics = added(metrics, seen.ahead, 1.0 / self.num_steps)
            if path:
                path.see(seen.step)
            fast, state = seen.step.next_fast, seen.step.next_state
        if path:
            slow = share(detached(self.slow), tasks.num_tasks)
            of_fast = path.gradient(tasks, slow, self.rule, self.rule_params)
            grads |= prefixed({n: g.sum(0) for n, g in of_fast.items()}, "fast")
        return grads, metrics
