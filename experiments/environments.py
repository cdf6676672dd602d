"""The environments by name: each is a problem (`metarl.rl.Problem`), and its fields are its flags.

Those of `envs.problems`, some of them with other defaults or flags than in Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from envs import problems
from envs.maze.generators import GENERATORS
from envs.maze.random_mazes import NAMED
from envs.maze.settings import side_of
from envs.minigrid.task_set import By
from metarl.errors import UserError
from metarl.rl.gymnasium_problem import problem_of
from metarl.rl.problem import Problem, check_problem
from metarl.run import one_of
from metarl.run.commands import refused


@dataclass(frozen=True)
class Maze(problems.Maze):
    """One maze with hidden goals.

    Attributes:
        maze: Generator of the maze (`envs.maze.generators`).
    """

    maze: Annotated[str, one_of(GENERATORS)] = "pillars"


@dataclass(frozen=True)
class Minigrid(problems.Minigrid):
    """The tasks of an id of Minigrid.

    Attributes:
        max_steps: Steps of an episode, at most; 0: as many as the id says.
    """

    max_steps: Annotated[int, tyro.conf.arg(name="horizon")] = 0


@dataclass(frozen=True)
class OtherMazes(problems.RandomMazes):
    """Another maze per task; the agent is shown where it is, which a policy without memory needs.

    Attributes:
        size: Rows and columns, border included: a number, or a range such as 9..13.
        position: Show an agent where it is.
    """

    size: str = "9"
    position: bool = True


@dataclass(frozen=True)
class Room(problems.HiddenGoals):
    """The published maze.

    Attributes:
        maze: Generator of the maze (`envs.maze.generators`).
    """

    maze: Annotated[str, one_of(GENERATORS)] = "pillars"


@dataclass(frozen=True)
class TrialMazes(problems.RandomMazes):
    """Random mazes where ``--mazes`` has been read before the other options."""

    mazes: tyro.conf.Suppress[str] = "dfs"


ROOM = "room"
"""What ``--mazes`` calls the published maze, which is the same in every trial."""

MINIGRID = "minigrid:"
"""Before an id of Minigrid, as ``--mazes`` takes it."""


@dataclass(frozen=True)
class Grids(Minigrid):
    """Grids of an id of Minigrid, as mazes: another one in every trial."""

    env_id: tyro.conf.Suppress[str] = Minigrid.env_id
    by: By = "walls"

    @property
    def mazes(self) -> str:
        """Name of the mazes, as ``--mazes`` takes it."""
        return f"{MINIGRID}{self.env_id}"


UED = "ued"
"""What ``--mazes`` calls the levels of the papers on environment design."""


@dataclass(frozen=True)
class Levels(problems.UEDMazes):
    """Levels of the papers on environment design, where ``--mazes ued`` has been read.

    Attributes:
        mazes: Generator of the walls (`envs.maze.generators`).
    """

    mazes: Annotated[str, tyro.conf.arg(name="walls"), one_of(GENERATORS)] = "walls-60"


@dataclass(frozen=True)
class Foreign:
    """Anybody's problem or Gymnasium environments, made by ``module:factory``.

    Attributes:
        horizon: Steps of an episode, at most, of Gymnasium environments. Default: their
            max_episode_steps.
    """

    horizon: int | None = None


ENVIRONMENTS = problems.PROBLEMS | {one.name: one for one in (Maze, OtherMazes, Minigrid)}
"""Environments that ``--env`` knows by name, beside ``module:factory``."""


def environment_named(name: str) -> Any:
    """Return the usual settings of an environment.

    Args:
        name: One of `ENVIRONMENTS`, or ``module:factory``.

    Raises:
        UserError: There is none of that name.
    """
    if ":" in name:
        return Foreign()
    if name not in ENVIRONMENTS:
        raise UserError(
            f"--env {name!r} is not one of {', '.join(ENVIRONMENTS)}, nor module:factory, which "
            "makes a problem or a Gymnasium environment"
        )
    kind: Any = ENVIRONMENTS[name]
    return kind()


def mazes_named(name: str, size: str | None) -> Grids | Levels | TrialMazes:
    """Return the usual settings of what ``--mazes`` names.

    Args:
        name: A generator, ``ued``, ``minigrid:ID``, or a file.
        size: Rows and columns in words; None: as usual.

    Raises:
        ValueError: There is nothing of that name, or not of that size.
    """
    if name.startswith(MINIGRID):
        return Grids(env_id=name.removeprefix(MINIGRID))
    if name == UED:
        return Levels() if size is None else Levels(size=side_of(size))
    if name not in (*GENERATORS, NAMED) and not Path(name).is_file():
        raise ValueError(
            f"mazes must be one of {', '.join((ROOM, *GENERATORS, UED))}, an id of Minigrid "
            f"such as {MINIGRID}MiniGrid-FourRooms-v0, or a text file with pictures of mazes, "
            f"got {name!r}"
        )
    return TrialMazes(mazes=name, size=size or "13", exploration_bonus=0.2)


def problem_named(name: str, environment: Any) -> Problem:
    """Return the problem of an environment.

    Args:
        name: One of `ENVIRONMENTS`, or ``module:factory``.
        environment: Its settings.

    Raises:
        UserError: It is none.
    """
    if isinstance(environment, Foreign):
        return check_problem(problem_of(name, environment.horizon))
    try:
        environment.check_sides()
        return check_problem(environment)
    except ValueError as error:  # of tasks that are read when they are first asked for
        raise refused(error) from error
