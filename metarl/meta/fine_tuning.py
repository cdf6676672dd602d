"""Without meta-learning: one body trained on all tasks at once, or nothing trained at all.

Multi-headed fine-tuning is the usual alternative to meta-learning. In training every task keeps a
head of its own, and body and heads descend the mean loss together (joint training), without an
inner loop:

    min over (body, head_1, ..., head_M) of the mean of l_i(body, head_i) over the tasks i

A new task begins from the body and the fresh head, and adapts both. The fresh head is the model's
initial one, the same for all new tasks, and never learns: what a head knew is not carried over. A
meta-batch must say which tasks it holds (`IdentifiedTaskBatch`).

Reduces to: joint training of one network where there is no head; on one task, with gradient descent
of learning rate a, that task's own inner loop of step size a.
The heads are M tensors: the published code's were one module under M names.

`NoMetaTraining` is the control of every experiment: it has the interface of a learner, and every
task adapts from the model's random initialisation, theta <- theta.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from metarl.core import (
    Execution,
    IdentifiedTaskBatch,
    Model,
    TaskBatch,
    UpdateRule,
    gradients,
    named_params,
    share,
)
from metarl.core.settings import Executed, InnerLoop, OuterLoop
from metarl.meta.anil import body_names
from metarl.meta.learner import MetaLearner, Metrics
from metarl.meta.method import GradientMethod, Untrained
from metarl.meta.task_views import check_offers
from metarl.meta.taskwise import TaskwiseLearner


class FineTuning(TaskwiseLearner):
    """A body trained jointly under M heads.

    The heads are in ``params`` as ``heads.NAME``, stacked over the M training tasks; ``fast.``
    holds the body and the fresh head.

    Attributes:
        head: Names of the head's parameters.
    """

    asks: ClassVar[tuple[str, ...]] = ("indices",)

    def __init__(
        self,
        params: Model,
        *,
        head: Sequence[str],
        num_heads: int,
        rule: UpdateRule,
        num_steps: int = 1,
        slow: Sequence[str] = (),
        execution: Execution | None = None,
    ) -> None:
        """Copy a model's parameters; M copies of its head.

        Args:
            params: Parameters of one network.
            head: Name patterns of the head (`nn.Network.head`).
            num_heads: M, training tasks.
            rule: Update rule by which a new task adapts.
            num_steps: Joint gradients per meta-batch, each on new support experience: the same
                experience as K inner steps of another learner.
            slow: Name patterns of what learns jointly and does not adapt.
            execution: Number of tasks that are worked on at a time.
        """
        params = named_params(params)
        super().__init__(params, rule=rule, num_steps=num_steps, slow=slow, execution=execution)
        if num_heads < 1:
            raise ValueError(f"num_heads must be at least 1, got {num_heads}")
        body = set(body_names(params, head))
        self.head = tuple(name for name in self.adapting if name not in body)
        for name in self.head:
            fresh = self.params[f"fast.{name}"].detach()
            heads = fresh.expand(num_heads, *fresh.shape).clone().requires_grad_()  # [heads, ...]
            self.params[f"heads.{name}"] = heads

    def _gradients(self, tasks: TaskBatch[Any]) -> Iterator[Metrics]:
        """``num_steps`` times: the gradient of the mean support loss."""
        for _ in range(self.num_steps):
            yield from super()._gradients(tasks)

    def task_gradients(self, tasks: TaskBatch[Any]) -> tuple[dict[str, Tensor], Metrics]:
        """Gradients of body, heads of these tasks and slow parameters; the fresh head's is None.

        The heads of other tasks get a gradient of zeros: gradient descent leaves them alone, an
        optimiser with momentum lets them coast.
        """
        identified: IdentifiedTaskBatch[Any] = check_offers(tasks, self, *self.asks)
        trained = {n: p for n, p in self.params.items() if not n.startswith("rule.")}
        with torch.enable_grad():
            fast, slow = share(self.adapting, tasks.num_tasks), share(self.slow, tasks.num_tasks)
            for name in self.head:
                fast[name] = self.params[f"heads.{name}"].index_select(0, identified.indices)
                trained.pop(f"fast.{name}")
            with torch.no_grad():
                batch = tasks.sample(fast, slow, "support")
            loss = tasks.loss(fast, slow, batch)
            return gradients(loss.sum(), trained), {"support_loss": loss.detach()}


@dataclass(frozen=True)
class FineTuningSettings(Executed, OuterLoop, InnerLoop, GradientMethod):
    """Fine-tune a body that was trained under a head per training task."""

    name: ClassVar[str] = "ft"
    family: ClassVar[str] = "without meta-learning"
    suits: ClassVar[frozenset[str]] = frozenset({"recurring"})

    def build(self, model: Untrained) -> FineTuning:
        """Make the learner."""
        if model.num_tasks is None:
            raise ValueError("ft has a head for each training task: these never come again")
        how: dict[str, Any] = {"head": model.architecture.head, "num_heads": model.num_tasks}
        return FineTuning(model.params, **how, **self._adaptation())


class NoMetaTraining(MetaLearner):
    """A learner whose meta-gradient is never due."""

    def _gradients(self, tasks: TaskBatch[Any]) -> Iterator[Metrics]:
        """Yield nothing, and draw nothing."""
        yield from ()


@dataclass(frozen=True)
class NoMetaTrainingSettings(Executed, InnerLoop, GradientMethod):
    """Adapt from a random initialisation, without meta-training."""

    name: ClassVar[str] = "none"
    family: ClassVar[str] = "without meta-learning"

    def build(self, model: Untrained) -> NoMetaTraining:
        """Make the learner."""
        return NoMetaTraining(model.params, **self._adaptation())

    def draws(self) -> int:
        """Return how often experience of every task is drawn in one iteration."""
        return 0
