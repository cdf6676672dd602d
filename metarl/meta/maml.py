"""Model-agnostic meta-learning (Finn et al. 2017), second and first order.

Every task adapts from the shared initialisation for K steps on its support experience and is judged
on its query experience:

    phi_0 = theta,   phi_{k+1} = U(phi_k, grad l_support(phi_k)),
    theta <- theta - beta * grad_theta (1/N) sum_i l_query(phi_K^i)                  (their eq. 1)

The gradient passes through all K steps. First-order MAML takes d phi_K / d theta for the identity:
the gradient at phi_K is applied to theta (their section 5.2). What the loss says about the slow
parameters and, to second order, about the rule's own parameters is learned alike, so that ANIL and
Meta-SGD are this learner with other parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from metarl.core import (
    Execution,
    Params,
    TaskBatch,
    UpdateRule,
    gradients,
    leaves,
    prefixed,
    rewind,
    scope,
    share,
)
from metarl.meta.learner import Metrics, TaskwiseLearner


class MAML(TaskwiseLearner):
    """The initialisation from which K steps lead furthest.

    Attributes:
        first_order: Take the Jacobian of adaptation for the identity.
        checkpoint: Keep no graph through the K steps but take each anew on the way back: memory of
            one step, time of one more forward pass.
    """

    compilable: ClassVar[bool] = True

    def __init__(
        self,
        params: Params,
        *,
        rule: UpdateRule,
        num_steps: int = 1,
        slow: Sequence[str] = (),
        execution: Execution | None = None,
        first_order: bool = False,
        checkpoint: bool = False,
    ) -> None:
        """Copy a model's parameters; see `MetaLearner`."""
        super().__init__(params, rule=rule, num_steps=num_steps, slow=slow, execution=execution)
        self.first_order, self.checkpoint = first_order, checkpoint

    def task_gradients(self, tasks: TaskBatch[Any]) -> tuple[dict[str, Tensor], Metrics]:
        """Adapt, judge, and go back the way the phi came."""
        step_by_step = self.checkpoint and not self.first_order
        whole_graph = not (self.checkpoint or self.first_order)
        with torch.enable_grad():
            slow = share(self.slow, tasks.num_tasks)
            walk = self.differentiable_adaptation(tasks, slow, create_graph=whole_graph)
            first = last = next(walk)
            path = [first.point]
            for last in walk:
                if step_by_step:
                    path.append(last.point)
            adapted = last.next_fast if whole_graph else leaves(last.next_fast)
            query = tasks.sample(adapted, slow, "query")
            loss = tasks.loss(adapted, slow, query)
        metrics = {"support_loss": first.loss.detach(), "query_loss": loss.detach()}
        if whole_graph:
            return gradients(loss.sum(), self.params), metrics
        slow_params = prefixed(self.slow, "slow")
        found = gradients(loss.sum(), {**slow_params, **prefixed(adapted, "fast")})
        of_fast = scope(found, "fast")
        if step_by_step:
            of_fast, of_slow, of_rule = rewind(
                tasks, path, slow, self.rule, of_fast, self.rule_params
            )
            for name, gradient in of_slow.items():
                found[f"slow.{name}"] = found[f"slow.{name}"] + gradient.sum(0)
            found |= prefixed(of_rule, "rule")
        return {**found, **prefixed({n: g.sum(0) for n, g in of_fast.items()}, "fast")}, metrics
