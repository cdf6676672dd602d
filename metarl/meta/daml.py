"""DAML, domain-adaptive meta-learning (Yu et al. 2018): adapt without labels, by a learned loss.

Every task is met in two domains. In the source domain there are inputs alone (a video of a human);
in the target domain there are labels, but only while meta-training (the robot's actions). The inner
loop descends a loss L_psi that is itself learned and sees no label:

    phi_0 = theta,   phi_{k+1} = U(phi_k, grad_phi L_psi(phi_k, source)),
    (theta, psi) <- (theta, psi) - beta * grad (1/N) sum_i l_i(phi_K^i, target)

``source`` is the support split, ``target`` the query split. psi is told what to do only through the
second derivative grad_psi grad_phi L_psi, so that there is no first-order form.

L_psi looks at every example of the support set with a network g_psi and takes the squared norm of
what it says, averaged over the set:

    L_psi(phi, source) = mean over b of mean over d of g_psi(features_b(phi))_d^2

Features are what the tasks show of a batch: for regression the input beside the prediction, for
images activations.

Reduces to: MAML where g_psi is the identity and the features are residuals of the labelled loss.

# Deviation: the paper's L_psi convolves over time and sums; a set of regression examples has no
# order, so g_psi is any network on one example (an MLP) and the set is averaged, so that the inner
# step does not depend on the number of examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeAlias

from torch import Tensor

from metarl.core import (
    Execution,
    InnerStep,
    Model,
    Params,
    ShowingTaskBatch,
    Split,
    TaskBatch,
    UpdateRule,
    named_params,
    prefixed,
    scope,
)
from metarl.core.settings import InnerLoop, LearnedSteps, RuleSide, SlowSide
from metarl.meta.learner import Metrics
from metarl.meta.maml import MAML, SecondOrder
from metarl.meta.method import Untrained
from metarl.meta.task_views import check_offers

StackedNetwork: TypeAlias = Callable[[Params, Tensor], Tensor]
"""g_psi: parameters ``[N, ...]``, features ``[N, B, F]``, out ``[N, B, D]``; any `nn.Network`."""

OBJECTIVE = "objective"


class Drawn(NamedTuple):
    """A batch that remembers its split."""

    split: Split
    batch: Any


@dataclass(frozen=True)
class LearnedLossTasks:
    """View of tasks with L_psi for the support loss; psi is ``objective.*`` among the slow."""

    tasks: ShowingTaskBatch[Any]
    network: StackedNetwork

    @property
    def num_tasks(self) -> int:
        """Number of tasks, N."""
        return self.tasks.num_tasks

    def sample(self, fast: Params, slow: Params, split: Split) -> Drawn:
        """Draw a batch of the tasks."""
        return Drawn(split, self.tasks.sample(fast, self._own(slow), split))

    def loss(self, fast: Params, slow: Params, batch: Drawn) -> Tensor:
        """L_psi on the source domain, the tasks' own loss on the target domain, ``[N]``."""
        if batch.split == "query":
            return self.tasks.loss(fast, self._own(slow), batch.batch)
        features = self.tasks.features(fast, self._own(slow), batch.batch)
        # [N, B, ...] to [N]
        return self.network(scope(slow, OBJECTIVE), features).square().flatten(1).mean(1)

    def select(self, tasks: slice) -> LearnedLossTasks:
        """Return a batch of these tasks alone."""
        return LearnedLossTasks(self.tasks.select(tasks), self.network)

    @staticmethod
    def _own(slow: Params) -> dict[str, Tensor]:
        return {n: p for n, p in slow.items() if not n.startswith(f"{OBJECTIVE}.")}


class DAML(MAML):
    """MAML whose inner loss is learned.

    Attributes:
        objective: g_psi; its parameters are ``slow.objective.*``.
    """

    def __init__(
        self,
        params: Model,
        *,
        objective: StackedNetwork,
        objective_params: Model,
        rule: UpdateRule,
        num_steps: int = 1,
        slow: Sequence[str] = (),
        execution: Execution | None = None,
        checkpoint: bool = False,
    ) -> None:
        """Copy the parameters of the model and of g_psi; see `MAML` for the rest."""
        params, objective_params = named_params(params), named_params(objective_params)
        super().__init__(
            {**params, **prefixed(objective_params, OBJECTIVE)},
            rule=rule,
            num_steps=num_steps,
            slow=(*slow, f"{OBJECTIVE}.*"),
            execution=execution,
            checkpoint=checkpoint,
        )
        self.objective = objective
        self._names = tuple(params)

    def task_gradients(self, tasks: TaskBatch[Any]) -> tuple[dict[str, Tensor], Metrics]:
        """MAML's; the metric ``support_loss`` is L_psi."""
        return super().task_gradients(self._learned(tasks))

    def adaptation(self, tasks: TaskBatch[Any], num_steps: int) -> Iterator[InnerStep[Any]]:
        """Adapt on the source domain, without labels."""
        return super().adaptation(self._learned(tasks), num_steps)

    def _learned(self, tasks: TaskBatch[Any]) -> LearnedLossTasks:
        showing: ShowingTaskBatch[Any] = check_offers(tasks, self, "features")
        return LearnedLossTasks(showing, self.objective)


@dataclass(frozen=True)
class DAMLSettings(SecondOrder, SlowSide, RuleSide, LearnedSteps, InnerLoop):
    """Adapt without labels, by a learned loss."""

    name: ClassVar[str] = "daml"
    suits: ClassVar[frozenset[str]] = frozenset({"unlabelled"})

    def build(self, model: Untrained) -> DAML:
        """Make the learner."""
        if model.learned_loss is None:
            raise ValueError("daml needs tasks whose inputs alone show what to adapt to")
        network, params = model.learned_loss
        how: dict[str, Any] = {"objective": network, "objective_params": params}
        return DAML(model.params, checkpoint=self.checkpoint, **how, **self._adaptation())
