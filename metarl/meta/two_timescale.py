"""Two timescales: fast weights step after every episode, slow weights once a warp period.

The maze of Flennerhag et al. 2020: WarpGrad's Algorithm 3 with the meta-loss equal to the task
loss. A batch of tasks is played; the fast weights step on its gradient at once, the slow (warp)
weights step every `warp_period` episodes on the mean of the gradients since their last step. So it
is recurrent meta-RL (the memory of a task is the hidden state) plus gradient warping on two
timescales; there is no look-ahead through an inner step, which Algorithms 1 and 2 have.

Agents are stacked and learn side by side, each as it would alone. The gradient of one that is not
finite counts as 0, and what is added up is clipped: `TwoTimescale.due` comes after both.

Where a batch is learned from in minibatches, each of them takes the place of an episode above: fast
weights step on every minibatch, and a warp period is that many minibatches. So both sides get as
many more steps from the same experience as there are minibatches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import torch
from torch import Tensor

from metarl.core import OptimiserSettings, Params, TaskBatch, partition, precise
from metarl.core.tasks import is_parted
from metarl.errors import check_choices
from metarl.meta.learner import Metrics, SideStep

Function: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class TwoTimescaleSettings:
    """Settings of the steps of both sides.

    Attributes:
        fast: Optimiser of the fast weights.
        slow: Optimiser of the slow weights.
        warp_period: Episodes (or minibatches) between two slow steps.
        max_grad_norm: Each episode's gradient is clipped to this norm over all weights; None does
            not clip.
        num_epochs: Fast steps per episode, each on the loss recomputed (PPO); in minibatches, how
            often each of an episode's trials is met.
        reset_fast: meta-batch returns the fast weights and their optimiser to the start after
            every slow step, so that the slow weights learn to make fast ones adapt from there;
            never lets them live on, as published.
        slow_gradient: Step the slow weights on the mean of the gradients, or on their sum.
        burn_in: Episodes (or minibatches) at the start without a step, whose gradients pile up (the
            published code's 101).
        slow_phase: Shifts the slow steps by that many episodes or minibatches (the published
            code's 1).
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
        """Check named values, counts and norm."""
        check_choices(self)
        for name, least in (("warp_period", 1), ("num_epochs", 1), ("burn_in", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.max_grad_norm is not None and not self.max_grad_norm > 0:  # NaN is not either
            raise ValueError(f"max_grad_norm must be above 0, or None, got {self.max_grad_norm}")

    def of_side(self, side: str) -> OptimiserSettings:
        """The optimiser of one side."""
        return self.fast if side == "fast" else self.slow


class Minibatches(Protocol):
    """The division of a batch of experience into minibatches."""

    @property
    def count(self) -> int:
        """Minibatches of a batch."""

    def of(self, batch: Any, num_epochs: int) -> Iterator[Any]:
        """The minibatches of some epochs, ``num_epochs * count``, each a batch to the tasks' loss.

        Args:
            batch: What the tasks' ``sample`` returned.
            num_epochs: Times that the whole batch is gone through.
        """


class TwoTimescale:
    """N agents with fast and slow weights, learning side by side.

    Attributes:
        params: Stacked parameters ``[N, ...]``; their values change in place when an optimiser
            steps, and at no other time.
        num_episodes: Episodes learned from so far, or minibatches.
        batch: The experience of the last one; None before the first. Where it was played by a
            captured function, the next one is written over it.
    """

    incidents: ClassVar[Mapping[str, int]] = {}
    shareable: ClassVar[bool] = True

    def __init__(
        self,
        params: Params,
        slow: Sequence[str],
        settings: TwoTimescaleSettings,
        captured: Callable[[Function], Function] = lambda function: function,
        *,
        minibatches: Minibatches | None = None,
    ) -> None:
        """Take parameters ``[N, ...]``, which are copied.

        Args:
            params: Parameters of N agents.
            slow: Name patterns of the slow ones.
            settings: Settings of the steps of both sides.
            captured: Runs what leads from tasks to gradients, given as a function that always
                gets the same objects: as a CUDA graph, for one. With minibatches, which are never
                the same, it runs what leads to the experience alone.
            minibatches: How experience is divided; None: it is not.
        """
        self.settings, self._minibatches = settings, minibatches
        self.params = {n: p.detach().clone().requires_grad_() for n, p in params.items()}
        self.num_agents = len(next(iter(self.params.values())))
        self.partition = partition(self.params, slow=slow)
        self.fast, self.slow = self.partition.split(self.params)
        self.num_episodes = 0
        self.batch: Any = None
        self._initial_fast = {n: p.detach().clone() for n, p in self.fast.items()}
        self._sums = {n: torch.zeros_like(precise(p)) for n, p in self.params.items()}
        self._num_summed = self._left = 0  # gradients in the sums; those to come from this batch
        self._sample = captured(self._sampled)
        self._play, self._repeat = captured(self._played), captured(self._differentiated)

    @property
    def sides(self) -> dict[str, list[str]]:
        """Names of ``params``, side by side: each has an optimiser of its own."""
        sides = {"fast": list(self.fast), "slow": list(self.slow)}
        return {side: names for side, names in sides.items() if names}

    def meta_gradients(self, tasks: TaskBatch[Any]) -> Iterator[Metrics]:
        """Play one episode on a batch of tasks per agent: write the gradient of its loss.

        Args:
            tasks: The tasks of N agents.

        Yields:
            Metrics ``[N]``, once per epoch: ``loss``, and those that the experience has.
        """
        if self._minibatches is not None:
            yield from self._in_minibatches(tasks, self._minibatches)
            return
        self._left = self.settings.num_epochs
        self.batch, loss, gradients = self._play(tasks)
        measured: Metrics = getattr(self.batch, "metrics", {})
        for epoch in range(self.settings.num_epochs):
            if epoch and self._learns:  # the weights have moved
                loss, gradients = self._repeat(tasks, self.batch)
            yield self._written(loss, gradients, measured)

    def play(self, tasks: TaskBatch[Any]) -> Metrics:
        """Play on a batch of tasks per agent, and learn nothing: `batch` is what was played.

        Returns:
            Metrics ``[N]``: those that the experience has.
        """
        self.batch = self._sampled(tasks)
        metrics: Metrics = getattr(self.batch, "metrics", {})
        return metrics

    def _in_minibatches(self, tasks: TaskBatch[Any], minibatches: Minibatches) -> Iterator[Metrics]:
        """`meta_gradients`, one per minibatch and epoch."""
        num_epochs = self.settings.num_epochs
        self._left = num_epochs * minibatches.count
        self.batch = self._sample(tasks)
        measured: Metrics = getattr(self.batch, "metrics", {})
        for part in minibatches.of(self.batch, num_epochs):
            yield self._written(*self._differentiated(tasks, part), measured)

    def _written(self, loss: Tensor, gradients: Sequence[Tensor], measured: Metrics) -> Metrics:
        """Write gradients to where a trainer looks for them, and return the metrics."""
        for p, gradient in zip(self.params.values(), gradients, strict=True):
            p.grad = gradient
        return {**measured, "loss": loss}

    def due(self, skips: Tensor | None) -> Sequence[SideStep]:
        """Fast weights step at once, slow ones with the last gradient of a warp period.

        Args:
            skips: bool ``[N]``: agents whose gradient was not finite and has been set to 0; None:
                all were.

        Returns:
            The steps; what they step on lies in ``.grad``, in place of the gradient. An agent that
            skips takes no step from there to the end of its batch, but for the slow step of a batch
            that is learned from in one piece.
        """
        gradients = [p.grad for p in self.params.values() if p.grad is not None]
        torch._foreach_add_(list(self._sums.values()), gradients)
        fast: list[SideStep] = []
        if self._learns:
            fast.append(SideStep("fast", skips))
            self._take_sums(self.fast, 1)
        slow: list[SideStep] = []
        # What would follow a gradient that all skip does not come: it counts as if it had been 0.
        nothing_follows = skips is not None and bool(skips.all())
        for _ in range(self._left if nothing_follows else 1):
            if not self._ends_a_period():
                continue
            if self.settings.reset_fast == "meta-batch":
                fast = [step._replace(restart=self._initial_fast) for step in fast]
            if self.slow and not slow:
                mean = self.settings.slow_gradient == "mean"
                self._take_sums(self.slow, self._num_summed if mean else 1)
                slow.append(SideStep("slow", None if self._minibatches is None else skips))
            self._num_summed = 0
        return [*fast, *slow]

    def _ends_a_period(self) -> bool:
        """Count a gradient; whether a warp period is over with it."""
        self._num_summed += 1
        self._left -= 1
        if self._left and self._minibatches is None:  # an episode has more epochs to come
            return False
        self.num_episodes += 1
        return self.at_meta_batch_end()

    def at_meta_batch_end(self) -> bool:
        """Whether the slow weights have just stepped (or would have, were there any)."""
        episodes = self.num_episodes - self.settings.slow_phase
        return (
            self.num_episodes > self.settings.burn_in and episodes % self.settings.warp_period == 0
        )

    @property
    def _learns(self) -> bool:
        """Whether the burn-in is over."""
        return self.num_episodes >= self.settings.burn_in

    def _played(self, tasks: TaskBatch[Any]) -> tuple[Any, Tensor, tuple[Tensor, ...]]:
        """An episode, its loss ``[N]`` and the gradient by every parameter; nothing else moves."""
        batch = self._sampled(tasks)
        return batch, *self._differentiated(tasks, batch)

    def _sampled(self, tasks: TaskBatch[Any]) -> Any:
        """An episode; nothing else moves."""
        return tasks.sample(self.fast, self.slow, "support")

    def _differentiated(
        self, tasks: TaskBatch[Any], batch: Any
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The loss of an episode and its gradient, under the weights as they are."""
        params = list(self.params.values())
        if not is_parted(tasks):
            loss = tasks.loss(self.fast, self.slow, batch)
            return loss.detach(), torch.autograd.grad(loss.sum(), params)
        found: list[tuple[Tensor, tuple[Tensor, ...]]] = []
        for part in tasks.losses(self.fast, self.slow, batch):
            gradient = torch.autograd.grad(  # of one step, some parameters have no part in it
                part.sum(), params, allow_unused=True, materialize_grads=True
            )
            one = part.detach(), gradient
            found = [_sum(found[0], one)] if found else [one]
        return found[0]

    def _take_sums(self, params: Params, divisor: int) -> None:
        """Make the sums so far the gradients of one side, and begin again at 0."""
        sums = [self._sums[name] for name in params]
        for p, total in zip(params.values(), torch._foreach_div(sums, divisor), strict=True):
            p.grad = total.to(p.dtype)  # sums are in at least float32
        torch._foreach_zero_(sums)

    def agent_state(self, index: int) -> dict[str, Any]:
        """Everything agent ``index`` needs to go on, without the leading axis."""
        state: dict[str, Any] = {
            key: {n: t[index].detach().clone() for n, t in group.items()}
            for key, group in self._tensors().items()
        }
        return state | {"num_episodes": self.num_episodes, "num_summed": self._num_summed}

    @torch.no_grad()
    def load_agent_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Take up where `agent_state` of every agent left off."""
        for key, group in self._tensors().items():
            for name, tensor in group.items():
                tensor.copy_(torch.stack([s[key][name] for s in states]))
        self.num_episodes = int(states[0]["num_episodes"])
        self._num_summed = int(states[0]["num_summed"])

    def _tensors(self) -> dict[str, dict[str, Tensor]]:
        """Tensors that are kept for every agent, ``[N, ...]``."""
        return {"params": self.params, "sums": self._sums, "initial_fast": self._initial_fast}


def _sum(
    one: tuple[Tensor, tuple[Tensor, ...]], other: tuple[Tensor, tuple[Tensor, ...]]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The sum of two losses, and of their gradients."""
    return one[0] + other[0], tuple(a + b for a, b in zip(one[1], other[1], strict=True))
