"""Settings of agents that adapt through their hidden state: rl2 and warp-rnn."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias, TypeVar

import tyro

from metarl.core import OptimiserSettings
from metarl.core.settings import OuterLoop, SlowSide
from metarl.meta import TwoTimescaleSettings
from metarl.native.mode import check_num_threads
from metarl.nn import CORES

if TYPE_CHECKING:
    CoreName: TypeAlias = str
else:
    CoreName = Literal[tuple(CORES)]
"""Names of `metarl.nn.CORES`: the choices of the command line, and what `config.json` may say."""


RL2SettingsT = TypeVar("RL2SettingsT", bound="RL2Settings")


def paced(core: CoreName, method: RL2SettingsT, *, batch_size: int = 1) -> RL2SettingsT:
    """Return a method at the pace that suits a core, which may be slower, and rise at first.

    Args:
        core: Name of the core.
        method: The method, at the pace of most cores.
        batch_size: Trials of an iteration, where there are minibatches of them.
    """
    usual = CORES[core](1, 1)
    steps = method.num_epochs * (batch_size // (method.minibatch_trials or batch_size))
    return replace(method, lr=method.lr * usual.pace, warmup=math.ceil(usual.warmup_steps / steps))


def slow_cores() -> list[str]:
    """Names of the cores that have slow weights."""
    return [name for name, make in CORES.items() if make(1, 1).slow]


@dataclass(frozen=True)
class RL2Settings(OuterLoop):
    """Remember the task in the hidden state of a recurrent network, within a trial.

    Attributes:
        num_epochs: Passes over each batch of trials, each with a step, or with one per minibatch.
        minibatch_trials: Trials per agent in a minibatch; they divide the batch. Every pass deals
            them out again and takes a step on each minibatch. None: a pass is one step on the whole
            batch.
        burn_in: Iterations at the start without a step, whose gradients pile up; with
            minibatch_trials, that many minibatches.
        truncate: Steps that a gradient goes back through memory, at most: trials are learned from
            in windows of so many steps, each of which begins with the memory that the one before
            has left. Takes memory for one window at a time. None: from the last step of a trial to
            its first.
        num_threads: Threads that agents (seeds) which train side by side are shared between,
            where native kernels run them; the numbers are the same to the last bit.
    """

    name: ClassVar[str] = "rl2"
    family: ClassVar[str] = "through the hidden state"
    suits: ClassVar[frozenset[str]] = frozenset({"policy"})
    core: ClassVar[CoreName] = "gru"

    lr: float = 1e-2
    max_grad_norm: float | None = 1.0
    decay: Literal["constant", "linear", "cosine"] = "linear"
    num_epochs: int = 3
    minibatch_trials: int | None = None
    burn_in: int = 0
    truncate: int | None = None
    num_threads: int = 1

    def check(self) -> None:
        """Check what both timescales step with, the minibatches and the threads."""
        super().check()
        check_num_threads(self.num_threads)
        _ = self.timescales
        size = self.minibatch_trials
        if size is not None and size < 1:
            raise ValueError(f"minibatch_trials must be at least 1, or None, got {size}")
        if self.truncate is not None and self.truncate < 1:
            raise ValueError(f"truncate must be at least 1 step, or None, got {self.truncate}")

    @property
    def learns_in_parts(self) -> bool:
        """Whether a batch of trials is learned from in parts, which a rollout does not record."""
        return self.minibatch_trials is not None or self.truncate is not None

    @property
    def timescales(self) -> TwoTimescaleSettings:
        """Steps of the fast weights, and of slow ones where there are any."""
        outer = self.outer
        return TwoTimescaleSettings(
            fast=outer.optimiser,
            slow=outer.of_side("slow"),
            max_grad_norm=self.max_grad_norm,
            num_epochs=self.num_epochs,
            burn_in=self.burn_in,
        )


@dataclass(frozen=True)
class WarpRNNSettings(RL2Settings, SlowSide):
    """Remember the task in a network whose recurrent weights are slow, and whose heads are fast.

    Attributes:
        warp_period: Iterations between two slow steps; with minibatch_trials, minibatches, so that
            slow weights take more steps from the same trials as well.
        reset_fast: meta-batch returns the fast weights and their optimiser to the start after
            every slow step, so that the slow weights learn to make fast ones adapt from there;
            never lets them live on, as published.
        slow_gradient: Step the slow weights on the mean of the gradients, or on their sum.
        slow_phase: Shifts the slow steps by that many of the same (the published code's 1).
        slow: Optimiser of the slow weights, where it is another altogether, as runs of version 0.1
            could have it; no flag.
    """

    name: ClassVar[str] = "warp-rnn"
    core: ClassVar[CoreName] = "warp"

    warp_period: int = 3
    reset_fast: Literal["never", "meta-batch"] = "never"
    slow_gradient: Literal["mean", "sum"] = "mean"
    slow_phase: int = 0
    slow: tyro.conf.Suppress[OptimiserSettings | None] = None

    @property
    def timescales(self) -> TwoTimescaleSettings:
        """Steps of the fast and of the slow weights."""
        outer = self.outer
        return TwoTimescaleSettings(
            fast=outer.optimiser,
            slow=self.slow or outer.of_side("slow"),
            warp_period=self.warp_period,
            max_grad_norm=self.max_grad_norm,
            num_epochs=self.num_epochs,
            reset_fast=self.reset_fast,
            slow_gradient=self.slow_gradient,
            burn_in=self.burn_in,
            slow_phase=self.slow_phase,
        )
