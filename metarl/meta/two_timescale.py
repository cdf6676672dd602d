"""Two timescales: fast weights step after every episode, slow weights once a warp period.

The maze of Flennerhag et al. 2020: WarpGrad's Algorithm 3 with the meta-loss equal to the task
loss. A batch of tasks is played; the fast weights step on its gradient at once, the slow (warp)
weights step every `warp_period` episodes on the mean of the gradients since their last step. So it
is recurrent meta-RL (the memory of a task is the hidden state) plus gradient warping on two
timescales; there is no look-ahead through an inner step, which Algorithms 1 and 2 have.

A gradient that is not finite never reaches the weights: training stops at the first, or the agent
whose it is sits the rest of the episode out (``max_skipped``). Then its gradient counts as 0, and a
step of the optimiser that the others take is taken back for it: it goes on as it would alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

from metarl.core import (
    OptimiserSettings,
    Params,
    TaskBatch,
    along,
    clip_gradients,
    gradient_norms,
    partition,
    precise,
)
from metarl.meta.stacked_optimiser import StackedOptimiser

logger = logging.getLogger(__name__)

BatchT = TypeVar("BatchT")
Function: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class TwoTimescaleSettings:
    """How the two sides step.

    Attributes:
        fast: Optimiser of the fast weights.
        slow: Optimiser of the slow weights.
        warp_period: Episodes between two slow steps.
        max_grad_norm: Each episode's gradient is clipped to this norm over all weights; None does
            not clip.
        num_epochs: Fast steps an episode, each on the loss recomputed (PPO).
        reset_fast: meta-batch returns the fast weights and their optimiser to the start after
            every slow step, so that the slow weights learn to make fast ones adapt from there;
            never lets them live on, as published.
        slow_gradient: Step the slow weights on the mean of the gradients, or on their sum.
        burn_in: Episodes at the start without a step, whose gradients pile up (the published
            code's 101).
        slow_phase: Shifts the slow steps by that many episodes (the published code's 1).
    """

    fast: OptimiserSettings = field(default_factory=OptimiserSettings)
    slow: OptimiserSettings = field(default_factory=OptimiserSettings)
    warp_period: int = 10
    max_grad_norm: float | None = 4.0
    num_epochs: int = 1
    reset_fast: Literal["never", "meta-batch"] = "never"
    slow_gradient: Literal["mean", "sum"] = "mean"
    burn_in: int = 0
    slow_phase: int = 0

    def __post_init__(self) -> None:
        """Refuse counts that mean nothing."""
        for name, least in (("warp_period", 1), ("num_epochs", 1), ("burn_in", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.max_grad_norm is not None and not self.max_grad_norm > 0:  # NaN is not either
            raise ValueError(f"max_grad_norm must be above 0, or None, got {self.max_grad_norm}")


class NonFiniteLossError(ArithmeticError):
    """A loss or gradient became NaN or infinite.

    Attributes:
        agents: Which of the stacked agents' it was; empty where that was not said.
    """

    def __init__(self, message: str, agents: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.agents = tuple(agents)


class TwoTimescale:
    """N agents with fast and slow weights, learning side by side.

    Attributes:
        params: Stacked parameters ``[N, ...]``, updated in place.
        num_episodes: Episodes learned from so far.
        max_skipped: Episodes in a row without a finite gradient that stop training.
    """

    def __init__(
        self,
        params: Params,
        slow: Sequence[str],
        settings: TwoTimescaleSettings,
        captured: Callable[[Function], Function] = lambda function: function,
        *,
        max_skipped: int = 1,
    ) -> None:
        """Take parameters ``[N, ...]``, which are copied.

        Args:
            params: Of N agents.
            slow: Name patterns of the slow ones.
            settings: How the two sides step.
            captured: How to run what leads from tasks to gradients, given as a function that always
                gets the same objects: as a CUDA graph, for one.
            max_skipped: 1: the first episode without a finite gradient stops training; n: those of
                an agent are skipped and counted, up to the n-th in a row.
        """
        self.settings, self.max_skipped = settings, max_skipped
        self.params = {n: p.detach().clone().requires_grad_() for n, p in params.items()}
        self.partition = partition(self.params, slow=slow)
        self.fast, self.slow = self.partition.split(self.params)
        self.num_episodes = 0
        self._optimisers = {"fast": StackedOptimiser(settings.fast, self.fast)}
        if self.slow:
            self._optimisers["slow"] = StackedOptimiser(settings.slow, self.slow)
        self._initial_fast = {n: p.detach().clone() for n, p in self.fast.items()}
        self._sums = {n: torch.zeros_like(precise(p)) for n, p in self.params.items()}
        self._num_summed = 0
        self._skipped_in_a_row = [0] * len(next(iter(self.params.values())))
        self._play, self._repeat = captured(self._played), captured(self._differentiated)

    def set_learning_rate_factor(self, factor: float) -> None:
        """Scale both learning rates, for a schedule."""
        for optimiser in self._optimisers.values():
            optimiser.scale(factor)

    def update(self, tasks: TaskBatch[BatchT]) -> tuple[BatchT, dict[str, Tensor]]:
        """Play one episode on a batch of tasks an agent and learn from it.

        Args:
            tasks: The tasks of N agents.

        Returns:
            The experience, and metrics ``[N]``: ``loss`` and ``grad_norm`` (before clipping), and
            where episodes may be skipped ``skipped``: 1 where an agent's was. Those of a captured
            function are written over by the next update.

        Raises:
            NonFiniteLossError: The loss or the gradient is not finite, as often in a row as may
                not be; no step was taken on it.
        """
        learns = self.num_episodes >= self.settings.burn_in
        batch, loss, gradients = self._play(tasks)
        skips: Tensor | None = None  # agents [N] whose loss or gradient was not finite
        for epoch in range(self.settings.num_epochs):
            if epoch and learns:  # the weights have moved
                loss, gradients = self._repeat(tasks, batch)
            gradients, norms = self._clipped(gradients)
            bad = ~(loss + norms).isfinite()
            if bool(bad.any()):
                self._refuse_or_note(bad if skips is None else bad & ~skips, loss, norms)
                skips = bad if skips is None else skips | bad
            if skips is not None:
                gradients = [torch.where(along(skips, g), 0.0, g) for g in gradients]
            self._accumulate(gradients)
            if learns:
                self._step("fast", 1, skips)
        self.num_episodes += 1
        self._step_slow_if_due()
        metrics = {"loss": loss, "grad_norm": norms}
        if self.max_skipped > 1:
            skipped = torch.zeros_like(loss) if skips is None else skips.to(loss.dtype)
            self._skipped_in_a_row = [
                n + 1 if skip else 0
                for n, skip in zip(self._skipped_in_a_row, skipped.tolist(), strict=True)
            ]
            metrics["skipped"] = skipped
        return batch, metrics

    def at_meta_batch_end(self) -> bool:
        """Whether the slow weights have just stepped (or would have, were there any)."""
        episodes = self.num_episodes - self.settings.slow_phase
        return (
            self.num_episodes > self.settings.burn_in and episodes % self.settings.warp_period == 0
        )

    def _played(self, tasks: TaskBatch[BatchT]) -> tuple[BatchT, Tensor, tuple[Tensor, ...]]:
        """An episode, its loss ``[N]`` and the gradient by every parameter; nothing else moves."""
        batch = tasks.sample(self.fast, self.slow, "support")
        return batch, *self._differentiated(tasks, batch)

    def _differentiated(
        self, tasks: TaskBatch[BatchT], batch: BatchT
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The loss of an episode and its gradient, under the weights as they are."""
        loss = tasks.loss(self.fast, self.slow, batch)
        return loss.detach(), torch.autograd.grad(loss.sum(), list(self.params.values()))

    def _clipped(self, gradients: Sequence[Tensor]) -> tuple[Sequence[Tensor], Tensor]:
        """The gradients as they are added up, and their norms ``[N]`` before clipping."""
        max_norm = self.settings.max_grad_norm
        if max_norm is None:
            return gradients, gradient_norms(gradients)
        return clip_gradients(gradients, max_norm)

    def _accumulate(self, gradients: Sequence[Tensor]) -> None:
        torch._foreach_add_(list(self._sums.values()), list(gradients))
        self._num_summed += 1

    def _refuse_or_note(self, bad: Tensor, loss: Tensor, norms: Tensor) -> None:
        """Where agents ``[N]`` have no finite gradient: a warning, or it is one too many."""
        what = (
            f"loss {loss.tolist()}, gradient norm {norms.tolist()} "
            f"in episode {self.num_episodes + 1}"
        )
        before = zip(self._skipped_in_a_row, bad.tolist(), strict=True)
        agents = [i for i, (n, skip) in enumerate(before) if skip and n + 1 >= self.max_skipped]
        if agents:
            again = f", {self.max_skipped} in a row" if self.max_skipped > 1 else ""
            raise NonFiniteLossError(what + again, agents)
        if bool(bad.any()):
            logger.warning("an episode was skipped: %s", what)

    def _step(self, side: str, divisor: int, skips: Tensor | None = None) -> None:
        """Step on the sums; agents that skip ``[N]`` stay where they are."""
        optimiser = self._optimisers[side]
        sums = [self._sums[n] for n in optimiser.params]
        if divisor > 1:
            torch._foreach_div_(sums, divisor)
        optimiser.step(sums, skips)
        torch._foreach_zero_(sums)

    def _step_slow_if_due(self) -> None:
        if not self.at_meta_batch_end():
            return
        if self.slow:
            mean = self.settings.slow_gradient == "mean"
            self._step("slow", self._num_summed if mean else 1)
        self._num_summed = 0
        if self.settings.reset_fast == "meta-batch":
            with torch.no_grad():
                for name, p in self.fast.items():
                    p.copy_(self._initial_fast[name])
            self._optimisers["fast"].forget()

    def agent_state(self, index: int) -> dict[str, Any]:
        """Everything agent ``index`` needs to go on, without the leading axis."""
        tensors = {"params": self.params, "sums": self._sums, "initial_fast": self._initial_fast}
        state: dict[str, Any] = {
            key: {n: t[index].detach().clone() for n, t in group.items()}
            for key, group in tensors.items()
        }
        state["optimisers"] = {
            side: optimiser.agent_state(index) for side, optimiser in self._optimisers.items()
        }
        return state | {
            "num_episodes": self.num_episodes,
            "num_summed": self._num_summed,
            "skipped_in_a_row": self._skipped_in_a_row[index],
        }

    @torch.no_grad()
    def load_agent_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Take up where `agent_state` of every agent left off."""
        groups = {"params": self.params, "sums": self._sums, "initial_fast": self._initial_fast}
        for key, group in groups.items():
            for name, tensor in group.items():
                tensor.copy_(torch.stack([s[key][name] for s in states]))
        for side, optimiser in self._optimisers.items():
            optimiser.load_agent_states([s["optimisers"][side] for s in states])
        self.num_episodes = int(states[0]["num_episodes"])
        self._num_summed = int(states[0]["num_summed"])
        self._skipped_in_a_row = [int(s.get("skipped_in_a_row", 0)) for s in states]
