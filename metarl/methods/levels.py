"""Problems whose tasks a curriculum can choose: those that know their levels as numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import torch

from metarl.errors import UserError
from metarl.rl.problem import Problem, stages_of
from metarl.train.curriculum import Curriculum, LevelSource

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
