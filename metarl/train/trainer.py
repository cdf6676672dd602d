"""A meta-learner and the outer optimisers that step on its gradient, as `MetaTraining` drives them.

    for metrics in learner.meta_gradients(tasks):
        clip; optimiser.step(); optimiser.zero_grad()

A gradient that is not finite is not stepped on: the meta-batch is left and counted (``skipped``).

Each side of the meta-parameters (``fast.``, ``slow.``, ``rule.``, ...: the first word of the name)
has an optimiser of its own, so that each may have its own learning rate.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from metarl.core import OptimiserSettings, TaskBatch
from metarl.meta import (
    MetaLearner,
    Metrics,
    NonFiniteLossError,
    Penalty,
    regularised_gradients,
)
from metarl.runs import resume
from metarl.runs.directory import RunDirectory
from metarl.train.loop import MetaTraining

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OuterSettings:
    """How the meta-parameters step on their gradient.

    Attributes:
        optimiser: Of all sides; its learning rate is the initialisation's.
        slow_lr: Learning rate of the slow parameters. None: the optimiser's.
        rule_lr: Learning rate of what the update rule learns. None: the optimiser's.
        max_grad_norm: Clip the meta-gradient, over all sides, to this norm. None: never.
    """

    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    slow_lr: float | None = None
    rule_lr: float | None = None
    max_grad_norm: float | None = None

    def __post_init__(self) -> None:
        """Refuse, before any work starts, what cannot be stepped with."""
        for name in ("slow_lr", "rule_lr"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and at least 0, got {value}")
        norm = self.max_grad_norm
        if norm is not None and not (math.isfinite(norm) and norm > 0):
            raise ValueError(f"max_grad_norm must be finite and above 0, or None, got {norm}")

    def of_side(self, side: str) -> OptimiserSettings:
        """The optimiser of one side."""
        lr = {"slow": self.slow_lr, "rule": self.rule_lr}.get(side)
        return self.optimiser if lr is None else replace(self.optimiser, lr=lr)


MAX_SKIPPED = 10
"""Meta-batches in a row without a finite gradient that are taken for bad luck."""


class OptimisedLearner:
    """One agent that `metarl.train.loop.MetaTraining` can train, save and restore.

    Args:
        learner: Whose meta-parameters are learned, in place.
        settings: How they step.
    """

    def __init__(self, learner: MetaLearner, settings: OuterSettings) -> None:
        self.learner, self.settings = learner, settings
        sides: dict[str, list[Tensor]] = {}
        for name, p in learner.params.items():
            sides.setdefault(name.partition(".")[0], []).append(p)
        self._any_param = next(iter(learner.params.values()))
        self.optimisers = {side: settings.of_side(side).build(p) for side, p in sides.items()}
        self._skipped_in_a_row = 0

    def set_learning_rate_factor(self, factor: float) -> None:
        """Scale all outer learning rates, for a schedule."""
        for side, optimiser in self.optimisers.items():
            optimiser.param_groups[0]["lr"] = self.settings.of_side(side).lr * factor

    def update(self, tasks: TaskBatch[Any], penalty: Penalty | None = None) -> dict[str, Tensor]:
        """Learn from one meta-batch: one step for each gradient that the learner yields.

        Args:
            tasks: N tasks.
            penalty: A term of the meta-objective beside the learner's own.

        Returns:
            Metrics ``[1]``, means over the tasks and the steps: the learner's own, and
            ``grad_norm`` before clipping; ``skipped``: 1 where a metric or the gradient was not
            finite, so that no step was taken on it nor on what would have followed; and what else
            was survived (`MetaLearner.incidents`).

        Raises:
            NonFiniteLossError: As many as `MAX_SKIPPED` meta-batches in a row were skipped.
        """
        seen: dict[str, list[Tensor]] = {}
        gradients = (
            self.learner.meta_gradients(tasks)
            if penalty is None
            else regularised_gradients(self.learner, tasks, penalty)
        )
        skipped = 0
        for metrics in gradients:
            means = self._means(metrics)
            if not bool(torch.stack([m.float() for m in means.values()]).isfinite().all()):
                skipped = 1
                self._note_skipped(means)
                break
            self._step(means["grad_norm"])
            for name, value in means.items():
                seen.setdefault(name, []).append(value)
        else:
            self._skipped_in_a_row = 0
        if isinstance(gradients, Generator):
            gradients.close()  # at once, for what it holds
        found = {name: torch.stack(values).mean().view(1) for name, values in seen.items()}
        counts = {**self.learner.incidents, "skipped": skipped}
        return found | {n: self._any_param.new_full((1,), count) for n, count in counts.items()}

    def agent_state(self, index: int) -> dict[str, Any]:
        """Everything the one agent needs to go on: the learner's state, and the optimisers'."""
        states = {side: optimiser.state_dict() for side, optimiser in self.optimisers.items()}
        learned = self.learner.state_dict()
        return {**learned, "optimisers": states, "skipped_in_a_row": self._skipped_in_a_row}

    def load_agent_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Take up where the one agent left off.

        Raises:
            KeyError: Something is missing in its state.
            RuntimeError: It is another learner's.
        """
        (state,) = states
        try:
            self.learner.load_state_dict(state)
            for side, optimiser in self.optimisers.items():
                optimiser.load_state_dict(state["optimisers"][side])
            self._skipped_in_a_row = int(state.get("skipped_in_a_row", 0))
        except ValueError as error:
            raise RuntimeError(str(error)) from error

    def _means(self, metrics: Metrics) -> dict[str, Tensor]:
        """Of the metrics, and the norm of the gradient."""
        grads = [p.grad for p in self.learner.params.values() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(grads or [torch.zeros_like(self._any_param)])
        return {**{n: value.detach().mean() for n, value in metrics.items()}, "grad_norm": norm}

    def _step(self, norm: Tensor) -> None:
        """Step on a complete gradient."""
        params = [p for p in self.learner.params.values() if p.grad is not None]
        if self.settings.max_grad_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(params, self.settings.max_grad_norm, norm)
        for optimiser in self.optimisers.values():
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    def _note_skipped(self, means: Mapping[str, Tensor]) -> None:
        """Drop the gradient.

        Raises:
            NonFiniteLossError: It is one too many.
        """
        for p in self.learner.params.values():
            p.grad = None
        self._skipped_in_a_row += 1
        found = ", ".join(f"{name} {float(value):.4g}" for name, value in means.items())
        what = f"loss or gradient is not finite ({found})"
        if self._skipped_in_a_row >= MAX_SKIPPED:
            raise NonFiniteLossError(f"{what}, {MAX_SKIPPED} meta-batches in a row")
        logger.warning("a meta-batch was skipped: %s", what)


def load_learner(run: RunDirectory, learner: MetaLearner) -> int:
    """Give a learner the meta-parameters of a run's checkpoint; returns its iteration.

    Raises:
        UserError: The checkpoint is missing or damaged, or it is another learner's.
    """
    state = run.load_checkpoint()
    with run.fits_settings():
        learner.load_state_dict(state["learner"])
    return int(state["iteration"])


def train_in_turn(
    runs: Sequence[RunDirectory],
    build: Callable[[RunDirectory], MetaTraining],
    *,
    resume_to: int | None = None,
) -> None:
    """Train one seed after the other, each in its run directory.

    Args:
        runs: One a seed.
        build: All that trains a seed; called when its turn comes.
        resume_to: Go on to so many iterations where each run stopped: one that is finished is left
            alone, one that has not begun begins. None: the runs are new.

    Raises:
        UserError: A checkpoint is damaged, or not of these settings; a run has done more.
        NonFiniteLossError: A loss became NaN or infinite; later seeds have not begun.
        KeyboardInterrupt: Ctrl-C was pressed; a checkpoint has been written first.
    """
    try:
        if resume_to is not None:
            for run, done in zip(runs, resume.claim(runs, resume_to), strict=True):
                resume.note(run, done, resume_to, goes_on=False)
        for run in runs:
            training = build(run)
            if resume_to is not None:
                training.resume()
            training.run()
    finally:
        for run in runs:
            run.close()
