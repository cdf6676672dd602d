"""One maze with hidden goals as a problem: the published one, and one whose goals are split.

Random mazes, another one in every trial: `envs.maze.random_mazes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, Literal

from gymnasium.spaces import Discrete, Space

from ..base.problem import FRACTIONS, SALT, Anchors, BuiltIn, Family, Known
from .anchors import oracle_return, random_return, reference_curves, reference_returns
from .drawing import MazePictures
from .dynamics import NUM_ACTIONS, TeleportMode
from .generators import make_layout
from .settings import FORMER_RULES, GoalRule, Start, check_pay
from .tasks import maze_tasks
from .tensor import GridMazeVectorEnv
from .views import view_space

__all__ = ["HiddenGoals", "Maze", "PublishedMaze"]


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
        """Maker of mazes, as a tensor program."""
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
    maze: str = "pillars"

    def __post_init__(self) -> None:
        super().__post_init__()
        make_layout(self.maze, self.size)
        check_pay(self.reward, wall_penalty=self.wall_penalty)

    @cached_property
    def splits(self) -> Any:
        """Goals to train on and to test on; the same ones if all are."""
        every = maze_tasks(make_layout(self.maze, self.size))
        if self.goals == "all":
            return Family(every)
        return every.split(train=0.8, validation=0.0, test=0.2)

    @property
    def vector_env(self) -> Any:
        """Maker of mazes, as a tensor program."""
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
        random = random_return(tasks, **trial, wall_penalty=self.wall_penalty)
        return Anchors(random, oracle_return(tasks, **trial))

    def known(self, tasks: Sequence[Any], num_episodes: int = 1) -> Known:
        """References for agents; where the maze is known, exploring is what the ceiling does.

        Raises:
            ValueError: A trial is of several episodes.
        """
        if num_episodes != 1:
            raise ValueError(f"a trial in the published maze is one episode, got {num_episodes}")
        trial: Any = {"horizon": self.horizon, "reward": self.reward}
        trial["wall_penalty"] = self.wall_penalty
        returns = asdict(reference_returns(tasks, **trial))
        curves = reference_curves(tasks, **trial)
        return Known(
            returns | {"explorer": returns["ceiling"]},
            tuple(returns),
            {name: getattr(curves, name) for name in ("ceiling", "localising", "random")},
        )

    @property
    def question(self) -> Mapping[str, Any]:
        """Entries of a summary that say what is measured."""
        whole = self.test is self.train
        protocol = "fresh trials, all goals" if whole else "held-out goals"
        return {"num_goals": len(self.test), "protocol": protocol}


@dataclass(frozen=True)
class PublishedMaze(HiddenGoals):
    """The maze with the published code's fault: teleports may lead into pillars."""

    teleport: ClassVar[TeleportMode] = "interior"
