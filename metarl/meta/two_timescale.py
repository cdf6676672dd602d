"""Two timescales: fast weights step after every episode, slow weights once a warp period.

The maze of Flennerhag et al. 2020: WarpGrad's Algorithm 3 with the meta-loss equal to the task
loss. A batch of tasks is played; the fast weights step on its gradient at once, the slow (warp)
weights step every `warp_period` episodes on the mean of the gradients since their last step. So it
is recurrent meta-RL (the memory of a task is the hidden state) plus gradient warping on two
timescales; there is no look-ahead through an inner step, which Algorithms 1 and 2 have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

from metarl.core import (
    OptimiserSettings,
    Params,
    TaskBatch,
    clip_gradients,
    gradient_norms,
    partition,
)

BatchT = TypeVar("BatchT")
Function: TypeAlias = Callable[..., Any]

STEP_COUNT = "step"
"""The one entry of an optimiser's state that stacked agents share."""


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
        if self.max_grad_norm is not None and self.max_grad_norm <= 0:
            raise ValueError(f"max_grad_norm must be positive or None, got {self.max_grad_norm}")


class NonFiniteLossError(ArithmeticError):
    """A loss or gradient became NaN or infinite."""


class TwoTimescale:
    """N agents with fast and slow weights, learning side by side.

    Attributes:
        params: Stacked parameters ``[N, ...]``, updated in place.
        num_episodes: Episodes learned from so far.
    """

    def __init__(
        self,
        params: Params,
        slow: Sequence[str],
        settings: TwoTimescaleSettings,
        captured: Callable[[Function], Function] = lambda function: function,
    ) -> None:
        """Take parameters ``[N, ...]``, which are copied.

        Args:
            params: Of N agents.
            slow: Name patterns of the slow ones.
            settings: How the two sides step.
            captured: How to run what leads from tasks to gradients, given as a function that always
                gets the same objects: as a CUDA graph, for one.
        """
        self.settings = settings
        self.params = {n: p.detach().clone().requires_grad_() for n, p in params.items()}
        self.partition = partition(self.params, slow=slow)
        self.fast, self.slow = self.partition.split(self.params)
        self.num_episodes = 0
        self._optimisers = {"fast": settings.fast.build(self.fast.values())}
        if self.slow:
            self._optimisers["slow"] = settings.slow.build(self.slow.values())
        self._initial_fast = {n: p.detach().clone() for n, p in self.fast.items()}
        self._sums = {n: torch.zeros_like(p) for n, p in self.params.items()}
        self._num_summed = 0
        self._play, self._repeat = captured(self._played), captured(self._differentiated)

    def set_learning_rate_factor(self, factor: float) -> None:
        """Scale both learning rates, for a schedule."""
        for side, optimiser in self._optimisers.items():
            settings: OptimiserSettings = getattr(self.settings, side)
            optimiser.param_groups[0]["lr"] = settings.lr * factor

    def update(self, tasks: TaskBatch[BatchT]) -> tuple[BatchT, dict[str, Tensor]]:
        """Play one episode on a batch of tasks an agent and learn from it.

        Args:
            tasks: The tasks of N agents.

        Returns:
            The experience, and metrics ``[N]``: ``loss`` and ``grad_norm`` (before clipping). Those
            of a captured function are written over by the next update.

        Raises:
            NonFiniteLossError: The loss or the gradient is not finite; no step was taken on it.
        """
        learns = self.num_episodes >= self.settings.burn_in
        batch, loss, gradients = self._play(tasks)
        for epoch in range(self.settings.num_epochs):
            if epoch and learns:  # the weights have moved
                loss, gradients = self._repeat(tasks, batch)
            norms = self._accumulate(gradients)
            if not bool((loss + norms).isfinite().all()):
                raise NonFiniteLossError(
                    f"loss {loss.tolist()}, gradient norm {norms.tolist()} "
                    f"in episode {self.num_episodes + 1}"
                )
            if learns:
                self._step("fast", self.fast, 1)
        self.num_episodes += 1
        self._step_slow_if_due()
        return batch, {"loss": loss, "grad_norm": norms}

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

    def _accumulate(self, gradients: Sequence[Tensor]) -> Tensor:
        max_norm = self.settings.max_grad_norm
        if max_norm is None:
            norms = gradient_norms(gradients)
        else:
            gradients, norms = clip_gradients(gradients, max_norm)
        torch._foreach_add_(list(self._sums.values()), list(gradients))
        self._num_summed += 1
        return norms

    def _step(self, side: str, params: Params, divisor: int) -> None:
        sums = [self._sums[n] for n in params]
        if divisor > 1:
            torch._foreach_div_(sums, divisor)
        for p, g in zip(params.values(), sums, strict=True):
            p.grad = g
        self._optimisers[side].step()
        # A fused optimiser writes without a word; who kept activations must see that they are old.
        torch.autograd.graph.increment_version(params.values())
        torch._foreach_zero_(sums)

    def _step_slow_if_due(self) -> None:
        if not self.at_meta_batch_end():
            return
        if self.slow:
            mean = self.settings.slow_gradient == "mean"
            self._step("slow", self.slow, self._num_summed if mean else 1)
        self._num_summed = 0
        if self.settings.reset_fast == "meta-batch":
            with torch.no_grad():
                for name, p in self.fast.items():
                    p.copy_(self._initial_fast[name])
            self._optimisers["fast"] = self.settings.fast.build(self.fast.values())

    def agent_state(self, index: int) -> dict[str, Any]:
        """Everything agent ``index`` needs to go on, without the leading axis."""
        tensors = {"params": self.params, "sums": self._sums, "initial_fast": self._initial_fast}
        state: dict[str, Any] = {
            key: {n: t[index].detach().clone() for n, t in group.items()}
            for key, group in tensors.items()
        }
        state["optimisers"] = {
            side: {
                name: {
                    key: value.clone() if key == STEP_COUNT else value[index].clone()
                    for key, value in optimiser.state[p].items()
                    if value is not None
                }
                for name, p in getattr(self, side).items()
            }
            for side, optimiser in self._optimisers.items()
        }
        return state | {"num_episodes": self.num_episodes, "num_summed": self._num_summed}

    @torch.no_grad()
    def load_agent_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Take up where `agent_state` of every agent left off."""
        groups = {"params": self.params, "sums": self._sums, "initial_fast": self._initial_fast}
        for key, group in groups.items():
            for name, tensor in group.items():
                tensor.copy_(torch.stack([s[key][name] for s in states]))
        for side, optimiser in self._optimisers.items():
            fused = bool(optimiser.defaults.get("fused"))  # then it counts on the device
            for name, p in getattr(self, side).items():
                saved = [s["optimisers"][side].get(name, {}) for s in states]
                optimiser.state[p] = {
                    key: value.to(p.device if fused else "cpu", copy=True)
                    if key == STEP_COUNT
                    else torch.stack([s[key] for s in saved]).to(p.device)
                    for key, value in saved[0].items()
                }
        self.num_episodes = int(states[0]["num_episodes"])
        self._num_summed = int(states[0]["num_summed"])
