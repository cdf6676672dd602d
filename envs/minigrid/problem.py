"""Minigrid as a problem: the tasks of an id, dealt out to three sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, Literal

import numpy as np
from gymnasium.spaces import Discrete, Space

from ..base.checks import whole_number
from ..base.problem import FRACTIONS, SALT, Anchors, Known, Parted
from .drawing import MinigridPictures
from .dynamics import NUM_ACTIONS
from .returns import minigrid_anchors
from .task_set import By, MinigridTasks, minigrid_tasks
from .tensor import MinigridVectorEnv
from .views import extras_of, observation_space

__all__ = ["Minigrid"]

LADDER = ("random", "explorer", "ceiling", "oracle")
"""Who mazes are judged by; of grids some are not known."""


@dataclass(frozen=True)
class Minigrid(MinigridPictures, Parted):
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
    actions: ClassVar[Space[Any]] = Discrete(NUM_ACTIONS)

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

    def known(self, tasks: Sequence[Any], num_episodes: int = 1) -> Known:
        """What agents are judged by; no explorer of grids with doors and keys is known."""
        ends = self.anchors(tasks)
        found = {"random": ends.floor, "oracle": ends.oracle} if ends else {}
        unknown: dict[str, float | None] = dict.fromkeys(LADDER)
        return Known(
            unknown | {name: num_episodes * value for name, value in found.items()},
            tuple(found),
            layouts=[task.task_id for task in tasks],
            num_layouts=len({task.walls_id for task in tasks}),
        )

    def num_trained_on(self, tasks: Sequence[Any]) -> int:
        """How many of some tasks are among those to train on."""
        return len(set(tasks) & set(self.train))

    @property
    def question(self) -> Mapping[str, Any]:
        """Entries of a summary that say what is measured."""
        protocol = f"fresh trials, unseen grids ({self.env_id})"
        return {"protocol": protocol, "mazes": f"minigrid:{self.env_id}", "horizon": self.horizon}

    def check_sides(self) -> None:
        """Check that there are grids to train on and others to test on.

        Raises:
            ValueError: There are no such grids, or too few.
        """
        if not all(map(len, self.splits)):
            raise ValueError(
                f"{self.env_id}: {', '.join(str(len(side)) for side in self.splits)} grids would "
                "be for training, validation and test: read more grids, or part them by all that "
                "is in them, by task"
            )
