"""Minigrid as a problem: the tasks of an id, dealt out to three sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, Literal

import numpy as np
from gymnasium.spaces import Discrete, Space
from numpy.typing import NDArray

from ..base.checks import whole_number
from ..base.problem import FRACTIONS, SALT, Anchors, Known, OwnTimeEpisodes, Parted, check_dealt_out
from .drawing import MinigridPictures
from .dynamics import NUM_ACTIONS
from .explorer import explorer_returns
from .returns import oracle_returns, random_returns
from .task_set import By, MinigridTasks, minigrid_tasks
from .tasks import MinigridTask
from .tensor import MinigridVectorEnv
from .views import extras_of, observation_space

__all__ = ["Minigrid"]

LADDER = ("random", "explorer", "ceiling", "oracle")
"""Who mazes are judged by; of grids some are not known."""


@dataclass(frozen=True)
class Minigrid(MinigridPictures, OwnTimeEpisodes, Parted):
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
    def drawn(self) -> Any:
        """Grids to train on; where there is none, those of all sides, which are set at a reset."""
        return self.train if len(self.train) else self.tasks

    @property
    def _mission(self) -> bool:
        return any(task.named_cells for task in self.tasks)

    @property
    def vector_env(self) -> Any:
        """Maker of grids, as a tensor program."""
        return partial(
            MinigridVectorEnv,
            observe="onehot",
            direction=True,
            mission=self._mission,
            autoreset_mode=self.autoreset_mode,
        )

    def anchors(self, tasks: Sequence[Any]) -> Anchors | None:
        """Returns of random actions and of the fewest to success; None if those are not known."""
        oracle = float(oracle_returns(tasks, horizon=self.horizon)[0].mean())
        if np.isnan(oracle):
            return None
        return Anchors(float(random_returns(tasks, horizon=self.horizon).mean()), oracle)

    def known(self, tasks: Sequence[Any], num_episodes: int = 1) -> Known:
        """References for agents; who is not known has NaN, and no mean."""
        unlike = tuple(dict.fromkeys(tasks))
        row = {task: n for n, task in enumerate(unlike)}
        rows = [row[task] for task in tasks]
        explored = explorer_returns(unlike, horizon=self.horizon, num_episodes=num_episodes)[rows]
        each = {
            "random": num_episodes * random_returns(unlike, horizon=self.horizon)[rows],
            "explorer": explored.sum(1),
            "oracle": num_episodes * oracle_returns(unlike, horizon=self.horizon)[0][rows],
        }
        each = {name: values for name, values in each.items() if not np.isnan(values).any()}
        unknown: dict[str, float | None] = dict.fromkeys(LADDER)
        layouts = [self.layout_of(task) for task in tasks]
        return Known(
            unknown | {name: float(values.mean()) for name, values in each.items()},
            tuple(each),
            layouts=layouts,
            num_layouts=len(set(layouts)),
            each=each,
            more=_of_the_explorer(explored),
        )

    def layout_of(self, task: MinigridTask) -> str:
        """Name of what tasks are dealt out by: of all that is in a grid, or of its walls."""
        return task.task_id if self.by == "task" else task.walls_id()

    def num_trained_on(self, tasks: Sequence[Any]) -> int:
        """Number of layouts of tasks among those to train on."""
        return len(set(map(self.layout_of, tasks)) & set(map(self.layout_of, self.train)))

    @property
    def question(self) -> Mapping[str, Any]:
        """Entries of a summary that say what is measured."""
        what = "walls" if self.by == "walls" else "grids"
        return {
            "protocol": f"fresh trials, unseen {what} ({self.env_id})",
            "mazes": f"minigrid:{self.env_id}",
            "horizon": self.horizon,
            "layouts_are": what,
        }

    def check_sides(self) -> None:
        """Check that there are grids to train on and others to test on, all of which are played.

        Raises:
            ValueError: There are no such grids, or too few; or see `check_played`.
        """
        self.check_played()
        others = {
            "walls": "part them by all that is in them (by=task)",
            "task": "take an id whose grids differ more",
        }
        remedy = f"read more grids, or {others[self.by]}"
        check_dealt_out(self.splits, self.env_id, "grids", remedy)

    def check_played(self) -> None:
        """Check that the tensor environment plays all grids.

        Raises:
            ValueError: It does not, or there is no such id.
        """
        self.vector_env(1, tasks=self.tasks, horizon=self.horizon)


def _of_the_explorer(returns: NDArray[np.float64]) -> dict[str, Any]:
    """Entries of a summary about the explorer, from its returns [B, E]."""
    if np.isnan(returns).any():
        return {"explorer": "none: it would have to guess what boxes hold, or what to look for"}
    return {
        "explorer": "searches with the agent's view and a map, which it keeps in a trial",
        "explorer_success_by_episode": (returns > 0).mean(0).tolist(),
        "explorer_return_by_episode": returns.mean(0).tolist(),
    }
