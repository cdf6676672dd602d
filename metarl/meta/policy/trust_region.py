"""The neighbourhood of an initialisation, as policies see it that adapt from it.

The divergence of the adapted policies from those that played, and its Hessian, which at the
initialisation that played is ``J^T M J`` exactly: J the derivative of the adapted policies' outputs
by the initialisation, through the adaptation, M the Fisher information of those outputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from metarl.core import Params, PolicyTaskBatch, inner_steps, scope, share
from metarl.core.processes import current
from metarl.core.tasks import check_ratios
from metarl.meta.learner import MetaLearner
from metarl.meta.task_views import Recorded, check_offers


class TrustRegion:
    """The neighbourhood of theta: its loss, its gradient and how fast policies diverge there.

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
