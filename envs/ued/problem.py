"""The mazes of the papers on environment design as a problem, exactly as they are published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from gymnasium.spaces import Discrete, Space
from numpy.typing import NDArray

from ..base.checks import whole_number
from ..base.problem import SALT, Anchors, Known, OwnTimeEpisodes, Parted
from ..base.tasks import Splits, TaskSet
from ..maze.family import MazeFamily
from ..maze.followers import turning_actions, turning_return
from ..maze.generators import GENERATORS
from ..maze.identity import layout_hash
from ..maze.named import named_layouts, named_mazes
from ..maze.random_mazes import FRACTIONS, NAMED
from ..minigrid.drawing import MinigridPictures
from ..minigrid.dynamics import NUM_ACTIONS
from ..minigrid.returns import random_returns
from ..minigrid.tasks import MinigridTask
from ..minigrid.views import extras_of, observation_space
from .env import LevelVectorEnv
from .levels import VIEW_SIZE, Levels, LevelTasks, grid_of, maze_of

__all__ = ["UEDMazes"]

ANCHORS = ("random", "explorer", "right_hand", "left_hand", "oracle")
"""Who levels are judged by: random actions; an explorer that keeps a map of what it has seen; wall
followers; and who knows the level."""


class _Returns(NamedTuple):
    """Returns on levels, float64 [N] each, and actions to the goal."""

    random: NDArray[np.float64]
    explorer: NDArray[np.float64]
    right_hand: NDArray[np.float64]
    left_hand: NDArray[np.float64]
    oracle: NDArray[np.float64]
    first_find: NDArray[np.float64]
    shortest: NDArray[np.float64]


@dataclass(frozen=True)
class UEDMazes(MinigridPictures, OwnTimeEpisodes, Parted):
    """Levels with random walls; the goal is seen when it is in view, and reaching it ends all.

    The agent sees 5 x 5 cells ahead of it, through walls: where there is a wall, and where the goal
    is; and where it looks. Levels are dealt out by the hash of their walls, as `RandomMazes` are.
    Those to choose by and to report on can all be solved; those of training need not, as published.

    Attributes:
        mazes: Generator of the walls: walls-25 (JaxUED), walls-60 (minimax, SFL), walls-0-59 (DCD),
            or any other; or named, the published test mazes.
        size: Rows and columns, border included.
        horizon: Steps of an episode, at most: 250 (JaxUED; training everywhere), 450 (DCD's and
            minimax's tests of these sizes).
        solvable: Train on levels alone whose goal can be reached, too.
        salt: Another one deals the levels out differently.
    """

    name: ClassVar[str] = "ued"
    has_goal: ClassVar[bool | Literal["pays"]] = "pays"
    actions: ClassVar[Space[Any]] = Discrete(NUM_ACTIONS)
    observation: ClassVar[Space[Any]] = observation_space("maze", VIEW_SIZE, extras_of(True, False))
    is_file: ClassVar[bool] = False

    mazes: str = "walls-60"
    size: int = 15
    horizon: int = 250
    solvable: bool = False
    salt: str = SALT

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", whole_number(self.size, "size", least=5, most=25))
        whole_number(self.horizon, "horizon")
        if not (self.is_named or self.mazes in GENERATORS):
            raise ValueError(
                f"mazes must be {NAMED} or one of {', '.join(GENERATORS)}, got {self.mazes!r}"
            )
        _ = self.splits  # which refuses what it cannot be made of

    @property
    def is_named(self) -> bool:
        """Whether they are the named mazes."""
        return self.mazes == NAMED

    def check_sides(self) -> None:
        """Check that there are levels to train on.

        Raises:
            ValueError: They are for tests alone.
        """
        if self.is_named:
            raise ValueError("mazes must be others than named to train on, which are for tests")

    @cached_property
    def splits(self) -> Splits[Any]:
        """Levels to train on, to choose settings by and to report on."""
        if self.is_named:
            return Splits(*[self.every_task] * 3)
        family = MazeFamily(self.mazes, self.size, start="uniform", solvable=self.solvable)
        sides = family.split(**FRACTIONS, salt=self.salt)
        return Splits(*(LevelTasks(side, self.horizon) for side in sides))

    @cached_property
    def every_task(self) -> TaskSet[MinigridTask]:
        """The named mazes as levels."""
        return TaskSet(tuple(grid_of(maze, self.horizon) for maze in named_mazes()))

    @property
    def levels(self) -> Levels:
        """Levels of training as numbers, for curricula."""
        levels: Levels = self.train.levels
        return levels

    @property
    def vector_env(self) -> Any:
        """Maker of levels, as a tensor program."""
        return partial(LevelVectorEnv, autoreset_mode=self.autoreset_mode)

    @property
    def drawn(self) -> Any:
        """Levels to train on; of the named ones, which are set at every reset, any others."""
        return UEDMazes(horizon=self.horizon).train if self.is_named else self.train

    # What agents are judged by ---------------------------------------------------------------

    def anchors(self, tasks: Sequence[Any]) -> Anchors:
        """Returns of random actions, and of who knows the level."""
        found = _returns(tuple(tasks), self.horizon)
        return Anchors(float(found.random.mean()), float(found.oracle.mean()))

    def known(self, tasks: Sequence[Any], num_episodes: int = 1) -> Known:
        """References for agents; the explorer keeps its map in the episodes after the first."""
        found = _returns(tuple(tasks), self.horizon)
        more = num_episodes - 1
        each = {name: num_episodes * getattr(found, name) for name in ANCHORS}
        each["explorer"] = found.explorer + more * np.where(
            found.explorer > 0, found.oracle, found.explorer
        )
        mazes = [maze_of(task) for task in tasks]
        names = [f"{layout_hash(maze.layout) & (2**64 - 1):016x}" for maze in mazes]
        named = named_mazes()
        return Known(
            {"ceiling": None, **{name: float(values.mean()) for name, values in each.items()}},
            ANCHORS,
            layouts=names,
            num_layouts=len(set(names)),
            each=each,
            first_find=found.first_find,
            shortest=found.shortest,
            ends_at=self.horizon,
            more={
                "solved": {name: float((getattr(found, name) > 0).mean()) for name in ANCHORS[1:]},
                "explorer": "searches with the agent's view and a map, which it keeps in a trial",
            },
            mazes=[named.called(maze) for maze in mazes] if self.is_named else None,
        )

    def num_trained_on(self, tasks: Sequence[Any]) -> int:
        """Number of layouts of tasks that training may have drawn, by their hash.

        Of the named mazes none: no generator comes upon one of them.
        """
        if self.is_named:
            return 0
        layouts = {maze_of(task).layout for task in tasks} - named_layouts()
        return sum(self.train.family.contains(layout) for layout in layouts)

    @property
    def question(self) -> Mapping[str, Any]:
        """Entries of a summary that say what is measured."""
        what = self.mazes if self.is_named else f"{self.mazes} {self.size}"
        return {
            "protocol": f"fresh trials, unseen levels ({what})",
            **{name: getattr(self, name) for name in ("mazes", "size", "horizon")},
        }


@lru_cache(maxsize=16)
def _returns(tasks: tuple[MinigridTask, ...], horizon: int) -> _Returns:
    """Returns on levels; not to be written into."""
    unlike = tuple(dict.fromkeys(tasks))
    row = {task: n for n, task in enumerate(unlike)}
    rows = [row[task] for task in tasks]
    actions = turning_actions(maze_of(task) for task in unlike)
    paid = (turning_return(steps, horizon) for steps in actions)
    shortest, explorer, right, left = (values[rows] for values in paid)
    return _Returns(
        random_returns(unlike, horizon=horizon)[rows],
        *(explorer, right, left, shortest),
        first_find=actions.explorer[rows],
        shortest=actions.shortest[rows],
    )
