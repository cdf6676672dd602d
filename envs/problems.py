"""Problems: each family with its tasks on three sides, its environments, its returns at best.

    from envs.problems import Point
    from metarl.experiment import Experiment

    Experiment(Point(horizon=50)).train("runs/point")

Tasks to choose settings by (validation) and to report on (test) are never trained on: where tasks
can be told apart they are split by their hash (mazes, GridNavi, and the plane of the point, cell by
cell); bandits and decision processes are drawn from a continuum, and those of each side by a
generator of its own. A problem has the attributes of `metarl.rl.Problem`, and its fields are flags
of `experiments.maze_adapt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, Literal

import numpy as np
from gymnasium.spaces import Box, Discrete, Space

from .bandit import BanditTasks, BanditVectorEnv, bandit_reference_returns
from .base.checks import whole_number
from .base.problem import FRACTIONS, SALT, Anchors, BuiltIn, Family, Parted
from .grid_navi import GridNaviVectorEnv, grid_navi_reference_returns, grid_navi_tasks
from .maze import GridMazeVectorEnv, maze_tasks
from .maze.anchors import oracle_return, random_return
from .maze.dynamics import NUM_ACTIONS
from .maze.generators import make_layout
from .maze.settings import FORMER_RULES, GoalRule, Start
from .maze.views import view_space
from .mdp import MDPTasks, TabularMDPVectorEnv, mdp_reference_returns
from .minigrid import MinigridTasks, MinigridVectorEnv, minigrid_anchors, minigrid_tasks
from .minigrid.dynamics import NUM_ACTIONS as MINIGRID_ACTIONS
from .minigrid.task_set import By
from .minigrid.views import extras_of, observation_space
from .point import PointNavigationVectorEnv, PointTasks, point_reference_returns

__all__ = [
    "MDP",
    "Anchors",
    "Bandit",
    "BuiltIn",
    "Family",
    "GridNavi",
    "Maze",
    "Minigrid",
    "Parted",
    "Point",
]

LONGEST_STEP = 0.1
"""Longest step of the point, in units of its plane."""


@dataclass(frozen=True)
class Maze(BuiltIn):
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
    maze: str = "pillars"

    def __post_init__(self) -> None:
        super().__post_init__()
        make_layout(self.maze, self.size)

    @cached_property
    def splits(self) -> Any:
        """Goals of the maze, dealt out."""
        return maze_tasks(make_layout(self.maze, self.size)).split(**FRACTIONS, salt=self.salt)

    @property
    def vector_env(self) -> Any:
        """Mazes."""
        return partial(
            GridMazeVectorEnv,
            layout=make_layout(self.maze, self.size),
            reward=1.0,
            start=self.start,
            respawn=FORMER_RULES[self.goal],
            position=True,
        )

    def anchors(self, tasks: Sequence[Any]) -> Anchors:
        """Returns of random actions and of shortest paths."""
        trial: Any = {"horizon": self.horizon, "reward": 1.0}
        trial |= {"start": self.start, "goal": self.goal}
        return Anchors(random_return(tasks, **trial), oracle_return(tasks, **trial))


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
        whole_number(self.arms, "arms", least=2)  # one arm is no choice

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
class Minigrid(Parted):
    """Tasks of an id of Minigrid: grids, not seeds, each once.

    The agent sees its shadowed view one-hot, where it looks, and what the mission names, where it
    names something.

    Attributes:
        env_id: An id that the tensor environment plays.
        grids: Number of grids to read, each from another seed; those that come twice count once. 0:
            every grid, of families that can be enumerated.
        max_steps: Steps of an episode, at most; 0: as many as the id says.
        by: Tasks are dealt out by the hash of all that is in them, or of their walls: then those
            of the other sides have other walls.
        salt: Another one deals the tasks out differently to the sides.
    """

    name: ClassVar[str] = "minigrid"
    has_goal: ClassVar[bool | Literal["pays"]] = "pays"
    actions: ClassVar[Space[Any]] = Discrete(MINIGRID_ACTIONS)

    env_id: str = "MiniGrid-MultiRoom-N2-S4-v0"
    grids: int = 1_000
    max_steps: int = 0
    by: By = "task"
    salt: str = SALT

    def __post_init__(self) -> None:
        whole_number(self.grids, "grids", least=0)
        whole_number(self.max_steps, "max_steps", least=0)

    @cached_property
    def tasks(self) -> MinigridTasks:
        """The tasks of all sides."""
        return minigrid_tasks(self.env_id, seeds=range(self.grids) if self.grids else None)

    @cached_property
    def splits(self) -> Any:
        """The tasks, dealt out."""
        return self.tasks.split(**FRACTIONS, salt=self.salt, by=self.by)

    @cached_property
    def horizon(self) -> int:
        """Steps of an episode, at most."""
        return self.max_steps or max(task.max_steps for task in self.tasks)

    @property
    def observation(self) -> Space[Any]:
        """Cells one-hot, the direction, and what is named."""
        extras = extras_of(True, self._mission)
        return observation_space("onehot", self.tasks[0].view_size, extras)

    @property
    def _mission(self) -> bool:
        return any(task.named_cells for task in self.tasks)

    @property
    def vector_env(self) -> Any:
        """Grids."""
        return partial(MinigridVectorEnv, observe="onehot", direction=True, mission=self._mission)

    def anchors(self, tasks: Sequence[Any]) -> Anchors | None:
        """Returns of random actions and of the fewest to success; None if those are not known."""
        returns = minigrid_anchors(tasks, horizon=self.horizon)
        oracle = float(returns.oracle.mean())
        return None if np.isnan(oracle) else Anchors(float(returns.random.mean()), oracle)
