"""Minibatches of whole trials: parts of a batch that is learned from several times.

Every epoch deals the trials of each agent out again, in an order that the agent draws from a stream
of its own, so that an agent trained beside others sees the minibatches that it would see alone. A
trial is not cut here: the memory of its agent runs from its first step to its last. What was worked
out over the whole batch (advantages, their normalisation, the probabilities of playing) is dealt
out with the trials and not worked out again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from metarl.nn import Trace
from metarl.rl.policies import Policy
from metarl.rl.trajectory import TIMED, ScoredTrajectory


class TrialMinibatches:
    """The minibatches of one batch of trials after the other (`metarl.meta.Minibatches`).

    Attributes:
        size: Trials per agent in a minibatch, m.
        count: Minibatches of a batch, K.
    """

    def __init__(
        self,
        policy: Policy,
        num_trials: int,
        size: int,
        generators: Sequence[torch.Generator],
        *,
        share: slice | None = None,
        in_windows: bool = False,
    ) -> None:
        """Divide batches of B trials per agent into minibatches of m.

        Args:
            policy: Who plays; the activations of its core are kept in memory of their own.
            num_trials: B.
            size: m.
            generators: One per agent, for the orders of its trials.
            share: Which of the m trials of each minibatch are dealt to this process; None: all.
            in_windows: Whether trials are learned from in `Windows`, with memory of their own.

        Raises:
            ValueError: The size does not divide the number of trials.
        """
        check_divides(size, num_trials)
        self.policy, self.generators, self._in_windows = policy, generators, in_windows
        self.num_trials, self.size, self.count = num_trials, size, num_trials // size
        self._share = share or slice(0, size)
        self._trace: Trace | None = None
        self._shape = 0, 0, 0

    def of(self, batch: ScoredTrajectory, num_epochs: int) -> Iterator[ScoredTrajectory]:
        """The minibatches of some epochs, ``num_epochs * count`` of them, one after the other.

        All orders are drawn before the first: what an agent draws later does not depend on how many
        are asked for.

        Args:
            batch: The trials of all agents.
            num_epochs: Times that every trial is met.
        """
        batch.played.let_go()  # the weights move from one minibatch to the next
        orders = [self._order() for _ in range(num_epochs)]
        for order in orders:
            yield from self._dealt(batch, order)

    def _order(self) -> Tensor:
        """A new order of each agent's trials, ``[N, B]``."""
        return torch.stack(
            [torch.randperm(self.num_trials, generator=g, device=g.device) for g in self.generators]
        )

    def _dealt(self, batch: ScoredTrajectory, order: Tensor) -> Iterator[ScoredTrajectory]:
        """The minibatches of one epoch, gathered all at once."""
        whole = batch.trajectory
        num_tasks, num_steps, num_trials = whole.rewards.shape
        # [N, B] to [K, N, 1, m], the trials of each minibatch
        trials = order.view(num_tasks, self.count, 1, self.size).transpose(0, 1)[..., self._share]
        of_task = torch.arange(num_tasks, device=order.device).view(-1, 1, 1)  # [N, 1, 1]
        time = torch.arange(num_steps, device=order.device).view(-1, 1)  # [T, 1]
        steps = (of_task * num_steps + time) * num_trials + trials  # [K, N, T, m]
        ends = of_task * num_trials + trials  # [K, N, 1, m]

        def dealt(values: Tensor | None) -> Sequence[Any]:
            return [None] * self.count if values is None else gathered(values, steps).unbind()

        parts = {name: dealt(getattr(whole, name)) for name in TIMED}
        # K of [N, m, I]
        last = gathered(whole.last_observations.unsqueeze(1), ends).squeeze(2).unbind()
        # each [N, B, ...] to K of [N, m, ...]
        states = [gathered(s.unsqueeze(1), ends).squeeze(2).unbind() for s in whole.state or ()]
        advantages, targets = dealt(batch.advantages), dealt(batch.targets)
        for k in range(self.count):
            part = whole._replace(
                **{name: of_all[k] for name, of_all in parts.items()},
                last_observations=last[k],
                state=None if whole.state is None else tuple(s[k] for s in states),
                trace=None,
                bonus=None,  # judged with the batch
                means=None,
            )
            yield batch._replace(
                trajectory=part,
                advantages=advantages[k],
                targets=targets[k],
                memory=self._memory(whole.observations),
            )

    def _memory(self, observations: Tensor) -> Trace | None:
        """Memory for the core's activations on a minibatch, which each minibatch writes again."""
        if self._in_windows:
            return None
        shape = (*observations.shape[:2], self._share.stop - self._share.start)
        if self._trace is None or self._shape != shape or not self._trace.usable():
            self._trace, self._shape = self.policy.new_trace(shape, observations), shape
        return self._trace


def gathered(values: Tensor, rows: Tensor) -> Tensor:
    """Values ``[N, T, B, ...]`` at rows of its first three axes, each row in one piece."""
    flat = values.flatten(0, 2).index_select(0, rows.flatten())  # [rows, ...] of [N T B, ...]
    return flat.view(*rows.shape, *values.shape[3:])


def check_divides(size: int, num_trials: int) -> None:
    """Check that minibatches of m trials make up a batch of B.

    Raises:
        ValueError: They do not; the message names numbers that would.
    """
    if size >= 1 and num_trials % size == 0:
        return
    divisors = [str(m) for m in range(1, num_trials + 1) if num_trials % m == 0]
    raise ValueError(
        f"minibatches of {size} trials do not make up a batch of {num_trials}: "
        f"minibatch_trials can be {', '.join(divisors)}, or None for all at once"
    )
