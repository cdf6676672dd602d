"""The problems of `experiments.maze`: the published maze, and another one in every trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import tyro
from gymnasium.spaces import Discrete, Space

from envs import GridMazeVectorEnv, maze_tasks, problems
from envs.maze import anchors as oracle
from envs.maze.dynamics import NUM_ACTIONS, TeleportMode
from envs.maze.generators import GENERATORS, make_layout
from envs.maze.views import view_space
from envs.minigrid.task_set import By
from envs.problems import BuiltIn, Family
from envs.random_mazes import LADDER, RandomMazes
from experiments.maze_pictures import MazePictures
from metarl.errors import UserError
from metarl.rl import Anchors
from metarl.run import one_of


@dataclass(frozen=True)
class HiddenGoals(MazePictures, BuiltIn):
    """The published maze: a hidden goal that teleports, and an agent that sees 3 x 3 cells.

    Attributes:
        size: Rows and columns of the maze; of pillars odd, at least 5.
        horizon: Steps of a trial.
        reward: What entering the hidden goal pays.
        wall_penalty: What bumping into a wall costs.
        goals: all: train and test on every goal, as the paper; split: test on held-out goals.
        maze: Generator of the maze (`envs.maze.generators`).
    """

    name: ClassVar[str] = "maze"
    observation: ClassVar[Space[Any]] = view_space("walls")
    actions: ClassVar[Space[Any]] = Discrete(NUM_ACTIONS)
    teleport: ClassVar[TeleportMode] = "free"

    size: int = 13
    horizon: int = 200
    reward: float = 10.0
    wall_penalty: float = 0.0
    goals: Literal["all", "split"] = "all"
    maze: Annotated[str, one_of(GENERATORS)] = "pillars"

    def __post_init__(self) -> None:
        super().__post_init__()
        make_layout(self.maze, self.size)
        if not (np.isfinite(self.reward) and self.reward > 0):
            raise UserError(f"--reward must be above 0, got {self.reward}")
        if not (np.isfinite(self.wall_penalty) and self.wall_penalty >= 0):
            raise UserError(f"--wall-penalty is taken off: at least 0, got {self.wall_penalty}")

    @cached_property
    def splits(self) -> Any:
        """Goals to train on and to test on; the same ones if all are."""
        every = maze_tasks(make_layout(self.maze, self.size))
        if self.goals == "all":
            return Family(every)
        return every.split(train=0.8, validation=0.0, test=0.2)

    @property
    def vector_env(self) -> Any:
        """Mazes."""
        return partial(
            GridMazeVectorEnv,
            layout=make_layout(self.maze, self.size),
            reward=self.reward,
            wall_penalty=self.wall_penalty,
            teleport=self.teleport,
        )

    def anchors(self, tasks: Sequence[Any]) -> Anchors:
        """Returns of random actions, and of who knows the goal."""
        trial: Any = {"horizon": self.horizon, "reward": self.reward}
        return Anchors(oracle.random_return(tasks, **trial), oracle.oracle_return(tasks, **trial))


@dataclass(frozen=True)
class PublishedMaze(HiddenGoals):
    """The maze with the published code's fault: teleports may lead into pillars."""

    teleport: ClassVar[TeleportMode] = "interior"


@dataclass(frozen=True)
class Mazes(MazePictures, RandomMazes):
    """Another maze in every trial, and in each a hidden goal; trials are filmed."""


@dataclass(frozen=True)
class TrialMazes(Mazes):
    """The same where ``--mazes`` has been read before the other options."""

    mazes: tyro.conf.Suppress[str] = "dfs"


MINIGRID = "minigrid:"
"""Before an id of Minigrid, as ``--mazes`` takes it."""


@dataclass(frozen=True)
class Grids(problems.Minigrid):
    """Grids of an id of Minigrid, as mazes: another one in every trial.

    Attributes:
        max_steps: Steps of an episode, at most; 0: as many as the id says.
    """

    env_id: tyro.conf.Suppress[str] = problems.Minigrid.env_id
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
