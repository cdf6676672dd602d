"""Dark Room and Dark Key-to-Door: one, a tensor program, and two problems; see `tasks`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, Literal, get_args

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Space
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from ..base.checks import check_discrete, whole_number
from ..base.problem import FRACTIONS, SALT, Anchors, BuiltIn
from ..base.single import TaskEnv
from ..base.tasks import TaskSet, as_source
from ..base.tensor import TensorEnv
from .tasks import (
    MOST_ROWS,
    MOVES,
    NO_KEY,
    DarkRoomStart,
    DarkRoomTask,
    dark_room_reference_returns,
    dark_room_tasks,
    first_cell,
    key_to_door_tasks,
    next_cells,
)

__all__ = ["DarkRoom", "DarkRoomEnv", "DarkRoomVectorEnv", "KeyToDoor"]

Tasks = TaskSet[DarkRoomTask] | Sequence[DarkRoomTask]


@dataclass(frozen=True)
class Room:
    """Common part of the single and the tensor environment, checked once.

    Attributes:
        tasks: Source of tasks when none is set.
        size: Cells along a side.
        keyed: Whether all tasks have a key, and episodes end at the door.
        start: The start of episodes.
        seen: The observation on each cell, float32 [size^2, ...].
    """

    tasks: TaskSet[DarkRoomTask]
    size: int
    keyed: bool
    start: DarkRoomStart
    seen: NDArray[np.float32]

    @classmethod
    def check(
        cls, size: int, key: bool, tasks: Tasks | None, start: DarkRoomStart, one_hot: bool
    ) -> Room:
        """Fills in the tasks and checks every value.

        Raises:
            ValueError: If tasks are of rooms of several sizes, or some have keys and some none, or
                there are none, or the start is unknown.
            TypeError: If something is no `DarkRoomTask`.
        """
        if start not in get_args(DarkRoomStart):
            raise ValueError(f"start must be one of {get_args(DarkRoomStart)}, got {start!r}")
        if tasks is None:
            tasks = key_to_door_tasks(size) if key else dark_room_tasks(size)
        source = as_source(tasks, DarkRoomTask)
        assert isinstance(source, TaskSet)
        kinds = {(task.size, task.key is not None) for task in source}
        if len(kinds) > 1:
            sizes, keys = sorted({s for s, _ in kinds}), len({k for _, k in kinds})
            raise ValueError(
                f"the tasks are of rooms of sizes {sizes}, {'some' if keys > 1 else 'all'} of one "
                "kind: make one set for each size, with keys or without"
            )
        ((size, keyed),) = kinds
        return cls(source, size, keyed, start, dark_room_observations(size, one_hot))

    @property
    def space(self) -> Box[Any]:
        """The space of what is seen."""
        low = 0.0 if self.seen.shape[1] == self.size**2 else -1.0
        return Box(low, 1.0, self.seen.shape[1:], np.float32)

    def check_task(self, task: DarkRoomTask) -> DarkRoomTask:
        """The task itself, if it is of this room.

        Raises:
            ValueError: If it is not.
        """
        if (task.size, task.key is not None) != (self.size, self.keyed):
            kind = "with a key" if self.keyed else "without a key"
            raise ValueError(
                f"task {task.task_id} is {task}, and this environment of rooms of size "
                f"{self.size} {kind}: make one with tasks=[task]"
            )
        return task


class DarkRoomEnv(TaskEnv[DarkRoomTask, np.int64]):
    """Find what cannot be seen in an empty room: a goal, or a key and then its door.

    ## Description
    The agent sees where it is, and nothing else. Without a key every step that ends on the goal
    pays: find it, and stay. With one, the key pays once, the door once after it, and the episode
    ends. What can be learned across tasks is to search without going anywhere twice, and in later
    episodes to go straight to what was found.

    ## Action Space
    ``Discrete(5)``: 0 up, 1 down, 2 left, 3 right, 4 stay. The border blocks.

    ## Observation Space
    ``Box(-1, 1, (2,), float32)``: row and column, from -1 to 1. With ``one_hot=True``
    ``Box(0, 1, (size^2,), float32)``, with a 1 at ``row * size + column``.

    ## Rewards
    1 if the step ends on the goal; with a key, 1 for the first step that ends on the key, and 1 for
    the first after it that ends on the door. Otherwise 0.

    ## Starting State
    The centre (the cell (size // 2, size // 2)), the corner (0, 0), or any cell.

    ## Episode End
    Truncated after `horizon` steps, by the environment itself. With a key, terminated at the door.

    ## Tasks
    ``reset(options={"task": DarkRoomTask((row, column)})`` sets the goal; see `envs.base.single`.
    Nothing within a task is random but the start. What is to be earned: `envs.dark_room.tasks`.

    ## Arguments
    ```python
    gymnasium.make("metarl/DarkRoom-v0", size=9, horizon=20)
    ```
    * `size`: cells along a side, if `tasks` is not given
    * `key`: whether there is a key and a door, likewise
    * `tasks`: a `TaskSet` or a sequence of `DarkRoomTask`, all of one size, with keys or without;
      by default every goal, or every key with every door
    * `horizon`: steps in an episode
    * `start`: ``"centre"``, ``"corner"`` or ``"random"``
    * `one_hot`: see the cell as a one-hot vector instead of two coordinates
    * `render_mode`: ``"ansi"`` (text), ``"rgb_array"`` (uint8 picture), ``"human"`` (a window)

    ## Version History
    * v0: first version
    """

    task_type = DarkRoomTask
    reward_range = (0.0, 1.0)

    def __init__(
        self,
        *,
        size: int = 9,
        key: bool = False,
        tasks: Tasks | None = None,
        horizon: int = 20,
        start: DarkRoomStart = "centre",
        one_hot: bool = False,
        render_mode: str | None = None,
    ) -> None:
        self._room = Room.check(size, key, tasks, start, one_hot)
        self.may_terminate = self._room.keyed
        super().__init__(self._room.tasks, horizon, render_mode)
        self.size = self._room.size
        self.observation_space = self._room.space
        self.action_space = Discrete(len(MOVES))
        self._table = next_cells(self.size)

    @property
    def position(self) -> tuple[int, int]:
        """Position of the agent, (row, column)."""
        if self._elapsed is None:
            raise gymnasium.error.ResetNeeded("the agent is nowhere yet: call reset()")
        return divmod(self._cell, self.size)

    def _begin(self, task: DarkRoomTask) -> None:
        self._goal, self._key, _ = (int(array) for array in task.arrays())
        self._cell, self._has_key = first_cell(self.size, self._room.start), False
        if self._room.start == "random":
            self._cell = int(self.np_random.integers(self.size**2))

    def get_keys_to_action(self) -> dict[tuple[str, ...], Any]:
        """W up, S down, A left, D right, space to stay, for `gymnasium.utils.play.play`."""
        return {(key,): action for action, key in enumerate("wsad ")}

    def _read_action(self, action: Any) -> np.int64:
        return check_discrete(action, len(MOVES))

    def _advance(self, action: np.int64) -> tuple[float, bool]:
        self._cell = int(self._table[self._cell, action])
        if self._key == NO_KEY:
            return float(self._cell == self._goal), False
        if self._has_key:
            opened = self._cell == self._goal
            return float(opened), opened
        self._has_key = self._cell == self._key
        return float(self._has_key), False

    def _observe(self) -> NDArray[np.float32]:
        return np.array(self._room.seen[self._cell])

    def _check_task(self, task: Any) -> DarkRoomTask:
        return self._room.check_task(super()._check_task(task))

    def _text(self) -> str:
        """The room with ``A`` on the agent, ``G`` on the goal or door and ``K`` on the key."""
        marks = {self._goal: "G"} | ({} if self._has_key else {self._key: "K"}) | {self._cell: "A"}
        cells = [marks.get(cell, ".") for cell in range(self.size**2)]
        rows = range(0, self.size**2, self.size)
        return "\n".join("".join(cells[row : row + self.size]) for row in rows)


class DarkRoomVectorEnv(TensorEnv[DarkRoomTask]):
    """B rooms on a torch device; dynamics as in `DarkRoomEnv`.

    Observations are float32 [B, 2], or [B, size^2] if `one_hot`; actions int64 [B]; the tasks'
    parameters the cell numbers of goal and key (-1: none) and the size, int64 [B] each. With keys
    episodes end at different times; see `envs.base.tensor` for what then happens.

    Args:
        num_envs: Number of rooms, B.
        size, key, tasks, horizon, start, one_hot: As in `DarkRoomEnv`.
        device, generator, autoreset_mode: As in `envs.base.tensor.TensorEnv`.
        validate_actions: Refuse actions out of range. Done on the CPU only: elsewhere the
            check would have to wait for the device.

    Raises:
        ValueError: If a setting is out of range.
    """

    task_type = DarkRoomTask
    parameter_dtype = torch.int64
    reward_range = (0.0, 1.0)

    def __init__(
        self,
        num_envs: int = 1,
        *,
        size: int = 9,
        key: bool = False,
        tasks: Tasks | None = None,
        horizon: int = 20,
        start: DarkRoomStart = "centre",
        one_hot: bool = False,
        device: torch.device | str = "cpu",
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.DISABLED,
        validate_actions: bool = True,
    ) -> None:
        self._room = Room.check(size, key, tasks, start, one_hot)
        self.size, self.may_terminate = self._room.size, self._room.keyed
        super().__init__(
            num_envs,
            self._room.tasks,
            horizon,
            {"goal": (), "key": (), "size": ()},
            self._room.space,
            Discrete(len(MOVES)),
            device=device,
            generator=generator,
            autoreset_mode=autoreset_mode,
        )
        self._validate = validate_actions and self.device.type == "cpu"
        self._seen = torch.tensor(self._room.seen, device=self.device)
        self._table = torch.tensor(next_cells(self.size).reshape(-1), device=self.device)
        first = first_cell(self.size, start)
        self._start = torch.full((self.num_envs,), first, dtype=torch.int64, device=self.device)
        self._cells, self._has_key = self._start, self._false

    @property
    def cells(self) -> torch.Tensor:
        """int64 [B], the cells of the agents, ``row * size + column``. Do not write into it."""
        assert self.task_parameters
        return self._cells

    @property
    def goals(self) -> torch.Tensor:
        """int64 [B], the cells of the goals, or of the doors. Do not write into it."""
        return self.task_parameters[0]

    def _begin(self, started: torch.Tensor | None) -> None:
        cells = self._start
        if self._room.start == "random":
            cells = self._generators.integers(self.size**2, 1)[0]
        if started is None:
            self._cells, self._has_key = cells, self._false
            return
        self._cells = torch.where(started, cells, self._cells)
        self._has_key = self._has_key & ~started

    def _read_actions(self, actions: Any) -> torch.Tensor:
        return self._read_discrete(actions, len(MOVES), validate=self._validate)

    def _advance(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        goals, keys, _ = self._params
        cells = self._table.index_select(0, self._cells * len(MOVES) + actions)
        if not self._room.keyed:
            self._cells = cells
            return (cells == goals).to(torch.float32), None
        self._cells = cells = torch.where(self._ended, self._cells, cells)
        opened = self._has_key & (cells == goals)
        found = ~self._has_key & (cells == keys)
        self._has_key = self._has_key | found
        return (opened | found).to(torch.float32), opened

    def _observe(self) -> torch.Tensor:
        return self._seen.index_select(0, self._cells)

    def _check_parameters(self, *parameters: torch.Tensor) -> None:
        goals, keys, sizes = parameters
        least, most = (0, self.size**2) if self._room.keyed else (NO_KEY, 0)
        right = (goals >= 0) & (goals < self.size**2) & (keys >= least) & (keys < most)
        right = right & (sizes == self.size)
        if not bool(right.all()):
            row = int((~right).nonzero()[0])
            raise ValueError(
                f"task {row}, goal cell {int(goals[row])} and key cell {int(keys[row])} of a room "
                f"of size {int(sizes[row])}, is none of this environment of size {self.size}, "
                f"{'with keys' if self._room.keyed else 'without keys'}"
            )

    def _check_task(self, task: Any) -> DarkRoomTask:
        return self._room.check_task(super()._check_task(task))


def dark_room_observations(size: int, one_hot: bool) -> NDArray[np.float32]:
    """The observation on each cell: float32 [size^2, 2], or [size^2, size^2] if `one_hot`."""
    if one_hot:
        return np.eye(size**2, dtype=np.float32)
    cells = np.array([divmod(cell, size) for cell in range(size**2)], dtype=np.float32)
    return np.float32(2) * cells / np.float32(size - 1) - np.float32(1)


@dataclass(frozen=True)
class DarkRoom(BuiltIn):
    """An empty room whose goal pays every step; the agent sees its row and column.

    The usual one is that of Algorithm Distillation; with ``size=10``, ``start="corner"`` and
    ``horizon=100`` it is that of the Decision-Pretrained Transformer.

    Attributes:
        size: Cells along a side.
        start: Episodes start in the centre, in a corner, or each on a random cell.
        salt: Another one deals the tasks out differently to the sides.
    """

    name: ClassVar[str] = "darkroom"
    has_goal: ClassVar[bool | Literal["pays", "ends"]] = "pays"
    observation: ClassVar[Space[Any]] = Box(-1.0, 1.0, (2,), np.float32)
    actions: ClassVar[Space[Any]] = Discrete(len(MOVES))
    keyed: ClassVar[bool] = False

    horizon: int = 20
    size: int = 9
    start: DarkRoomStart = "centre"
    salt: str = SALT

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_number(self.size, "size", least=3, most=MOST_ROWS)

    @cached_property
    def splits(self) -> Any:
        """Tasks, dealt out."""
        tasks = key_to_door_tasks(self.size) if self.keyed else dark_room_tasks(self.size)
        return tasks.split(**FRACTIONS, salt=self.salt)

    @property
    def vector_env(self) -> Any:
        """Maker of rooms, as a tensor program."""
        return partial(DarkRoomVectorEnv, size=self.size, key=self.keyed, start=self.start)

    def anchors(self, tasks: Sequence[Any]) -> Anchors:
        """Returns of random actions, and of who knows the task."""
        returns = dark_room_reference_returns(tasks, horizon=self.horizon, start=self.start)
        return Anchors(returns.random, returns.oracle)


@dataclass(frozen=True)
class KeyToDoor(DarkRoom):
    """An empty room with a hidden key, and a hidden door that ends the episode; each pays once."""

    name: ClassVar[str] = "keytodoor"
    has_goal: ClassVar[bool | Literal["pays", "ends"]] = "ends"  # the key is half of the way
    keyed: ClassVar[bool] = True

    horizon: int = 50
    start: DarkRoomStart = "random"
