"""Records the trajectories of a meta-batch while a user's own loop adapts to its tasks.

A point is noted by a forward pass, and recorded when a step comes from it: the optimiser that steps
is seen, and with it the rule and its state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.optim import Optimizer

from metarl.core import Params, ReplayBuffer, UpdateRule
from metarl.core.update_rules import EMPTY, State
from metarl.modules.module_task import TaskSource, modes_of
from metarl.modules.step_watch import StepCheck, StepWatch
from metarl.modules.torch_rules import rule_of, state_of


@dataclass
class TaskPath:
    """A path theta_0, ..., theta_K that grows while a task is adapted to.

    Attributes:
        task: Number of the task in the meta-batch.
        source: The task's batches.
        modes: The modes of the model's modules at the first point.
        rules: Rule of every step, where one is known.
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
        """Number of steps, K."""
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


class Recorder:
    """Paths that are complete, and one that may be growing.

    Attributes:
        buffer: Memory of the points.
        rule: The rule that steps are taken by, where it is known beforehand.
        learned: Learned parameters of the rule; if any, it is another than the optimiser's.
        checks: Steps are taken again, so that they must be the rule's.
        paths: One for each task.
        optimizer: The optimiser that was named for the present task.
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
        self._watch: StepWatch | None = None
        self._check: StepCheck | None = None
        self._stepping: Optimizer | None = None  # inside its step, which calls the loss
        self._seen: Optimizer | None = None  # the last that stepped
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.buffer.clear()
        self._stop_watching()
        self._seen = None
        self.paths: list[TaskPath] = []
        self._path: TaskPath | None = None
        self.optimizer: Optimizer | None = None
        self.enabled = True

    @property
    def active(self) -> bool:
        """Whether there is a task whose points are recorded."""
        return self.enabled and self._path is not None

    @property
    def has_begun(self) -> bool:
        """Whether a point of the present task has been noted."""
        return self._path is not None and bool(self._path.num_steps or self._path.is_open)

    def begin(self, source: TaskSource, fast: Params) -> None:
        """Begin a task, which these parameters adapt to."""
        self._path = TaskPath(len(self.paths), source)
        self.paths.append(self._path)
        self.enabled, self._seen = True, None
        self._start_watching(fast)

    def register(self, optimizer: Optimizer, fast: Params) -> None:
        """Name the optimiser of the present task; refuse one whose steps cannot be taken again."""
        rule_of(optimizer, fast)
        self.optimizer = optimizer

    def unregister(self) -> None:
        """Know no optimiser."""
        self.optimizer = None

    def record(self, model: nn.Module, fast: Params) -> None:
        """Note a point of the present task, if it is another than the last."""
        path = self._path
        if not self.enabled or path is None or not path.has_moved(fast):
            return
        if self._watch is None or self._watch.fast is not fast:
            self._start_watching(fast)
        if path.is_open:  # a step came from there that no optimiser took
            self._close_point(path, None)
        if not path.num_steps:
            path.modes = modes_of(model)
        path.begin_point(fast)
        if self._stepping:  # the forward pass of a closure
            self._close_point(path, self._stepping)

    def before(self, optimiser: Optimizer, *, has_closure: bool) -> None:
        """An optimiser is about to step on the parameters."""
        path, watch = self._path, self._watch
        if path is None or watch is None:
            return
        self._seen = optimiser
        self._stepping = optimiser if has_closure else None
        if path.is_open:
            self._close_point(path, optimiser)
        rule = self._rule(optimiser)
        if not has_closure and self.checks and rule is self.rule and rule is not None:
            if self._check is None:
                self._check = StepCheck(rule, self.learned(), watch.fast)
            index = max(path.num_steps - 1, 0)
            self._check.before(optimiser, state_of(rule, watch.fast, index, optimiser))

    def after(self, optimiser: Optimizer) -> None:
        """Note that the optimiser has stepped."""
        self._stepping = None
        if self._check:
            self._check.after(optimiser)

    def stop(self, fast: Params) -> None:
        """Note that the present task has come this far, and watch no longer."""
        path = self._path
        if path is None or self._watch is None:
            return
        if path.is_open and path.has_moved(fast):
            self._close_point(path, None)
        path.stop(fast, self._state(path, self._seen))
        self._stop_watching()

    def end(self, fast: Params) -> None:
        """End the present task, if there is one, and forget its optimiser."""
        if self._path is not None:
            self.stop(fast)
            path, self._path, self.optimizer = self._path, None, None
            self._seen = None
            path.close(self.buffer)

    def _start_watching(self, fast: Params) -> None:
        self._stop_watching()
        self._watch = StepWatch(self, fast)

    def _stop_watching(self) -> None:
        if self._watch:
            self._watch.close()
        self._watch = None
        self._check = self._stepping = None

    def _close_point(self, path: TaskPath, optimiser: Optimizer | None) -> None:
        rule = self._rule(optimiser)
        if rule is None and self.checks:
            raise ValueError(
                "the steps of adaptation are not known: the parameters were moved by no optimiser "
                "of torch.optim. Give DualUpdater the rule that moves them, e.g. metarl.sgd(lr)"
            )
        path.close_point(self.buffer, rule, self._state(path, optimiser))

    def _rule(self, optimiser: Optimizer | None) -> UpdateRule | None:
        """Return a step's rule: what learns, the named optimiser's, the one given, the seen."""
        assert self._watch is not None
        if self.rule and (self.learned() or self.optimizer is None):
            return self.rule
        named = self.optimizer or optimiser
        return rule_of(named, self._watch.fast) if named and self.checks else None

    def _state(self, path: TaskPath, optimiser: Optimizer | None) -> State:
        rule = self._rule(optimiser)
        if rule is None:
            return EMPTY
        assert self._watch is not None
        known = self.optimizer or optimiser
        return state_of(rule, self._watch.fast, path.num_steps, known)
