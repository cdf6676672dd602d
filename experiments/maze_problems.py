"""The problems of `experiments.maze`, as its command line asks for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from envs.maze.generators import GENERATORS
from envs.minigrid.task_set import By
from envs.problems import HiddenGoals, Minigrid, RandomMazes
from metarl.run import one_of


@dataclass(frozen=True)
class Room(HiddenGoals):
    """The published maze.

    Attributes:
        maze: Generator of the maze (`envs.maze.generators`).
    """

    maze: Annotated[str, one_of(GENERATORS)] = "pillars"


@dataclass(frozen=True)
class TrialMazes(RandomMazes):
    """Random mazes where ``--mazes`` has been read before the other options."""

    mazes: tyro.conf.Suppress[str] = "dfs"


MINIGRID = "minigrid:"
"""Before an id of Minigrid, as ``--mazes`` takes it."""


@dataclass(frozen=True)
class Grids(Minigrid):
    """Grids of an id of Minigrid, as mazes: another one in every trial.

    Attributes:
        max_steps: Steps of an episode, at most; 0: as many as the id says.
    """

    env_id: tyro.conf.Suppress[str] = Minigrid.env_id
    max_steps: Annotated[int, tyro.conf.arg(name="horizon")] = 0
    by: By = "walls"

    @property
    def mazes(self) -> str:
        """What ``--mazes`` calls them."""
        return f"{MINIGRID}{self.env_id}"
