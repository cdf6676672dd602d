"""Settings of WarpGrad: warp layers that are learned online or offline, beside a start or alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from metarl.core import ReplayBuffer
from metarl.core.settings import Compiled, InnerLoop, LearnedSteps, RuleSide, SlowSide
from metarl.meta.leap import Path
from metarl.meta.method import GradientMethod, Untrained
from metarl.meta.policy.trajectory_objectives import (
    LeapObjective,
    MAMLObjective,
    ReptileObjective,
    TrajectoryObjective,
)
from metarl.meta.warpgrad.objectives import Objective
from metarl.meta.warpgrad.offline import OfflineWarpGrad
from metarl.meta.warpgrad.online import OnlineWarpGrad


@dataclass(frozen=True)
class WarpSettings(Compiled, SlowSide, RuleSide, LearnedSteps, InnerLoop, GradientMethod):
    """Adapt through learned layers that stand still.

    Attributes:
        warp_algorithm: online: one step per meta-batch, while tasks adapt; offline: tasks adapt
            first, then the points that they passed are drawn without replacement.
        warp_objective: exact; first_order; replay: the loss at a point, without a look ahead.
        warp_draws: Offline: points per step. None: all in one step.
        warp_epochs: Offline: how often each point is drawn.
        warp_stride: Offline: every how many steps a point is recorded.
    """

    name: ClassVar[str] = "warp"
    family: ClassVar[str] = "through the adaptation"
    warped: ClassVar[bool] = True

    inner_steps: int = 5
    warp_algorithm: Literal["online", "offline"] = "online"
    warp_objective: Objective = "exact"
    warp_draws: int | None = 1
    warp_epochs: int = 1
    warp_stride: int = 1

    def check(self) -> None:
        """Check the counts, and that what is compiled is online."""
        super().check()
        draws, epochs, stride = self.warp_draws, self.warp_epochs, self.warp_stride
        if min(epochs, stride) < 1 or (draws is not None and draws < 1):
            raise ValueError(
                "warp_draws (or None), warp_epochs and warp_stride must be at least 1, "
                f"got {draws}, {epochs}, {stride}"
            )
        if self.compile and self.warp_algorithm == "offline":
            raise ValueError("compile is for warp_algorithm online, got offline")

    def initialisation(self) -> TrajectoryObjective | None:
        """Make what learns the initialisation; None: it stays."""
        return None

    def build(self, model: Untrained) -> OnlineWarpGrad | OfflineWarpGrad:
        """Make the learner."""
        if not model.architecture.slow:
            raise ValueError(f"{self.name} needs a network with warp layers")
        common: dict[str, Any] = {
            **self._adaptation(),
            "slow": model.architecture.slow,
            "objective": self.warp_objective,
            "initialisation": self.initialisation(),
        }
        if self.warp_algorithm == "online":
            return OnlineWarpGrad(model.params, **common)
        device = next(iter(model.params.values())).device
        return OfflineWarpGrad(
            model.params,
            iterates_per_step=self.warp_draws,
            num_epochs=self.warp_epochs,
            buffer=ReplayBuffer(stride=self.warp_stride, seed=model.seed, device=device),
            seed=model.seed,
            **common,
        )

    def draws(self) -> int:
        """Return how often experience of every task is drawn in one iteration."""
        at_a_point = 1 if self.warp_objective == "replay" else 2  # and ahead of it
        if self.warp_algorithm == "online":
            return at_a_point * self.inner_steps
        points = -(-self.inner_steps // self.warp_stride)
        return self.inner_steps + at_a_point * self.warp_epochs * points


@dataclass(frozen=True)
class WarpLeapSettings(Path, WarpSettings):
    """Adapt through learned layers that stand still, from where Leap begins."""

    name: ClassVar[str] = "warp-leap"
    suits: ClassVar[frozenset[str]] = frozenset({"data"})

    inner_steps: int = 5  # a dataclass takes all defaults of its first base, inherited ones too

    def initialisation(self) -> TrajectoryObjective:
        """Make what learns the initialisation."""
        return LeapObjective(self.metric, self.leap_final)


@dataclass(frozen=True)
class WarpReptileSettings(WarpSettings):
    """Adapt through learned layers that stand still, from where Reptile begins."""

    name: ClassVar[str] = "warp-reptile"
    suits: ClassVar[frozenset[str]] = frozenset({"data"})

    def initialisation(self) -> TrajectoryObjective:
        """Make what learns the initialisation."""
        return ReptileObjective()


@dataclass(frozen=True)
class WarpMAMLSettings(WarpSettings):
    """Adapt through learned layers that stand still, from where MAML begins."""

    name: ClassVar[str] = "warp-maml"
    suits: ClassVar[frozenset[str]] = frozenset({"data"})

    def initialisation(self) -> TrajectoryObjective:
        """Make what learns the initialisation."""
        return MAMLObjective()
