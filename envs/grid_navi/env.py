"""GridNavi, a small grid with a hidden goal to search for: one, a tensor program, a problem.

Zintgraf et al. (2020), section 5.1. An episode has 15 steps; `envs.Trial` makes a trial of four.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Space
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from ..base.checks import check_discrete
from ..base.problem import FRACTIONS, SALT, Anchors, BuiltIn
from ..base.single import TaskEnv
from ..base.tasks import TaskSet, as_source
from ..base.tensor import TensorEnv
from .tasks import (
    ELSEWHERE,
    MOVES,
    ON_GOAL,
    GridNaviTask,
    Point,
    grid_navi_reference_returns,
    grid_navi_tasks,
    next_cells,
)

__all__ = ["GridNavi", "GridNaviEnv", "GridNaviVectorEnv"]

ACTION_NAMES = ("stay", "up", "right", "down", "left")

Goals = TaskSet[GridNaviTask] | Sequence[GridNaviTask]


class GridNaviEnv(TaskEnv[GridNaviTask, np.int64]):
    """Search a small grid for the goal, then stay on it.

    ## Description
    The agent starts in a corner of an empty grid and sees where it is, not where the goal is. It
    gets a reward for every step that ends on the goal. The optimal learner searches the cells
    without going over any twice, and in later episodes goes straight to what it has found.

    ## Action Space
    ``Discrete(5)``: 0 stay, 1 up (y + 1), 2 right (x + 1), 3 down, 4 left. The border blocks.

    ## Observation Space
    ``Box(0, size - 1, (2,), float32)``: the cell (x, y). With ``one_hot=True``
    ``Box(0, 1, (size^2,), float32)``, with a 1 at ``x * size + y``.

    ## Rewards
    1 if the step ends on the goal, -0.1 otherwise.

    ## Starting State
    The corner (0, 0).

    ## Episode End
    Never terminated. Truncated after `horizon` steps, by the environment itself.

    ## Tasks
    ``reset(options={"task": GridNaviTask((x, y))})`` sets the goal; see `envs.base.single`.
    Nothing within a task is random. What is to be earned: `envs.grid_navi.tasks`.

    ## Arguments
    ```python
    gymnasium.make("metarl/GridNavi-v0", horizon=15)
    ```
    * `size`: cells along a side, if `tasks` is not given
    * `tasks`: a `TaskSet` or a sequence of `GridNaviTask`; every goal by default
    * `horizon`: steps in an episode
    * `one_hot`: see the cell as a one-hot vector instead of two coordinates
    * `render_mode`: ``"ansi"`` (text), ``"rgb_array"`` (uint8 picture), ``"human"`` (a window)

    ## Version History
    * v0: first version
    """

    task_type = GridNaviTask
    reward_range = (ELSEWHERE, ON_GOAL)

    def __init__(
        self,
        *,
        size: int = 5,
        tasks: Goals | None = None,
        horizon: int = 15,
        one_hot: bool = False,
        render_mode: str | None = None,
    ) -> None:
        source, self.size = grid_navi_settings(size, tasks)
        super().__init__(source, horizon, render_mode)
        self._seen = grid_navi_observations(self.size, one_hot)
        self.observation_space = observation_space(self._seen)
        self.action_space = Discrete(len(MOVES))
        self._table = next_cells(self.size)

    @property
    def position(self) -> Point:
        """Position of the agent, (x, y)."""
        if self._elapsed is None:
            raise gymnasium.error.ResetNeeded("the agent is nowhere yet: call reset()")
        return self._cell // self.size, self._cell % self.size

    def _begin(self, task: GridNaviTask) -> None:
        self._cell, self._goal = 0, int(task.arrays()[0])

    def get_keys_to_action(self) -> dict[tuple[str, ...], Any]:
        """W up, D right, S down, A left, space to stay, for `gymnasium.utils.play.play`."""
        return {(key,): action for action, key in enumerate(" wdsa")}

    def _read_action(self, action: Any) -> np.int64:
        return check_discrete(action, len(MOVES))

    def _advance(self, action: np.int64) -> tuple[float, bool]:
        self._cell = int(self._table[self._cell, action])
        reward = ON_GOAL if self._cell == self._goal else ELSEWHERE
        return float(np.float32(reward)), False

    def _observe(self) -> NDArray[np.float32]:
        return np.array(self._seen[self._cell])

    def _check_task(self, task: Any) -> GridNaviTask:
        return check_size(super()._check_task(task), self.size)

    def _text(self) -> str:
        """The grid with ``A`` on the agent and ``G`` on the goal; y grows upwards."""
        marks = {self._goal: "G"} | {self._cell: "A"}
        rows = [
            "".join(marks.get(x * self.size + y, ".") for x in range(self.size))
            for y in reversed(range(self.size))
        ]
        return "\n".join(rows)


class GridNaviVectorEnv(TensorEnv[GridNaviTask]):
    """B grids on a torch device; dynamics as in `GridNaviEnv`.

    Observations are float32 [B, 2], or [B, size^2] if `one_hot`; actions int64 [B]; the tasks'
    parameters the goals' cell numbers and the size, int64 [B] each.

    Args:
        num_envs: Number of grids, B.
        size, tasks, horizon, one_hot: As in `GridNaviEnv`.
        device, generator, autoreset_mode: As in `envs.base.tensor.TensorEnv`.
        validate_actions: Refuse actions out of range. Done on the CPU only: elsewhere the
            check would have to wait for the device.

    Raises:
        ValueError: If a setting is out of range.
    """

    task_type = GridNaviTask
    parameter_dtype = torch.int64
    reward_range = (ELSEWHERE, ON_GOAL)

    def __init__(
        self,
        num_envs: int = 1,
        *,
        size: int = 5,
        tasks: Goals | None = None,
        horizon: int = 15,
        one_hot: bool = False,
        device: torch.device | str = "cpu",
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.DISABLED,
        validate_actions: bool = True,
    ) -> None:
        source, self.size = grid_navi_settings(size, tasks)
        observations = grid_navi_observations(self.size, one_hot)
        super().__init__(
            num_envs,
            source,
            horizon,
            {"goal": (), "size": ()},
            observation_space(observations),
            Discrete(len(MOVES)),
            device=device,
            generator=generator,
            autoreset_mode=autoreset_mode,
        )
        self._validate = validate_actions and self.device.type == "cpu"
        self._seen = torch.tensor(observations, device=self.device)
        self._table = torch.tensor(next_cells(self.size).reshape(-1), device=self.device)
        self._start = torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)
        self._on_goal, self._elsewhere = self._zero + ON_GOAL, self._zero + ELSEWHERE

    @property
    def cells(self) -> torch.Tensor:
        """int64 [B], the cells of the agents, ``x * size + y``. Do not write into it."""
        assert self.task_parameters
        return self._cells

    @property
    def goals(self) -> torch.Tensor:
        """int64 [B], the cells of the goals. Do not write into it."""
        return self.task_parameters[0]

    def _begin(self, started: torch.Tensor | None) -> None:
        self._cells = self._start

    def _read_actions(self, actions: Any) -> torch.Tensor:
        return self._read_discrete(actions, len(MOVES), validate=self._validate)

    def _advance(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        self._cells = self._table.index_select(0, self._cells * len(MOVES) + actions)
        return torch.where(self._cells == self._params[0], self._on_goal, self._elsewhere), None

    def _observe(self) -> torch.Tensor:
        return self._seen.index_select(0, self._cells)

    def _check_parameters(self, *parameters: torch.Tensor) -> None:
        goals, sizes = parameters
        x, y = goals // self.size, goals % self.size
        right = (goals >= 0) & (goals < self.size**2) & ((x > 1) | (y > 1)) & (sizes == self.size)
        if not bool(right.all()):
            row = int((~right).nonzero()[0])
            raise ValueError(
                f"task {row}, goal cell {int(goals[row])} of a grid of size {int(sizes[row])}, is "
                f"none of this environment of size {self.size}"
            )

    def _check_task(self, task: Any) -> GridNaviTask:
        return check_size(super()._check_task(task), self.size)


def grid_navi_settings(size: int, tasks: Goals | None) -> tuple[TaskSet[GridNaviTask], int]:
    """Returns the source of goals, and the size of the grid.

    Raises:
        ValueError: If the goals are of grids of different sizes, or there are none.
        TypeError: If something is no `GridNaviTask`.
    """
    if tasks is None:
        tasks = grid_navi_tasks(size)
    source = as_source(tasks, GridNaviTask)
    assert isinstance(source, TaskSet)
    sizes = {task.size for task in source}
    if len(sizes) > 1:
        raise ValueError(f"the goals are of grids of sizes {sorted(sizes)}: make one set for each")
    return source, sizes.pop()


def check_size(task: GridNaviTask, size: int) -> GridNaviTask:
    """The task itself, if it is of a grid of `size`.

    Raises:
        ValueError: If it is not.
    """
    if task.size != size:
        raise ValueError(
            f"task {task.task_id} is of a grid of size {task.size}, this environment of size "
            f"{size}: make one with size={task.size}"
        )
    return task


def grid_navi_observations(size: int, one_hot: bool) -> NDArray[np.float32]:
    """The observation on each cell: float32 [size^2, 2], or [size^2, size^2] if `one_hot`."""
    if one_hot:
        return np.eye(size**2, dtype=np.float32)
    return np.array([divmod(cell, size) for cell in range(size**2)], dtype=np.float32)


def observation_space(observations: NDArray[np.float32]) -> Box[Any]:
    """The space of the rows of `observations`."""
    return Box(0.0, float(observations.max()), observations.shape[1:], np.float32)


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
        """Maker of grids, as a tensor program."""
        return partial(GridNaviVectorEnv, one_hot=True)

    def anchors(self, tasks: Sequence[Any]) -> Anchors:
        """Returns of random actions, and of who knows the goal."""
        returns = grid_navi_reference_returns(tasks, horizon=self.horizon)
        return Anchors(returns.random, returns.oracle)
