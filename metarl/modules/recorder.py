"""Records the trajectories of a meta-batch while a user's own loop adapts to its tasks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from metarl.core import (
    ClipByNorm,
    ClipByValue,
    Params,
    ReplayBuffer,
    UpdateRule,
    chain,
    share,
    unstack,
)
from metarl.core.update_rules import EMPTY, State
from metarl.modules.inner_optimisers import rule_of, state_of
from metarl.modules.module_task import modes_of
from metarl.modules.step_check import StepCheck
from metarl.modules.task_source import TaskSource
from metarl.modules.trajectory import Trajectory


class Recorder:
    """Paths that are complete, and one that may be growing.

    Attributes:
        buffer: Where the points go.
        rule: The rule that steps are taken by, where it is known beforehand.
        learned: What the rule has learned; if anything, it is another than the optimiser's.
        checks: Steps are taken again, so that they must be the rule's.
        paths: One a task.
        optimizer: The optimiser that adapts to the present task, where it is known.
        enabled: Points are to be recorded.
    """

    def __init__(
        self,
        buffer: ReplayBuffer,
        rule: UpdateRule | None,
        learned: Callable[[], Params],
        *,
        checks: bool,
    ) -> None:
        """Begin without a task."""
        self.buffer, self.rule, self.learned, self.checks = buffer, rule, learned, checks
        self._check: StepCheck | None = None
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.buffer.clear()
        self._stop_checking()
        self.paths: list[Trajectory] = []
        self._path: Trajectory | None = None
        self.optimizer: torch.optim.Optimizer | None = None
        self.enabled = True

    @property
    def active(self) -> bool:
        """Whether there is a task whose points are recorded."""
        return self.enabled and self._path is not None

    @property
    def has_begun(self) -> bool:
        """Whether a point of the present task has been recorded."""
        return self._path is not None and self._path.num_steps > 0

    def begin(self, source: TaskSource) -> None:
        """A new task."""
        self._path = Trajectory(len(self.paths), source)
        self.paths.append(self._path)
        self.enabled = True

    def register(self, optimizer: torch.optim.Optimizer, fast: Params) -> None:
        """Name the optimiser of the present task; refuse one whose steps cannot be taken again."""
        rule = self.rule if self.rule and self.learned() else rule_of(optimizer, fast)
        state_of(optimizer, rule, fast)
        self.optimizer = optimizer
        if rule is not self.rule:
            self._stop_checking()

    def unregister(self) -> None:
        """Know no optimiser."""
        self.optimizer = None

    def record(self, model: nn.Module, fast: Params) -> None:
        """Record a point of the present task, if it is another than the last."""
        path = self._path
        if not self.enabled or path is None or not path.has_moved(fast):
            return
        if not path.num_steps:
            path.modes = modes_of(model)
        rule = self._rule_now(fast)
        path.add(self.buffer, fast, rule, self._state(fast))
        if path.num_steps == 1 and self.checks and self.rule and rule is self.rule:
            self._check = StepCheck(self.rule, self.learned(), fast, lambda: self._state(fast))

    def stop(self, fast: Params) -> None:
        """The present task has come this far."""
        self._stop_checking()
        if self._path is not None and self.enabled:
            self._path.stop(fast, self._state(fast))

    def end(self, fast: Params) -> None:
        """The present task, if there is one, is over, and so is its optimiser."""
        if self._path is not None:
            self.stop(fast)
            path, self._path, self.optimizer = self._path, None, None
            path.close(self.buffer)

    def _stop_checking(self) -> None:
        if self._check:
            self._check.close()
        self._check = None

    def _rule_now(self, fast: Params) -> UpdateRule | None:
        """The optimiser's, where it is known, after what the loop does to gradients: clipping."""
        if self.optimizer is None or self.learned():
            return self.rule
        links = self.rule.links if self.rule else ()
        clips = [link for link in links if isinstance(link, ClipByNorm | ClipByValue)]
        return chain(*clips, rule_of(self.optimizer, fast))

    def _state(self, fast: Params) -> State:
        rule = self._rule_now(fast)
        if rule is None:
            return EMPTY
        if self.optimizer is not None:
            return state_of(self.optimizer, rule, fast)
        state: dict[str, Tensor] = unstack(rule.init(share(fast, 1)), 0)
        if state:
            raise ValueError(
                "the rule carries a state from step to step, which the optimiser has: give it to "
                "warp.register_optimizer before the first step on every task"
            )
        return state
