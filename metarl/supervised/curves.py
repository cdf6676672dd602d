"""Curves as a problem: a perceptron that learns to fit a new function of a line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import torch

from metarl.errors import check_choices, check_counts
from metarl.nn import MLP, Network, WarpMLP
from metarl.supervised.examples import in_minibatches
from metarl.supervised.problem import Lessons, SupervisedProblem
from metarl.supervised.regression import REGRESSION_FAMILIES, RegressionFamily
from metarl.supervised.tasks import Criterion, ShowingTasks, Source

Family: TypeAlias = Literal["sine", "sine-phase", "sine-domain", "logistic"]


@dataclass(frozen=True)
class Curves(SupervisedProblem):
    """Functions of one family, each learned from a few of its points.

    Attributes:
        family: sine: amplitude and phase vary; sine-phase: only the phase, 0 or π; sine-domain: the
            same, and unlabelled inputs of another domain tell which; logistic: growth curves.
        points: Points of a task to adapt with.
        query_points: Other points of it to be judged by.
        inner_batch: Points per inner step; they are shuffled for every pass over them. None: all,
            every step.
        hidden: Units of each hidden layer.
        activation: Between the layers.

    Raises:
        ValueError: A count is too small, or there is no such family.
    """

    name: ClassVar[str] = "curves"
    draws_on_device: ClassVar[bool] = True
    seeds_learner: ClassVar[bool] = False
    learned_loss: ClassVar[Network | None] = MLP((2, 40, 40, 1), "tanh")

    family: Family = "sine"
    points: int = 10
    query_points: int = 10
    inner_batch: int | None = None
    hidden: tuple[int, ...] = (40, 40)
    activation: Literal["relu", "tanh"] = "relu"

    def __post_init__(self) -> None:
        """Check, before any work starts, what can be learned."""
        check_choices(self)
        check_counts(points=self.points, query_points=self.query_points)
        if self.inner_batch is not None and not 1 <= self.inner_batch <= self.points:
            raise ValueError(
                f"inner_batch must lie between 1 and points {self.points}, got {self.inner_batch}"
            )
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden must be positive counts, at least one, got {self.hidden}")

    @property
    def kinds(self) -> frozenset[str]:
        """Data, but in the family with two domains, whose tasks show no labels."""
        return frozenset({"unlabelled" if self.family == "sine-domain" else "data"})

    @property
    def functions(self) -> RegressionFamily:
        """The family."""
        return REGRESSION_FAMILIES[self.family]

    @property
    def criterion(self) -> Criterion:
        """The family's usual loss."""
        return type(self.functions).criterion

    def network_for(self, *, warped: bool) -> Network:
        """Make a perceptron, with warp layers or without."""
        plain = MLP((1, *self.hidden, 1), self.activation)
        return WarpMLP(plain, start="identity") if warped else plain

    def load(self) -> None:
        """Load nothing: functions are drawn."""

    def check(self, data: None) -> None:
        """Check nothing: there are always enough."""

    def lessons(
        self, data: None, network: Network, seed: int, device: torch.device, inner_steps: int
    ) -> Lessons:
        """Return what one seed learns: new curves in every iteration; nothing is validated."""
        points = self.points, self.query_points
        batches = None if self.inner_batch is None else (self.inner_batch, inner_steps)
        return Lessons(
            lambda num_tasks, learned, generator: self.draw(
                num_tasks, points, network, generator, device, batches
            )
        )

    def draw(
        self,
        num_tasks: int,
        points: tuple[int, int],
        network: Network,
        generator: torch.Generator,
        device: torch.device,
        batches: tuple[int, int] | None = None,
    ) -> ShowingTasks:
        """Draw new tasks.

        Args:
            num_tasks: N.
            points: How many to adapt with, and how many others to be judged by.
            network: The network.
            generator: Draws functions, points and the order of the points.
            device: Where the tasks live.
            batches: How many points per inner step, and how many steps. None: all points, every
                step.
        """
        batch = self.functions.sample_tasks(num_tasks, *points, generator, device)
        source: Source = batch
        if batches is not None:
            # One more than the steps: some learners look at where the last one led.
            source = in_minibatches(batch, batches[0], batches[1] + 1, generator)
        return ShowingTasks(network, source, self.criterion)

    def usual_steps(self, inner_steps: int) -> int:
        """Return as many steps as in training."""
        return inner_steps
