"""Leap (Flennerhag et al. 2019): begin where the way to the solution is short.

Adaptation draws a path of points gamma_k = (phi_k, l(phi_k)) on the surface of the task's loss. Its
length (p = 1) or energy (p = 2), their eq. 3,

    d_p = sum_k ||gamma_{k+1} - gamma_k||^p,

falls when every point is pulled towards the next, which is held fixed. With the Jacobians
d phi_k / d theta taken for the identity the gradient is their eq. 8:

    grad = -p sum_k (dl_k grad l(phi_k) + dphi_k) ||gamma_{k+1} - gamma_k||^(p - 2),
    dl_k = l(phi_{k+1}) - l(phi_k),   dphi_k = phi_{k+1} - phi_k.

The stabiliser takes -|dl_k| for dl_k, so that a step uphill does not push theta uphill. Each l is
taken on the batch of its own step. The sum grows while the loop runs: no graph, and the memory of
two points.

Reduces to: energy of the parameters alone (no loss): 2 (theta - phi_K), twice Reptile's gradient;
length of the parameters alone: the simplified form of WarpGrad's published code, normalised
increments -dphi_k / ||dphi_k|| (`SIMPLIFIED`).

# Deviation: p multiplies the energy's gradient as in eq. 8 (the published code drops the 2), and
# theta_K is the last point, so that K steps make K segments: the published code never takes the
# K-th (``include_final=False``). A path that stands still, whose norm is 0, has gradient 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

from metarl.core import (
    Execution,
    Model,
    Params,
    TaskBatch,
    UpdateRule,
    added,
    along,
    precise,
    share,
    task_norms,
)
from metarl.core.settings import Compiled, InnerLoop, InnerSteps, OuterLoop
from metarl.core.update_rules import EMPTY
from metarl.errors import check_choices
from metarl.meta.learner import Metrics
from metarl.meta.method import GradientMethod, Untrained
from metarl.meta.taskwise import TaskwiseLearner

Distance: TypeAlias = Literal["length", "energy"]


@dataclass(frozen=True)
class LeapMetric:
    """The metric by which the length of a path is measured.

    Attributes:
        distance: length: p = 1; energy: p = 2.
        loss: The loss is a coordinate of the path beside the parameters.
        stabiliser: Take -|dl| for dl; without the loss it has no effect.
        eps: Added to the norm that the length divides by. The published code has 1e-9, which makes
            the gradient too short near the end of a path; with 0 it is eq. 8 everywhere.
    """

    distance: Distance = "length"
    loss: bool = True
    stabiliser: bool = True
    eps: float = 0.0

    def __post_init__(self) -> None:
        """Check the distance and eps."""
        check_choices(self)
        if not self.eps >= 0:
            raise ValueError(f"eps must be at least 0, got {self.eps}")


SIMPLIFIED = LeapMetric(loss=False)


class Point(Protocol):
    """A point of N paths; `core.InnerStep` is one."""

    @property
    def fast(self) -> Params:
        """Parameters phi_k ``[N, ...]``."""

    @property
    def loss(self) -> Tensor:
        """Losses l(phi_k) ``[N]``."""

    @property
    def grads(self) -> Params:
        """The loss's gradient ``[N, ...]``; that of a path's last point is not read."""


class EndPoint(NamedTuple):
    """The last point of N paths, where no step began."""

    fast: Params
    loss: Tensor
    grads: Params = EMPTY


def leap_gradient(points: Iterable[Point], metric: LeapMetric) -> dict[str, Tensor]:
    """Eq. 8 for N paths.

    Args:
        points: At least two, in order; read once, two held at a time.
        metric: Metric of the length.

    Returns:
        The gradient with respect to phi_0 ``[N, ...]``, without a graph.

    Raises:
        ValueError: Fewer than two points.
    """
    total: dict[str, Tensor] = {}
    for start, end in pairwise(points):
        segment = segment_gradient(start, end, metric)
        total = added(total, segment)
    if not total:
        raise ValueError("a path needs at least two points: take more inner steps")
    return total


@torch.no_grad()
def segment_gradient(start: Point, end: Point, metric: LeapMetric) -> dict[str, Tensor]:
    """One summand of eq. 8, ``[N, ...]``, in at least float32: ``start`` pulled towards ``end``."""
    pull = {n: precise(end.fast[n]) - precise(p) for n, p in start.fast.items()}
    coordinates = list(pull.values())
    if metric.loss:
        rise = precise(end.loss) - precise(start.loss)
        coordinates.append(rise)
        rise = -rise.abs() if metric.stabiliser else rise
        pull = {n: d + along(rise, d) * start.grads[n] for n, d in pull.items()}
    if metric.distance == "energy":
        return {n: -2.0 * d for n, d in pull.items()}
    norms = task_norms(coordinates) + metric.eps
    norms = torch.where(norms == 0, 1.0, norms)  # of a path that stands still, whose pull is 0
    return {n: -d / along(norms, d) for n, d in pull.items()}


class Leap(TaskwiseLearner):
    """The initialisation from which the paths of adaptation are shortest.

    Attributes:
        metric: Metric of the length.
        include_final: phi_K is a point of the path: K segments, else K - 1.
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
        metric: LeapMetric | None = None,
        include_final: bool = True,
    ) -> None:
        """Copy a model's parameters; see `MetaLearner`."""
        super().__init__(params, rule=rule, num_steps=num_steps, slow=slow, execution=execution)
        if not include_final and num_steps < 2:
            raise ValueError("without the final point num_steps must be at least 2, got 1")
        self.metric, self.include_final = metric or LeapMetric(), include_final

    def task_gradients(self, tasks: TaskBatch[Any]) -> tuple[dict[str, Tensor], Metrics]:
        """Eq. 8 along K steps; slow parameters and the rule's own get no gradient."""
        metrics: Metrics = {}
        grads = leap_gradient(self._path(tasks, metrics), self.metric)
        return {f"fast.{n}": g.sum(0) for n, g in grads.items()}, metrics

    def _path(self, tasks: TaskBatch[Any], metrics: Metrics) -> Iterator[Point]:
        """The points as they are reached; notes the first loss and the last."""
        for step in self.adaptation(tasks, self.num_steps):
            metrics.setdefault("support_loss", step.loss)
            metrics["last_support_loss"] = step.loss
            yield step
        if not self.include_final:
            return
        with torch.no_grad():
            fast, loss = step.next_fast, step.loss
            if self.metric.loss:
                slow = share(self.slow, tasks.num_tasks)
                loss = tasks.loss(fast, slow, tasks.sample(fast, slow, "support"))
            yield EndPoint(fast, loss)


@dataclass(frozen=True)
class Path(InnerSteps):
    """The path of adaptation and the metric of its length.

    Attributes:
        leap_distance: length: sum of distances; energy: sum of their squares.
        leap_loss: The loss is a coordinate of the path beside the parameters.
        leap_stabiliser: A step uphill does not push the initialisation uphill.
        leap_eps: Added to the norm that the length divides by.
        leap_final: The point after the last inner step belongs to the path: K steps make K
            segments, else K - 1 as in the published code.
    """

    leap_distance: Distance = "length"
    leap_loss: bool = True
    leap_stabiliser: bool = True
    leap_eps: float = 0.0
    leap_final: bool = True

    def check(self) -> None:
        """Check that there is a path."""
        super().check()
        _ = self.metric
        if not self.leap_final and self.inner_steps < 2:
            raise ValueError(
                "without leap_final one inner step leaves no path: take inner_steps of at least 2"
            )

    @property
    def metric(self) -> LeapMetric:
        """The metric of the path's length."""
        return LeapMetric(self.leap_distance, self.leap_loss, self.leap_stabiliser, self.leap_eps)


@dataclass(frozen=True)
class LeapSettings(Path, Compiled, OuterLoop, InnerLoop, GradientMethod):
    """Begin where the way to the solution is short."""

    name: ClassVar[str] = "leap"
    family: ClassVar[str] = "first order, implicit"
    suits: ClassVar[frozenset[str]] = frozenset({"data"})

    inner_steps: int = 5

    def build(self, model: Untrained) -> Leap:
        """Make the learner."""
        how: dict[str, Any] = {"metric": self.metric, "include_final": self.leap_final}
        return Leap(model.params, **self._adaptation(), **how)
