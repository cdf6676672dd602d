"""The problems of `experiments.maze`, as its command line asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from envs.maze.generators import GENERATORS
from envs.maze.ladder import LADDER
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

    def check_sides(self) -> None:
        """Check that there are grids to train on and others to test on.

        Raises:
            ValueError: There are no such grids, or too few.
        """
        if not all(map(len, self.splits)):
            raise ValueError(
                f"{self.mazes}: {', '.join(str(len(side)) for side in self.splits)} grids would be "
                "for training, validation and test: read more with --grids, or part them by all "
                "that is in them with --by task"
            )

    def num_trained_on(self, tasks: Sequence[Any]) -> int:
        """How many grids of tasks are among those to train on."""
        return len(set(tasks) & set(self.train))


def known_returns(maze: Any, tasks: Sequence[Any]) -> dict[str, float | None]:
    """Mean returns that tasks of random mazes or grids are judged by, where they are known."""
    if isinstance(maze, RandomMazes):
        means = maze.ladder(tasks).means()
        return {name: means[name] for name in LADDER}
    found = maze.anchors(tasks)
    return {"random": found.floor, "oracle": found.oracle} if found else {}
