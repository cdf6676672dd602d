"""Keep the learner as it was when it did best on validation tasks.

`MetaTraining` drives a `SelectedLearner` as it drives any learner. What was best is a part of the
checkpoint, so that a run that is interrupted and resumed chooses as one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from metarl.core import TaskBatch
from metarl.core.processes import current
from metarl.errors import UserError
from metarl.meta import MetaLearner
from metarl.runs import checkpoint
from metarl.runs.directory import RunDirectory
from metarl.train.trainer import Trainer

VALIDATION = "validation_accuracy"


class SelectedLearner:
    """A trainer whose learner is validated now and then.

    Attributes:
        best: The learner's state when it was best, with ``score`` and ``iteration``; None before
            the first validation.
    """

    def __init__(self, trainer: Trainer, validate: Callable[[], float], every: int) -> None:
        """Wrap a trainer.

        Args:
            trainer: Trainer of a learner with one agent.
            validate: Judges the learner now: a larger number is better. It draws nothing from the
                streams of training.
            every: Iterations between validations.
        """
        self.trainer, self.validate, self.every = trainer, validate, every
        self.best: dict[str, Any] | None = None
        self._regular: dict[str, Any] | None = None  # the best of the regular validations
        self._iteration = 0

    def set_learning_rate_factor(self, factor: float) -> None:
        """Scale all outer learning rates, for a schedule."""
        self.trainer.set_learning_rate_factor(factor)

    def step(self, tasks: TaskBatch[Any]) -> dict[str, Tensor]:
        """Learn from one meta-batch, and validate when it is time."""
        metrics = self.trainer.step(tasks)
        self._iteration += 1
        # A validation at what was the end then counts no more: it would not have been, had the run
        # been made for more.
        self.best = self._regular
        if self._iteration % self.every == 0:
            metrics |= self._validated()
            self._regular = self.best
        return metrics

    def validate_at_the_end(self) -> dict[str, Tensor]:
        """Validate after the last iteration, unless that was done: `MetaTraining.at_the_end`."""
        return {} if self._iteration % self.every == 0 else self._validated()

    def _validated(self) -> dict[str, Tensor]:
        score = current().first(self.validate)
        if self.best is None or score > self.best["score"]:
            state = self.trainer.learner.agent_state(0)
            self.best = {"score": score, "iteration": self._iteration, "learner": state}
        return {VALIDATION: torch.tensor([score], dtype=torch.float64)}

    def agent_state(self, index: int) -> dict[str, Any]:
        """Everything the one agent needs to go on, the best so far included."""
        selection = {"iteration": self._iteration, "best": self.best, "regular": self._regular}
        return {**self.trainer.agent_state(index), "selection": selection}

    def load_agent_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Take up where the one agent left off; the errors are those of `Trainer`."""
        self.trainer.load_agent_states(states)
        selection = states[0]["selection"]
        self._iteration, self.best = selection["iteration"], selection["best"]
        self._regular = selection.get("regular", self.best)


def learned_state(run: RunDirectory, learner: MetaLearner) -> None:
    """Give a learner the best that its run has learned: as validated, or where it ended.

    Args:
        run: Run of the learner, with or without validations.
        learner: Learner as it was before its first iteration; changed in place.

    Raises:
        UserError: The checkpoint is not of these settings.
    """
    state = run.load_checkpoint()
    with run.fits_settings():
        learner.load_state_dict(checkpoint.learned(state))


def load_selected(
    run: RunDirectory, learner: MetaLearner, which: Literal["best", "last"]
) -> dict[str, Any]:
    """Give a learner what its run has learned.

    Args:
        run: Run of the learner.
        learner: Learner as it was before its first iteration; changed in place.
        which: Its state at the best validation, or at the end.

    Returns:
        For the summary: which checkpoint, its ``iteration``, and its ``validation_accuracy``.

    Raises:
        UserError: The checkpoint is not of these settings, or there was no validation yet.
    """
    state = run.load_checkpoint()
    with run.fits_settings():
        best = state["learner"]["selection"]["best"]
        if which == "best" and best is None:
            raise UserError(
                f"{run.path} has not been validated yet: train it further, or --checkpoint last"
            )
        learner.load_state_dict(best["learner"] if which == "best" else state["learner"])
        iteration = best["iteration"] if which == "best" else state["iteration"]
        score = best["score"] if best is not None and iteration == best["iteration"] else None
        return {
            "checkpoint": which,
            "iteration": int(iteration),
            "trained_iterations": int(state["iteration"]),
            "train_seconds": float(state["wall_seconds"]),
            VALIDATION: score,
        }
