"""The problems of `experiments.maze`, and what agents are judged by in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from gymnasium.spaces import Discrete, Space

from envs import GridMazeVectorEnv, maze_tasks
from envs.maze import anchors as oracle
from envs.maze.dynamics import NUM_ACTIONS, TeleportMode
from envs.maze.generators import GENERATORS, make_layout
from envs.maze.views import view_space
from envs.problems import BuiltIn, Family
from experiments.maze_pictures import MazePictures
from metarl.errors import UserError
from metarl.plots.references import REFERENCES, explained
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
class MazeReferences:
    """Random actions, explorers and the oracle (`metarl.run.trials.References`).

    Attributes:
        maze: Says horizon and reward.
        tasks: Goals.
    """

    maze: HiddenGoals
    tasks: Any

    @cached_property
    def returns(self) -> oracle.ReferenceReturns:
        """Expected returns of a trial."""
        return oracle.reference_returns(self.tasks, **self._trial)

    def figures(self, mean_return: float) -> dict[str, float | None]:
        """Entries of a summary."""
        score = oracle.normalised_score(mean_return, self.tasks, **self._trial)
        known = {f"{name}_return": value for name, value in asdict(self.returns).items()}
        return {"normalised_score": score, **known}

    def beside(self, summary: Mapping[str, Any]) -> str:
        """The returns in words."""
        return "; ".join(f"{words} {summary[f'{n}_return']:.1f}" for n, words in REFERENCES.items())

    def curves(self) -> dict[str, Any]:
        """Expected rewards ``[T, 1]`` of the explorers and of random actions, by name."""
        curves = oracle.reference_curves(self.tasks, **self._trial)
        return {
            REFERENCES[name]: getattr(curves, name)[:, None]
            for name in ("ceiling", "localising", "random")
        }

    @property
    def note(self) -> str:
        """Words for what stands behind the curves."""
        return explained(n for n in REFERENCES if n != "oracle")

    @property
    def _trial(self) -> dict[str, Any]:
        return {"horizon": self.maze.horizon, "reward": self.maze.reward}
