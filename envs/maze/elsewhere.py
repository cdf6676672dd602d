"""Other mazes for agents that have learned some: the same view and pay, other walls or rules."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import lru_cache
from typing import TypeAlias

import torch

from .family import MazeFamily
from .generators import make_layout
from .problems import HiddenGoals, Maze
from .random_mazes import FRACTIONS, SAME, RandomMazes
from .settings import FORMER_RULES, Respawn, sizes_of, usual_horizon
from .tasks import MazeTask, maze_tasks

__all__ = [
    "HiddenGoalMazes",
    "any_maze",
    "elsewhere",
    "horizon_in",
    "reward_of",
    "rule_of",
    "unseen_maze",
    "with_horizon",
]

HiddenGoalMazes: TypeAlias = RandomMazes | HiddenGoals | Maze
"""Problems of mazes with a hidden goal."""

USUAL_SIDE = 13


def elsewhere(
    learned: RandomMazes | HiddenGoals,
    mazes: str | None = None,
    size: str | None = None,
    horizon: int | None = None,
) -> RandomMazes:
    """Return mazes to measure an agent in, in which exploring pays nothing.

    Args:
        learned: What it was trained on.
        mazes: A generator, a file, or named; None: those that it was trained on.
        size: Rows and columns, such as 13 or 9..25; None: as in training.
        horizon: Steps of an episode; None: as in training, or, in mazes of another size, in
            proportion.

    Raises:
        ValueError: There are no such mazes, or they have the sizes that they have.
    """
    if isinstance(learned, HiddenGoals):
        if mazes is None:
            raise ValueError("mazes must be named: an agent of one maze was trained on its goals")
        side = size or str(learned.size)
        before, after = usual_horizon(learned.size), usual_horizon(sizes_of(side)[1])
        found = RandomMazes(
            mazes,
            side,
            horizon=max(1, round(learned.horizon * after / before)),
            reward=learned.reward,
            wall_penalty=learned.wall_penalty,
        )
    else:
        found = replace(learned, exploration_bonus=0.0, size_schedule="")
        if mazes is not None:
            few = learned.num_layouts if mazes == learned.mazes else 0
            found = replace(found, mazes=mazes, num_layouts=few)
    if found.is_named or found.is_file:
        if size is not None:
            raise ValueError(
                f"size must be left out, got {size}: the mazes of {found.mazes} have the sizes "
                "they have"
            )
        size = str(_largest_side(found))
    if size is not None:
        found = found.of_size(size)
    return found if horizon is None else replace(found, horizon=horizon)


def unseen_maze(generator: str, size: int, random: torch.Generator) -> tuple[MazeTask, bool]:
    """Draw a maze of a generator that training with its split never draws.

    Args:
        generator: Its name.
        size: Rows and columns.
        random: Draws it.

    Returns:
        The maze, and whether it is one to test on: where there are too few of a size to split, an
        agent may have trained in it. (Of generators that make one maze the goal alone is drawn, and
        it is the goal that is to test on.)

    Raises:
        ValueError: There is no such generator, or not of this size.
    """
    if generator in SAME:
        goals = maze_tasks(make_layout(generator, size))
        test = goals.split(**FRACTIONS, salt=RandomMazes.salt).test
        (task,) = (test if len(test) else goals).sample(1, random)
        return task, len(test) > 0
    family, unseen = MazeFamily(generator, size), True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of few layouts
            family = family.split(**FRACTIONS, salt=RandomMazes.salt).test
    except ValueError:
        unseen = False
    (task,) = family.sample(1, random)
    return task, unseen


def rule_of(problem: HiddenGoalMazes) -> Respawn:
    """Return what a find does in a problem's environments."""
    if isinstance(problem, RandomMazes):
        return problem.respawn
    return FORMER_RULES[problem.goal] if isinstance(problem, Maze) else "random"


def reward_of(problem: HiddenGoalMazes) -> float:
    """Return what a find pays."""
    return 1.0 if isinstance(problem, Maze) else problem.reward


def horizon_in(problem: HiddenGoalMazes, side: int) -> int:
    """Return steps of an episode in a maze: as in training, and in larger ones in proportion."""
    if isinstance(problem, RandomMazes) and (problem.is_named or problem.is_file):
        known = _largest_side(problem)
    else:
        known = sizes_of(str(problem.size))[1]
    if side <= known:
        return problem.horizon
    return round(problem.horizon * usual_horizon(side) / usual_horizon(known))


@lru_cache(maxsize=64)
def with_horizon(problem: HiddenGoalMazes, horizon: int) -> HiddenGoalMazes:
    """Return a problem with other steps; its environments play whatever mazes they are given."""
    return replace(problem, horizon=horizon)


@lru_cache(maxsize=64)
def any_maze(problem: HiddenGoalMazes, rule: Respawn, horizon: int) -> RandomMazes:
    """Return the same view and pay in mazes of any walls, with another rule for finds."""
    if isinstance(problem, RandomMazes):
        return replace(problem, respawn=rule, horizon=horizon)
    return RandomMazes(
        "pillars",
        str(USUAL_SIDE),
        respawn=rule,
        position=isinstance(problem, Maze),
        reward=reward_of(problem),
        wall_penalty=0.0 if isinstance(problem, Maze) else problem.wall_penalty,
        horizon=horizon,
    )


def _largest_side(mazes: RandomMazes) -> int:
    """The longest side of mazes that have been written down."""
    return max(max(task.layout.height, task.layout.width) for task in mazes.every_task)
