"""What is remembered of one task's adaptation, beside the points in the replay buffer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from metarl.core import Params, ReplayBuffer, UpdateRule
from metarl.core.update_rules import State
from metarl.modules.task_source import TaskSource


@dataclass
class Trajectory:
    """A path theta_0, ..., theta_K that grows while a task is adapted to.

    Attributes:
        task: Its number in the meta-batch.
        source: The task's batches.
        modes: The modes of the model's modules at the first point.
        rules: Of every step, the rule that took it, where one is known.
        end: The last point seen.
        end_state: The rule's state there.
        last: The last point noted, until adaptation is over.
        is_open: No step has come from it yet, so that it is not recorded.
    """

    task: int
    source: TaskSource
    modes: Mapping[str, bool] = field(default_factory=dict)
    rules: list[UpdateRule | None] = field(default_factory=list)
    end: Params = field(default_factory=dict)
    end_state: State = field(default_factory=dict)
    last: Params = field(default_factory=dict)
    is_open: bool = False

    @property
    def num_steps(self) -> int:
        """K."""
        return len(self.rules)

    def has_moved(self, fast: Params) -> bool:
        """Whether these parameters are another point than the last one recorded."""
        if not self.last:
            return True
        return bool(torch.stack([(p != self.last[n]).any() for n, p in fast.items()]).any())

    def begin_point(self, fast: Params) -> None:
        """Note the next point, from which a step may come."""
        self.last = {name: p.detach().clone() for name, p in fast.items()}
        self.is_open = True

    def close_point(self, buffer: ReplayBuffer, rule: UpdateRule | None, state: State) -> None:
        """Record the point noted last: a step comes from it, or has come."""
        if self.num_steps % buffer.stride == 0:
            buffer.add(self.task, self.num_steps, self.last, state)
        self.rules.append(rule)
        self.is_open = False

    def stop(self, fast: Params, state: State) -> None:
        """Note where adaptation stands; it may go on, from another point if one is open."""
        if self.is_open:
            self.last, self.is_open = {}, False
        self.end = {name: p.detach().clone() for name, p in fast.items()}
        self.end_state = {name: s.detach().clone() for name, s in state.items()}

    def close(self, buffer: ReplayBuffer) -> None:
        """Adaptation is over: record the end if the buffer is to have it.

        Raises:
            ValueError: No step was taken, so that there is nothing to learn from.
        """
        if self.num_steps and buffer.include_final:
            buffer.add(self.task, self.num_steps, self.end, self.end_state)
        self.last = {}
        if not self.num_steps:
            raise ValueError(
                f"task {self.task} of this meta-batch took no step while collecting: call warp(x) "
                "in training mode and step on warp.adapt_parameters()"
            )
