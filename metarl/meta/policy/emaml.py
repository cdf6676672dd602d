"""E-MAML (Stadie et al. 2018): experience before adaptation is credited with what comes after it.

What adaptation earns depends on theta in two ways: through the adapted weights, which MAML follows,
and through *which* experience D_k was drawn to adapt by. For the expected return after adaptation,
E_{D_0 ~ phi_0} ... E_{D_K ~ phi_K} R(D_K), the second adds the score function (formulation II of
Rothfuss et al. 2019, where MAML has formulation I):

    grad = grad_MAML + E [ (R(D_K) - b) grad sum_{k<K} log p(D_k; phi_k) ]

phi_k is a function of theta here too. log p is that of all actions of a batch together: the batch
as a whole leads to phi_{k+1}. b is the mean return of the other tasks of the meta-batch (of its
chunk), so that it does not bias.

Reduces to: `MAML` with ``exploration_coef`` 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from metarl.core import Execution, Model, PolicyTaskBatch, TaskBatch, UpdateRule, gradients, share
from metarl.core.processes import current
from metarl.core.settings import Executed, InnerLoop, LearnedSteps, RuleSide
from metarl.meta.learner import Metrics
from metarl.meta.method import GradientMethod, Untrained
from metarl.meta.task_views import check_offers
from metarl.meta.taskwise import TaskwiseLearner


class EMAML(TaskwiseLearner):
    """MAML that learns to explore; it needs a `PolicyTaskBatch`.

    Attributes:
        exploration_coef: Weight of the score function. With 1, a loss that is minus the plain
            return and no normalisation, the gradient is that of the return after adaptation; where
            the loss is on another scale it brings both to one.
        centred: Subtract the mean return of the other tasks. Without it the term is mostly noise.
    """

    asks: ClassVar[tuple[str, ...]] = ("performance", "log_likelihood")

    def __init__(
        self,
        params: Model,
        *,
        rule: UpdateRule,
        num_steps: int = 1,
        slow: Sequence[str] = (),
        execution: Execution | None = None,
        exploration_coef: float = 1.0,
        centred: bool = True,
    ) -> None:
        """Copy a model's parameters; see `MetaLearner`."""
        super().__init__(params, rule=rule, num_steps=num_steps, slow=slow, execution=execution)
        if not (math.isfinite(exploration_coef) and exploration_coef >= 0):
            raise ValueError(
                f"exploration_coef must be finite and at least 0, got {exploration_coef}"
            )
        self.exploration_coef, self.centred = exploration_coef, centred

    def task_gradients(self, tasks: TaskBatch[Any]) -> tuple[dict[str, Tensor], Metrics]:
        """Adapt, judge, and credit what led there."""
        policies: PolicyTaskBatch[Any] = check_offers(tasks, self, *self.asks)
        with torch.enable_grad():
            slow = share(self.slow, tasks.num_tasks)
            steps = list(self.differentiable_adaptation(tasks, slow))
            adapted = steps[-1].next_fast
            with torch.no_grad():
                query = tasks.sample(adapted, slow, "query")
                credit = policies.performance(query)
                centre = self._centre(credit)
            scores = [policies.log_likelihood(step.fast, slow, step.batch) for step in steps]
            loss = tasks.loss(adapted, slow, query)
            exploration = -(credit - centre) * torch.stack(scores).sum(0)
            total = (loss + self.exploration_coef * exploration).sum()
        metrics = {
            "support_loss": steps[0].loss.detach(),
            "query_loss": loss.detach(),
            "credit": credit - centre,
        }
        return gradients(total, self.params), metrics

    def _centre(self, credit: Tensor) -> Tensor:
        """Baseline of the credit ``[n]`` of a chunk, or of this process's tasks."""
        if not self.centred:
            return torch.zeros_like(credit)
        whole = credit if self.execution.stacked else current().joined([credit])[0]
        return mean_of_others(whole, credit)


def mean_of_others(values: Tensor, some: Tensor | None = None) -> Tensor:
    """Return for each of some values the mean of all others; 0 where there is no other.

    Args:
        values: All of them, ``[N]``.
        some: Those of which it is asked, ``[n]``; None: all.
    """
    some = values if some is None else some
    return (values.sum() - some) / max(len(values) - 1, 1) if len(values) > 1 else 0.0 * some


@dataclass(frozen=True)
class EMAMLSettings(Executed, RuleSide, LearnedSteps, InnerLoop, GradientMethod):
    """Adapt from a learned initialisation that has credit for exploring.

    Attributes:
        exploration_coef: Weight of the credit for the episodes to adapt by. Without bias it is 1/T
            where the loss is divided by the horizon; the credit's variance grows with the number of
            actions, of which a step has a thousand.
    """

    name: ClassVar[str] = "emaml"
    family: ClassVar[str] = "made for policies"
    suits: ClassVar[frozenset[str]] = frozenset({"policy"})
    through_adaptation: ClassVar[bool] = True

    exploration_coef: float = 1e-3

    def build(self, model: Untrained) -> EMAML:
        """Make the learner."""
        coef = self.exploration_coef
        return EMAML(model.params, exploration_coef=coef, **self._adaptation())
