"""The mazes of the page ``explore``: which there are, and how agents play in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from envs.maze import Layout, MazeTask, named_mazes
from envs.maze.elsewhere import (
    HiddenGoalMazes,
    any_maze,
    horizon_in,
    reward_of,
    rule_of,
    unseen_maze,
    with_horizon,
)
from envs.maze.generators import GENERATORS
from envs.maze.ladder import layout_curves
from envs.maze.named import NAMED_MAZES
from envs.maze.settings import usual_horizon
from envs.maze.views import Sight
from envs.problems import Maze, RandomMazes
from metarl.errors import RunDirectoryError, UserError
from metarl.experiment import RECIPE as FROM_PYTHON
from metarl.explore.arena import Drawn, Facts, Rule, Source
from metarl.explore.board import Board
from metarl.explore.page import TOLD
from metarl.invocation import typed
from metarl.meta.method import GradientMethod
from metarl.methods.agents import TrialsAgent
from metarl.methods.recurrent import RecurrentLearning
from metarl.methods.rl2 import RL2Settings
from metarl.run.trials import STREAMS, Trained
from metarl.runs.config import recipe_of
from metarl.seeding import spawn_generators

from . import maze, maze_adapt
from .maze_evaluation import measured_on

WORDS = {
    "pillars": "pillars: the published room",
    "dfs": "dfs: depth-first maze, long corridors",
    "ust": "ust: uniform spanning tree",
    "mst": "mst: minimum spanning tree",
    "prim": "prim: grown from its frontier, many short dead ends",
    "rooms": "rooms with doors",
    "walls": "walls: blocks thrown at random",
    "caves": "caves",
    "empty": "empty room",
}
"""Generators in words; the others are called by their names."""

FEW = "There are so few mazes of this size that an agent may have trained in this one."

NAMED = "named:"
"""Before the name of one of `envs.named_mazes`."""


@dataclass(frozen=True)
class Mazes:
    """The mazes of `envs`, as the page asks for them (`metarl.explore.arena.Arena`)."""

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """Generators, and mazes with names."""
        return (
            *(Source(name, WORDS.get(name, name), "Generators") for name in GENERATORS),
            *(Source(f"{NAMED}{n}", n, "Named mazes", sized=False) for n in NAMED_MAZES),
        )

    def draw(self, source: str, size: int, seed: int) -> Drawn:
        """Draw a maze; of a family, one to test on, which training with its split never draws.

        Raises:
            UserError: There is no such source, or not of this size.
        """
        named = named_mazes().by_maze.get(source.removeprefix(NAMED), ())
        if named and source.startswith(NAMED):  # a corridor has several goals
            return Drawn(board_of(named[seed % len(named)]))
        if source not in GENERATORS:
            raise UserError(f"there are no mazes {source[:60]!r}: take one that the page lists")
        try:
            task, unseen = unseen_maze(source, size, torch.Generator().manual_seed(seed))
        except ValueError as error:
            raise UserError(str(error)) from error  # the page has fields, and no options
        return Drawn(board_of(task), "" if unseen else FEW)

    def own(self, trained: Trained, seed: int) -> Drawn:
        """Draw the maze that a run is shown in by its ``render`` with this seed."""
        (task,) = trained.draw(1, spawn_generators(seed, STREAMS)["tasks"])
        return Drawn(board_of(task))

    def task(self, board: Board) -> MazeTask:
        """Return the task of a maze that can be played."""
        return MazeTask(Layout(board.rows), board.goal, board.start, board.direction)

    def trained(self, config: Mapping[str, Any]) -> Trained:
        """Read what a run has learned.

        Raises:
            UserError: It is not about mazes, or no agent that learns within one trial.
        """
        recipe = recipe_of(config)
        if recipe == maze.RECIPE.name:
            settings = maze.RECIPE.settings_of(config)
            if not isinstance(settings.environment, HiddenGoalMazes):
                raise RunDirectoryError(
                    f"plays {settings.mazes}, where an agent sees and does other things than in "
                    f"these mazes: look at it with `{typed('watch', recipe, of_run=True)}`"
                )
            return measured_on(settings)
        if recipe == FROM_PYTHON:
            raise RunDirectoryError(
                "was trained from Python (metarl.experiment), and does not say in which mazes: "
                f"`{typed('train', 'maze')}` trains agents for this page"
            )
        if recipe != maze_adapt.RECIPE.name:
            what = (recipe or "something unknown").removeprefix("experiments.")
            raise RunDirectoryError(f"is a run of {what}, which learned no mazes")
        adapted, film = maze_adapt.RECIPE.settings_of(config), typed("render", recipe, of_run=True)
        if adapted.env not in (Maze.name, RandomMazes.name):
            raise RunDirectoryError(f"plays {adapted.env}, not mazes: look at it with `{film}`")
        learning = adapted.learning()
        if not isinstance(learning, RecurrentLearning):
            how = "adapts by gradient steps, from many episodes, and not within a trial"
            if not isinstance(adapted.learner, GradientMethod):
                how = "is an agent of Stable-Baselines3, which does not show what it thinks"
            raise RunDirectoryError(f"{how} ({adapted.method}): `{film}` films it")
        if isinstance(learning.problem, RandomMazes):
            plain = replace(learning.problem, exploration_bonus=0.0, size_schedule="")
            learning = replace(learning, problem=plain)
        return Trained(learning, adapted.meta_batch)

    def placed(
        self, trained: Trained | None, board: Board, rule: Rule | None, steps: int | None
    ) -> RecurrentLearning:
        """Return what was learned, on a problem whose environments play in this maze."""
        side = max(len(board.rows), len(board.rows[0]))
        if trained is None:
            horizon = steps or usual_horizon(side)
            played = any_maze(RandomMazes("pillars", horizon=horizon), rule or "start", horizon)
            return RecurrentLearning(played, RL2Settings(), TrialsAgent(trial_episodes=1))
        learning: RecurrentLearning = trained.learning
        problem: Any = learning.problem
        horizon = steps or horizon_in(problem, side)
        if rule is None or rule == rule_of(problem):
            problem = with_horizon(problem, horizon)
        else:
            problem = any_maze(problem, rule, horizon)
        return replace(learning, problem=problem)

    def facts(self, learning: RecurrentLearning) -> Facts:
        """Return what is to be known of an agent's environments."""
        problem: Any = learning.problem
        sight = Sight(getattr(problem, "view", "3x3"))
        return Facts(rule_of(problem), reward_of(problem), sight.side, sight.turning)

    def known(self, learning: RecurrentLearning, task: MazeTask) -> Any:
        """Return what agents are judged by in this maze."""
        problem: Any = learning.problem
        judged = any_maze(problem, rule_of(problem), problem.horizon)
        known = judged.known([task], learning.trial_episodes)
        if learning.trial_episodes > 1:
            return known
        curves = layout_curves([task], **judged.episode)
        return replace(known, curves={name: getattr(curves, name) for name in TOLD})


def board_of(task: MazeTask) -> Board:
    """Return a task as the page draws it."""
    return Board(task.layout.rows, task.start, task.goal, task.direction)
