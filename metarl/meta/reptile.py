"""Reptile (Nichol et al. 2018): move the initialisation towards where adaptation ends.

Every task adapts for K steps on its support experience; theta moves towards phi_K, on average over
a batch of tasks (their Algorithm 2) or after every single task (Algorithm 1):

    theta <- theta + epsilon (1/N) sum_i (phi_K^i - theta)

As a gradient for an outer optimiser that is ``scale * (theta - mean_i phi_K^i)``: with scale 1, SGD
of learning rate epsilon interpolates between theta and the mean phi_K. Their section 2 divides by
the inner step size alpha before Adam takes it, which is scale 1 / alpha. No derivative is taken
through the inner loop, no query experience is read, and memory does not grow with K.

Reduces to: for K = 1 and gradient descent, alpha times the gradient of the mean support loss (joint
training); half of Leap's gradient with the energy of the parameters alone (`leap`).
What it does not move: slow parameters and what the rule has learned.

# Deviation: the published code carries Adam's second moment from task to task; here every task
# starts the rule again, so that a task's result does not depend on its place in the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from metarl.core import (
    DivisibleTaskBatch,
    Execution,
    Model,
    TaskBatch,
    UpdateRule,
    precise,
)
from metarl.core.settings import Compiled, InnerLoop, OuterLoop
from metarl.errors import check_choice, is_finite_number
from metarl.meta.learner import Metrics
from metarl.meta.method import GradientMethod, Untrained
from metarl.meta.task_views import check_offers
from metarl.meta.taskwise import TaskwiseLearner

Schedule: TypeAlias = Literal["batch", "serial"]


class Reptile(TaskwiseLearner):
    """The initialisation nearest to where the tasks lead.

    Attributes:
        schedule: batch: one gradient per meta-batch; serial: one per task, each task adapting from
            where the last one's step left the initialisation.
        scale: Factor of the gradient.
    """

    compilable: ClassVar[bool] = True

    def __init__(
        self,
        params: Model,
        *,
        rule: UpdateRule,
        num_steps: int,
        slow: Sequence[str] = (),
        execution: Execution | None = None,
        schedule: Schedule = "batch",
        scale: float = 1.0,
    ) -> None:
        """Copy a model's parameters; see `MetaLearner`."""
        super().__init__(params, rule=rule, num_steps=num_steps, slow=slow, execution=execution)
        check_choice("schedule", schedule, get_args(Schedule))
        if not (is_finite_number(scale) and scale > 0):
            raise ValueError(f"scale must be finite and above 0, got {scale}")
        self.schedule, self.scale = schedule, scale

    @property
    def shareable(self) -> bool:
        """Whether processes may share a meta-batch: not one task after the other."""
        return self.schedule == "batch"

    def _gradients(self, tasks: TaskBatch[Any]) -> Iterator[Metrics]:
        """Once for all tasks, or (serial) once for each, which they must be divisible for."""
        if self.schedule == "batch":
            yield from super()._gradients(tasks)
            return
        divisible: DivisibleTaskBatch[Any] = check_offers(tasks, self, "select")
        for i in range(tasks.num_tasks):
            yield from super()._gradients(divisible.select(slice(i, i + 1)))

    def task_gradients(self, tasks: TaskBatch[Any]) -> tuple[dict[str, Tensor], Metrics]:
        """``scale * sum_i (theta - phi_K^i)``; K steps are taken, none is kept."""
        metrics: Metrics = {}
        for step in self.adaptation(tasks, self.num_steps):
            metrics.setdefault("support_loss", step.loss)
            metrics["last_support_loss"] = step.loss
        with torch.no_grad():
            grads = {
                f"fast.{name}": self.scale * (precise(theta) - precise(step.next_fast[name])).sum(0)
                for name, theta in self.adapting.items()
            }
        return grads, metrics


@dataclass(frozen=True)
class ReptileSettings(Compiled, OuterLoop, InnerLoop, GradientMethod):
    """Draw the initialisation to where adaptation ends: all the way at first, less and less later.

    Attributes:
        order: Order of the tasks in a meta-batch: batch: one step for all; serial: one per task.
    """

    name: ClassVar[str] = "reptile"
    family: ClassVar[str] = "first order, implicit"

    inner_steps: int = 5
    optimiser: Literal["adam", "rmsprop", "sgd"] = "sgd"
    lr: float = 1.0
    beta1: float = 0.0
    decay: Literal["constant", "linear", "cosine"] = "linear"
    order: Schedule = "batch"

    def build(self, model: Untrained) -> Reptile:
        """Make the learner."""
        return Reptile(model.params, schedule=self.order, **self._adaptation())

    def draws(self) -> int:
        """Return how often experience of every task is drawn in one iteration."""
        return self.inner_steps
