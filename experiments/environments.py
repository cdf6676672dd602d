"""The environments by name: each is a problem (`metarl.rl.Problem`), and its fields are its flags.

Tasks to choose settings by (validation) and to report on (test) are never trained on: where tasks
can be told apart they are split by their hash (mazes, GridNavi, and the plane of the point, cell by
cell); bandits and decision processes are drawn from a continuum, and those of each side by a
generator of its own. A further environment is a folder in `envs` and an entry here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Space

from envs import (
    BanditTasks,
    BanditVectorEnv,
    GridMazeVectorEnv,
    GridNaviVectorEnv,
    MDPTasks,
    PointNavigationVectorEnv,
    PointTasks,
    TabularMDPVectorEnv,
    bandit_reference_returns,
    grid_navi_reference_returns,
    grid_navi_tasks,
    maze_tasks,
    mdp_reference_returns,
    point_reference_returns,
)
from envs.maze import anchors as oracle
from envs.maze.dynamics import NUM_ACTIONS
from envs.maze.generators import GENERATORS, make_layout
from envs.maze.layout import Layout
from envs.maze.settings import GoalRule, Start
from envs.maze.views import view_space
from experiments.maze_pictures import MazePictures
from metarl.errors import UserError
from metarl.rl.gymnasium_problem import problem_of
from metarl.rl.problem import Anchors, Problem, TaskSource, TensorEnv, check_problem
from metarl.run import one_of

FRACTIONS = {"train": 0.7, "validation": 0.1, "test": 0.2}
"""Shares of the tasks, dealt out by their hash."""

SALT = "2"
"""The usual one. It leaves no side of a maze of 5 to 13 cells empty."""

LONGEST_STEP = 0.1
"""Longest step of the point, in units of its plane."""


@dataclass(frozen=True)
class Environment:
    """An environment by name, with its flags; a problem, or the way to one."""

    def problem(self, name: str) -> Problem:
        """Return the problem.

        Raises:
            UserError: It is none.
        """
        return check_problem(self)


@dataclass(frozen=True)
class BuiltIn(Environment, ABC):
    """An environment of `envs`.

    Attributes:
        horizon: Steps of an episode, at most.
    """

    name: ClassVar[str]
    has_goal: ClassVar[bool] = True
    observation: ClassVar[Space[Any]]

    horizon: int

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise UserError(f"--horizon must be at least 1, got {self.horizon}")

    @property
    @abstractmethod
    def splits(self) -> Any:
        """Tasks to train on, to choose settings by and to report on."""

    @property
    def train(self) -> TaskSource:
        """Tasks to train on."""
        return self.splits.train

    @property
    def validation(self) -> TaskSource:
        """Tasks to choose settings by."""
        return self.splits.validation

    @property
    def test(self) -> TaskSource:
        """Tasks to report on."""
        return self.splits.test

    def make_env(
        self, num_envs: int, generators: Sequence[torch.Generator], device: torch.device
    ) -> TensorEnv:
        """Make environments; see `metarl.rl.Problem`."""
        return self.vector_env(
            num_envs,
            horizon=self.horizon,
            tasks=self.train,
            device=device,
            generator=generators,
            validate_actions=False,
        )

    @property
    @abstractmethod
    def vector_env(self) -> Any:
        """Maker of environments, as a tensor program."""


@dataclass(frozen=True)
class Family:
    """A continuum of tasks, as all sides of itself: no task is drawn twice."""

    train: Any

    @property
    def validation(self) -> Any:
        """The same."""
        return self.train

    test = validation


@dataclass(frozen=True)
class Maze(MazePictures, BuiltIn):
    """A hidden goal in a maze that pays 1 and teleports, or ends the episode.

    The agent sees the walls around it and its place: without memory it could not tell one place
    from another. Some seven tenths of the goals are for training.

    Attributes:
        size: Rows and columns of the maze; of pillars odd, at least 5; 5 to 13 have been checked.
        start: Episodes start at the maze's centre, or each at a random free cell.
        goal: The goal pays 1 each time and sends the agent elsewhere, or ends the episode.
        salt: Another one deals the tasks out differently to the sides to train on, to choose
            settings by and to test on.
        maze: Generator of the maze (`envs.maze.generators`).
    """

    name: ClassVar[str] = "maze"
    observation: ClassVar[Space[Any]] = view_space("walls_and_place")
    actions: ClassVar[Space[Any]] = Discrete(NUM_ACTIONS)

    horizon: int = 50
    size: int = 9
    start: Start = "centre"
    goal: GoalRule = "teleports"
    salt: str = SALT
    maze: Annotated[str, one_of(GENERATORS)] = "pillars"

    def __post_init__(self) -> None:
        super().__post_init__()
        layout_of(self.maze, self.size)

    @cached_property
    def splits(self) -> Any:
        """Goals of the maze, dealt out."""
        return maze_tasks(layout_of(self.maze, self.size)).split(**FRACTIONS, salt=self.salt)

    @property
    def vector_env(self) -> Any:
        """Mazes."""
        return partial(
            GridMazeVectorEnv,
            layout=layout_of(self.maze, self.size),
            reward=1.0,
            start=self.start,
            goal=self.goal,
            observe="walls_and_place",
        )

    def anchors(self, tasks: Sequence[Any]) -> Anchors:
        """Returns of random actions and of shortest paths."""
        trial: Any = {"horizon": self.horizon, "reward": 1.0}
        trial |= {"start": self.start, "goal": self.goal}
        return Anchors(oracle.random_return(tasks, **trial), oracle.oracle_return(tasks, **trial))


@dataclass(frozen=True)
class Point(BuiltIn):
    """MAML's point in the plane; an action of 1 is the longest step.

    Attributes:
        salt: Another one deals the tasks out differently to the sides.
    """

    name: ClassVar[str] = "point"
    observation: ClassVar[Space[Any]] = Box(-np.inf, np.inf, (2,), np.float32)
    actions: ClassVar[Space[Any]] = Box(-1.0, 1.0, (2,), np.float32)

    horizon: int = 100
    salt: str = SALT

    @cached_property
    def splits(self) -> Any:
        """Cells of the plane, dealt out."""
        return PointTasks().split(**FRACTIONS, salt=self.salt)

    @property
    def vector_env(self) -> Any:
        """Points."""
        return partial(PointNavigationVectorEnv, max_step=LONGEST_STEP, action_scale=LONGEST_STEP)

    def anchors(self, tasks: Sequence[Any]) -> Anchors:
        """Returns of standing still, and of the straight way."""
        floor, best = point_reference_returns(tasks, horizon=self.horizon)
        return Anchors(floor, best, "standing still")


@dataclass(frozen=True)
class GridNavi(BuiltIn):
    """VariBAD's grid of 5 x 5 cells, a goal on one of 21; the cell is seen as a one-hot vector.

    Attributes:
        salt: Another one deals the tasks out differently to the sides.
    """

    name: ClassVar[str] = "gridnavi"
    observation: ClassVar[Space[Any]] = Box(0.0, 1.0, (25,), np.float32)
    actions: ClassVar[Space[Any]] = Discrete(5)

    horizon: int = 15
    salt: str = SALT

    @cached_property
    def splits(self) -> Any:
        """Goals, dealt out."""
        return grid_navi_tasks().split(**FRACTIONS, salt=self.salt)

    @property
    def vector_env(self) -> Any:
        """Grids."""
        return partial(GridNaviVectorEnv, one_hot=True)

    def anchors(self, tasks: Sequence[Any]) -> Anchors:
        """Returns of random actions, and of who knows the goal."""
        returns = grid_navi_reference_returns(tasks, horizon=self.horizon)
        return Anchors(returns.random, returns.oracle)


@dataclass(frozen=True)
class Bandit(BuiltIn):
    """RL^2's Bernoulli bandits; an episode is ``horizon`` pulls.

    Attributes:
        arms: Arms of the bandit.
    """

    name: ClassVar[str] = "bandit"
    has_goal: ClassVar[bool] = False
    observation: ClassVar[Space[Any]] = Box(0.0, 1.0, (1,), np.float32)

    horizon: int = 10
    arms: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.arms < 2:
            raise UserError(f"--arms must be at least 2, got {self.arms}: one arm is no choice")

    @property
    def actions(self) -> Space[Any]:
        """The arms."""
        return Discrete(self.arms)

    @cached_property
    def splits(self) -> Any:
        """Probabilities, drawn."""
        return Family(BanditTasks(self.arms))

    @property
    def vector_env(self) -> Any:
        """Bandits."""
        return partial(BanditVectorEnv, num_arms=self.arms)

    def anchors(self, tasks: Sequence[Any]) -> Anchors:
        """Returns of random arms, and of the best one."""
        return Anchors(*bandit_reference_returns(tasks, horizon=self.horizon))


@dataclass(frozen=True)
class MDP(BuiltIn):
    """RL^2's random decision processes with 10 states and 5 actions."""

    name: ClassVar[str] = "mdp"
    has_goal: ClassVar[bool] = False
    observation: ClassVar[Space[Any]] = Box(0.0, 1.0, (10,), np.float32)
    actions: ClassVar[Space[Any]] = Discrete(5)

    horizon: int = 10

    @cached_property
    def splits(self) -> Any:
        """Processes, drawn."""
        return Family(MDPTasks())

    @property
    def vector_env(self) -> Any:
        """Processes."""
        return TabularMDPVectorEnv

    def anchors(self, tasks: Sequence[Any]) -> Anchors:
        """Returns of random actions, and of the best policy."""
        return Anchors(*mdp_reference_returns(tasks, horizon=self.horizon))


@dataclass(frozen=True)
class Foreign(Environment):
    """Anybody's problem or Gymnasium environments, made by ``module:factory``.

    Attributes:
        horizon: Steps of an episode, at most, of Gymnasium environments. Default: their
            max_episode_steps.
    """

    horizon: int | None = None

    def problem(self, name: str) -> Problem:
        """Return what the factory makes.

        Raises:
            UserError: It is no problem, nor environments.
        """
        return check_problem(problem_of(name, self.horizon))


ENVIRONMENTS: dict[str, type[BuiltIn]] = {
    environment.name: environment for environment in (Maze, Point, GridNavi, Bandit, MDP)
}
"""Environments that ``--env`` knows by name, beside ``module:factory``."""


def environment_named(name: str) -> Environment:
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
    return ENVIRONMENTS[name]()  # type: ignore[call-arg]


def layout_of(maze: str, size: int) -> Layout:
    """Return the maze of a name and a size.

    Raises:
        UserError: There is no such maze, or not of this size.
    """
    try:
        return make_layout(maze, size)
    except ValueError as error:
        raise UserError(f"--{error}") from error
