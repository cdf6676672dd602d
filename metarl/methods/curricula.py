"""Curricula of problems and methods: whose tasks can be chosen, and what adaptation gained on them.

Tasks can be chosen of problems that know their levels as numbers. Levels of learners that adapt by
gradient steps are scored by what adaptation gained (`LevelsByGain`): to a sampler the return after
adaptation is what was earned, and the return before it what was expected. So `max_mc` is the
highest return that was ever reached less what is earned without adaptation, and `positive_value`
what adaptation gained, if anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from metarl.core.processes import current
from metarl.errors import UserError
from metarl.evaluate.returns import evaluate_learner
from metarl.meta import MetaLearner, Penalty
from metarl.rl import PolicyGradientTasks
from metarl.rl.problem import Goal, Problem, stages_of
from metarl.train.curriculum import Curriculum, LevelSource, Outcome, TaskSampler
from metarl.train.trainer import Trainer

LearningT = TypeVar("LearningT")

LEVELS = "levels"
"""Random stream of a curriculum's levels and choices; last, where there is one."""


def levels_of(problem: Problem) -> LevelSource:
    """Tasks of training as numbers: the ``levels`` of a problem.

    Raises:
        UserError: It has none.
        ValueError: Its tasks cannot be chosen among, as it says.
    """
    known: Any = problem
    if not hasattr(type(problem), "levels"):
        raise UserError(
            f"a curriculum chooses among random mazes, and {problem.name} has no levels to choose "
            "among: take random mazes, such as dfs"
        )
    levels: LevelSource = known.levels
    return levels


def with_curriculum(learning: LearningT, curriculum: Curriculum) -> LearningT:
    """Return how a problem is learned, on tasks that a curriculum chooses.

    Args:
        learning: How it is learned.
        curriculum: How tasks are chosen.

    Raises:
        UserError: The method has tasks of its own.
    """
    if not curriculum.samples:
        return learning
    known: Any = learning
    if not hasattr(known, "curriculum"):
        raise UserError(
            f"--curriculum {curriculum.name}: --method {known.method.name} draws its tasks itself: "
            "take a method that adapts by gradient steps, or rl2"
        )
    changed: LearningT = replace(known, curriculum=curriculum)
    return changed


def check_named(name: str, curriculum: Curriculum) -> None:
    """Check that settings of a curriculum are those of the one that is named.

    Raises:
        UserError: They are not.
    """
    if name != curriculum.name:
        raise UserError(f"--curriculum {name}, but the levels are those of {curriculum.name}")


def check_curriculum(curriculum: Curriculum, problem: Problem, batch_size: int) -> None:
    """Check that a curriculum can choose among the tasks of training.

    Args:
        curriculum: How they are chosen.
        problem: Whose tasks.
        batch_size: Tasks per agent and iteration.

    Raises:
        UserError: It cannot.
    """
    if not curriculum.samples:
        return
    asked = f"--curriculum {curriculum.name}"
    try:
        source = levels_of(problem)
        if len(stages_of(problem)) > 1:
            raise UserError("it chooses among mazes of one size: drop --size-schedule")
        curriculum.sampler(source, torch.Generator()).sample(batch_size)
    except (ValueError, UserError) as error:
        raise UserError(f"{asked}: {error}") from error


# Scores by what adaptation gained -----------------------------------------------------------------


class MetaBatches(Protocol):
    """Makes meta-batches of tasks."""

    def of(self, tasks: Tensor, generator: torch.Generator) -> PolicyGradientTasks:
        """N tasks, given by their numbers ``[N, D]``."""


class LevelsByGain:
    """One learner whose tasks a curriculum chooses."""

    def __init__(
        self, sampler: TaskSampler, trainer: Trainer, episodes: MetaBatches, has_goal: Goal
    ) -> None:
        """Keep all four.

        Args:
            sampler: Chooses the tasks.
            trainer: Learns from them; of one learner.
            episodes: Makes meta-batches of them.
            has_goal: When an episode succeeds.
        """
        assert isinstance(trainer.learner, MetaLearner)
        self._learner: MetaLearner = trainer.learner
        self._sampler, self._trainer = sampler, trainer
        self._episodes, self._has_goal = episodes, has_goal

    def step(
        self, meta_batch: int, generator: torch.Generator, penalty: Penalty | None
    ) -> dict[str, Tensor]:
        """Learn from the next meta-batch, or only adapt to it, as the curriculum says.

        Args:
            meta_batch: Tasks, N.
            generator: Draws what the tasks draw.
            penalty: A term of the meta-objective beside the learner's own.

        Returns:
            Metrics ``[1]``.
        """
        offer = self._sampler.sample(meta_batch)
        tasks = self._episodes.of(offer.levels, generator)
        if offer.learn:
            metrics = self._trainer.step(tasks, penalty)
            after = self._trainer.measured["return"]
            before = self._trainer.measured.get("return_before", torch.zeros_like(after))
            before, after = current().joined([before, after])  # of all processes
        else:
            before, after = self._adapted(tasks)
            metrics = {"return_before": before.mean(0, keepdim=True)}
            metrics["return"] = after.mean(0, keepdim=True)
        # A learner that goes from task to task may have ended early: the first ones were played.
        played = offer._replace(levels=offer.levels[: len(after)], slots=offer.slots[: len(after)])
        solved = (after > 0).to(after.dtype)
        outcome = Outcome(after, solved, before, (after - before).clamp(min=0))
        self._sampler.update(played, outcome)
        like = after.new_tensor
        found = {name: like([value]) for name, value in self._sampler.measured().items()}
        return metrics | found | {f"return_{offer.kind}": after.mean(0, keepdim=True)}

    def agent_state(self, index: int) -> dict[str, Any]:
        """Everything the sampler needs to go on."""
        return self._sampler.state_dict()

    def load_agent_states(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Take up where `agent_state` left off."""
        (state,) = states
        self._sampler.load_state_dict(state)

    def _adapted(self, tasks: PolicyGradientTasks) -> tuple[Tensor, Tensor]:
        """Returns before and after adaptation, means over episodes, ``[N]`` each."""
        learner = self._learner
        found = evaluate_learner(
            learner,
            tasks,
            learner.num_steps,
            has_goal=self._has_goal,
            chunk_size=learner.execution.stacked,
        )
        returns = torch.as_tensor(found.returns.mean(-1), dtype=torch.float32)  # [N, K + 1]
        returns = returns.to(next(iter(learner.params.values())).device)
        return returns[:, 0], returns[:, -1]
