"""Proximal meta-policy search, ProMP (Rothfuss et al. 2019): PPO on the initialisation.

Trajectories are drawn once: D_0 ... D_{K-1} of the K inner steps, and D_K after adaptation. Then
theta moves for several epochs on them, adapting again from where it is (their Algorithm 1, eq. 16):

    phi_{k+1} = U(phi_k, grad l(phi_k; D_k)),   phi_0 = theta
    minimise  (1/N) sum_i  l_clip(phi_K; D_K)  +  eta (1/K) sum_k KL(played_k || pi_{phi_k})

l is the loss by the ratio to the probabilities at the time of playing (LVC), which are stored for
every inner step; l_clip is PPO's; the divergences hold the policies before adaptation near those
that played.

Reduces to: the gradient of `MAML` in the first epoch, where all ratios are 1.

Clipping bounds what is rewarded, not how far a step goes. So the divergence of the adapted policies
from those that played is looked at after every step, the last one too: beyond `KL_LIMIT` it is
counted, and beyond a bound the step is taken back.

# Deviation: eta is constant; the published code may adapt it to a target divergence.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from metarl.core import (
    Execution,
    Model,
    Params,
    PolicyTaskBatch,
    TaskBatch,
    UpdateRule,
    add_to_grads,
    gradients,
    share,
)
from metarl.core.processes import current
from metarl.core.settings import Executed, InnerLoop, LearnedSteps, RuleSide
from metarl.core.tasks import check_ratios
from metarl.meta.learner import MetaLearner, Metrics
from metarl.meta.method import GradientMethod, Untrained
from metarl.meta.task_views import Recorded, check_offers

logger = logging.getLogger(__name__)

KL_LIMIT = 2.0
"""Nats per step that no meta-batch should move policies by: far beyond what training needs."""


class ProMP(MetaLearner):
    """An initialisation that takes several steps on each meta-batch; one yield per epoch.

    Attributes:
        num_epochs: Gradients per meta-batch.
        clip: Largest change of a probability ratio that is rewarded.
        inner_kl_coef: eta, per nat per step.
        max_divergence: A step after which the mean divergence (nats per step) of the adapted
            policies from those that played exceeds this is taken back, and ends the epochs. The
            optimiser's moments keep its gradient. None: all epochs, and all steps stay.
    """

    asks: ClassVar[tuple[str, ...]] = ("clipped_loss", "divergence", "largest_log_ratio")

    def __init__(
        self,
        params: Model,
        *,
        rule: UpdateRule,
        num_steps: int = 1,
        slow: Sequence[str] = (),
        execution: Execution | None = None,
        num_epochs: int = 5,
        clip: float = 0.3,
        inner_kl_coef: float = 5e-4,
        max_divergence: float | None = None,
    ) -> None:
        """Copy a model's parameters; see `MetaLearner`."""
        super().__init__(params, rule=rule, num_steps=num_steps, slow=slow, execution=execution)
        if num_epochs < 1:
            raise ValueError(f"num_epochs must be at least 1, got {num_epochs}")
        if not (clip > 0 and math.isfinite(inner_kl_coef) and inner_kl_coef >= 0):
            raise ValueError(
                "clip must be above 0 and inner_kl_coef finite and at least 0, got "
                f"{clip} and {inner_kl_coef}"
            )
        if max_divergence is not None and not max_divergence > 0:
            raise ValueError(f"max_divergence must be above 0 or None, got {max_divergence}")
        self.num_epochs, self.clip = num_epochs, clip
        self.inner_kl_coef, self.max_divergence = inner_kl_coef, max_divergence
        self._stopped, self._num_exceeded, self._warned = False, 0, False

    @property
    def incidents(self) -> dict[str, int]:
        """Counts of incidents in the last meta-batch.

        ``kl_stops``: whether a step was taken back, because policies had diverged further than the
        bound; ``kl_exceeded``: steps after which they had diverged by more than `KL_LIMIT`.
        """
        return {"kl_stops": int(self._stopped), "kl_exceeded": self._num_exceeded}

    def _gradients(self, tasks: TaskBatch[Any]) -> Iterator[Metrics]:
        """Draw, then yield one gradient per epoch.

        Args:
            tasks: N tasks, a `PolicyTaskBatch`.

        Yields:
            ``support_loss``, ``query_loss``, ``inner_kl`` and ``query_kl``, before the step that
            the caller takes.

        Raises:
            StaleBatchError: The ratios do not begin at 1.
        """
        self._stopped, self._num_exceeded = False, 0
        before: dict[str, Tensor] = {}
        check_offers(tasks, self, *self.asks)
        parts = [part for _, part in self.execution.map(Recorded, tasks)]
        for epoch in range(self.num_epochs):
            with self.explained(tasks):
                each = [self._metrics_of_part(part, first=epoch == 0) for part in parts]
            metrics = {name: torch.cat([m[name] for m, _ in each]) for name in each[0][0]}
            if epoch > 0 and self._took_back(before, metrics["query_kl"]):
                return
            for _, grads in each:
                add_to_grads(self.params, grads, 1.0 / tasks.num_tasks)
            before = {name: p.detach().clone() for name, p in self.params.items()}
            yield metrics
        self._took_back(before, torch.cat([self._divergence_of_part(part) for part in parts]))

    def _took_back(self, before: Params, divergences: Tensor) -> bool:
        """Judge the step that led from ``before`` to divergences ``[N]``; undo it where too far."""
        divergence = float(current().joined([divergences])[0].mean())
        # What is not a number has gone too far as well.
        self._num_exceeded += not divergence <= KL_LIMIT
        bound = self.max_divergence
        self._stopped = bound is not None and not divergence <= bound
        if self._stopped:
            with torch.no_grad():
                for name, p in self.params.items():
                    p.copy_(before[name])
        if self._num_exceeded and not self._warned:
            self._warned = True
            logger.warning(
                "a step moved the adapted policies by %.3g nats (%s; counted as kl_exceeded): "
                "lower the outer learning rate",
                divergence,
                "taken back" if self._stopped else "no bound is set",
            )
        return self._stopped

    @torch.no_grad()
    def _divergence_of_part(self, recorded: Recorded[Any]) -> Tensor:
        """Divergence ``[N]`` of policies that adapt from theta, from those that played."""
        tasks: PolicyTaskBatch[Any] = check_offers(recorded.tasks, self, *self.asks)
        recorded.replay()
        adapted = self.adapt(recorded, self.num_steps)
        slow = share(self.slow, tasks.num_tasks)
        query = recorded.sample(adapted, slow, "query")
        return tasks.divergence(adapted, slow, query)

    def _metrics_of_part(
        self, recorded: Recorded[Any], *, first: bool
    ) -> tuple[Metrics, dict[str, Tensor]]:
        """Adapt from where theta is; metrics, and the gradient summed over the tasks."""
        tasks: PolicyTaskBatch[Any] = check_offers(recorded.tasks, self, *self.asks)
        if not first:
            recorded.replay()
        with torch.enable_grad():
            slow = share(self.slow, tasks.num_tasks)
            steps = list(self.differentiable_adaptation(recorded, slow))
            adapted = steps[-1].next_fast
            with torch.no_grad():
                query = recorded.sample(adapted, slow, "query")
            kls = [tasks.divergence(step.fast, slow, step.batch) for step in steps]
            inner_kl = torch.stack(kls).mean(0)
            loss = tasks.clipped_loss(adapted, slow, query, self.clip)
            total = (loss + self.inner_kl_coef * inner_kl).sum()
        grads = gradients(total, self.params)
        with torch.no_grad():
            if first:
                played = [(step.fast, step.batch) for step in steps] + [(adapted, query)]
                ratios = [tasks.largest_log_ratio(at, slow, batch) for at, batch in played]
                check_ratios(torch.cat(ratios))
            metrics = {
                "support_loss": steps[0].loss.detach(),
                "query_loss": loss.detach(),
                "inner_kl": inner_kl.detach(),
                "query_kl": tasks.divergence(adapted, slow, query),
            }
        return metrics, grads


@dataclass(frozen=True)
class ProMPSettings(Executed, RuleSide, LearnedSteps, InnerLoop, GradientMethod):
    """Take several clipped steps on each meta-batch.

    Attributes:
        num_epochs: Steps per meta-batch.
        clip: Largest change of a probability ratio that is rewarded.
        inner_kl_coef: Weight of the divergence before adaptation, per nat per step.
        max_divergence: A step that moves the adapted policies further than this, in nats per step,
            is taken back and ends the epochs (`kl_stops` counts them). The usual one is for
            blow-ups; a large number is no bound.
    """

    name: ClassVar[str] = "promp"
    family: ClassVar[str] = "made for policies"
    suits: ClassVar[frozenset[str]] = frozenset({"policy"})
    through_adaptation: ClassVar[bool] = True

    num_epochs: int = 5
    clip: float = 0.3
    inner_kl_coef: float = 5e-4
    max_divergence: float = KL_LIMIT

    def build(self, model: Untrained) -> ProMP:
        """Make the learner."""
        return ProMP(
            model.params,
            num_epochs=self.num_epochs,
            clip=self.clip,
            inner_kl_coef=self.inner_kl_coef,
            max_divergence=self.max_divergence,
            **self._adaptation(),
        )
