"""Windows of trials: back-propagation through time that is cut off (Williams & Peng 1990).

A trial of T steps is learned from in windows of S steps, the last one may be shorter. Each begins
with the memory that the windows before have left under the weights at hand, and no gradient goes
back into it. The sum of their losses is the loss of whole trials, but of its gradient what goes
through memory from one window into another is left out: nothing, where S is at least T. One window
is differentiated before the next is worked out, and so memory is needed for the activations of one.

What was worked out over whole trials (advantages, their normalisation, the probabilities of
playing) is not worked out again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from metarl.core import Params
from metarl.nn import Trace
from metarl.rl.policies import Policy
from metarl.rl.trajectory import TIMED, ScoredTrajectory


class Windows:
    """The windows of one batch of trials after the other.

    Attributes:
        num_steps: Steps of a window, S.
    """

    def __init__(self, policy: Policy, num_steps: int) -> None:
        """Cut trials that this policy plays.

        Args:
            policy: Whose memory is carried; the activations of its core are kept in memory of
                their own.
            num_steps: S.

        Raises:
            ValueError: It is below 1.
        """
        if num_steps < 1:
            raise ValueError(f"a window has at least 1 step, got {num_steps}")
        self.policy, self.num_steps = policy, num_steps
        self._traces: dict[tuple[int, ...], Trace | None] = {}

    def of(
        self, params: Params, batch: ScoredTrajectory
    ) -> Iterator[tuple[float, ScoredTrajectory]]:
        """The windows of a batch in their order, with the share of its steps that each has.

        Args:
            params: Weights ``[N, ...]`` under which memory is carried.
            batch: The trials.
        """
        batch.played.let_go()  # each window rounds in its own way
        whole = batch.trajectory
        num_steps = whole.rewards.shape[1]
        state = whole.state
        if state is None:
            state = self.policy.empty_state(params, whole.rewards.shape[2])
        for begin in range(0, num_steps, self.num_steps):
            end = min(begin + self.num_steps, num_steps)
            cut: dict[str, Any] = {
                name: None if (values := getattr(whole, name)) is None else values[:, begin:end]
                for name in TIMED
            }
            part = whole._replace(**cut, state=state, trace=None, bonus=None, means=None)
            yield (
                (end - begin) / num_steps,
                batch._replace(
                    trajectory=part,
                    advantages=batch.advantages[:, begin:end],
                    targets=None if batch.targets is None else batch.targets[:, begin:end],
                    memory=self._memory(part.observations),
                ),
            )
            if end < num_steps:
                state = self.policy.state_after(params, part.observations, state, part.starts)

    def _memory(self, observations: Tensor) -> Trace | None:
        """Memory for the core's activations on a window, which each window writes again."""
        num_tasks, num_steps, batch_size = observations.shape[:3]
        shape = num_tasks, num_steps, batch_size
        trace = self._traces.get(shape)
        if trace is None or not trace.usable():
            trace = self._traces[shape] = self.policy.new_trace(shape, observations)
        return trace
