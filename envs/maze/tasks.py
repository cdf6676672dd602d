"""Maze tasks and the distributions they come from.

A *task* is where the reward is hidden: a layout, a goal cell and the cell episodes start from.
A *task distribution* is a finite set of goals in one layout, drawn uniformly. Both are values:
frozen, hashable, equal when their contents are. Splits into train, validation and test go by a
hash of the task itself, so that they do not depend on order, process, platform or on which
other tasks are around.
"""

from __future__ import annotations

import hashlib
import json
import reprlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ..base.json_text import json_object
from ..base.tasks import DEFAULT, Task, check_fractions, deal_out
from ..base.whole_numbers import whole_number
from .layout import FREE, Cell, Layout

__all__ = ["MazeTask", "TaskDistribution", "TaskSplits"]

START, GOAL = "S", "G"

T = TypeVar("T")


@dataclass(frozen=True)
class MazeTask(Task):
    """One hidden goal in one maze.

    Args:
        layout: The walls.
        goal: (row, column) of the reward, a free cell other than `start`.
        start: (row, column) where episodes start; the centre of the layout if None.

    Raises:
        ValueError: If the goal or the start is no cell, in a wall or outside, or if they coincide.
    """

    layout: Layout
    goal: Cell
    start: Cell = DEFAULT

    def __post_init__(self) -> None:
        start = _given(self.start, self.layout.centre)
        for role, cell in (("goal", self.goal), ("start", start)):
            checked = as_cell(cell, role)
            self.layout.cell_number(checked, role)
            object.__setattr__(self, role, checked)
        if self.goal == self.start:
            raise ValueError(
                f"goal {self.goal} is the start cell: a goal must be another free cell, or the "
                f"first reward would be found without looking"
            )

    @cached_property
    def task_id(self) -> str:
        """16 hexadecimal digits, a hash of the contents: the same on every machine."""
        return hashlib.sha256(self.to_ascii().encode()).hexdigest()[:16]

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Cell numbers of goal and start, int64 [] each."""
        return np.array(self.goal_number), np.array(self.start_number)

    @property
    def goal_number(self) -> int:
        """Cell number of the goal."""
        return self.layout.cell_numbers[self.goal]

    @property
    def start_number(self) -> int:
        """Cell number of the start."""
        return self.layout.cell_numbers[self.start]

    def to_ascii(self) -> str:
        """The layout's picture with ``S`` on the start and ``G`` on the goal."""
        grid = [list(row) for row in self.layout.rows]
        for (row, column), mark in ((self.start, START), (self.goal, GOAL)):
            grid[row][column] = mark
        return "\n".join("".join(row) for row in grid)

    @classmethod
    def from_ascii(cls, text: str) -> MazeTask:
        """Reads what `to_ascii` wrote.

        Raises:
            ValueError: If there is not exactly one ``S`` and one ``G``.
        """
        lines = [line.strip() for line in text.strip().splitlines()]
        cells: dict[str, Cell] = {}
        for mark in (START, GOAL):
            found = [
                (r, c) for r, line in enumerate(lines) for c, m in enumerate(line) if m == mark
            ]
            if len(found) != 1:
                raise ValueError(f"a task has exactly one {mark!r}, found {len(found)} in\n{text}")
            cells[mark] = found[0]
        walls = "\n".join(lines).replace(START, FREE).replace(GOAL, FREE)
        return cls(Layout.from_ascii(walls), goal=cells[GOAL], start=cells[START])

    def to_json(self) -> str:
        """A JSON object: ``layout`` (list of rows), ``goal`` and ``start`` ([row, column])."""
        return json.dumps({"layout": self.layout.rows, "goal": self.goal, "start": self.start})

    @classmethod
    def from_json(cls, text: str) -> MazeTask:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: If it is no JSON object, or a field is missing, unknown or of the wrong
                form.
        """
        fields = json_object(text, "maze task")
        if set(fields) != {"layout", "goal", "start"} or not isinstance(fields["layout"], list):
            raise ValueError(
                f"not a maze task: expected an object with layout (a list of rows), goal and "
                f"start, got {text[:80]!r}"
            )
        goal, start = (as_cell(fields[role], role) for role in ("goal", "start"))
        return cls(Layout(tuple(fields["layout"])), goal=goal, start=start)

    def __str__(self) -> str:
        return self.to_ascii()


class TaskSplits(NamedTuple):
    """Disjoint parts of a task distribution; together they are the whole."""

    train: TaskDistribution
    validation: TaskDistribution
    test: TaskDistribution


@dataclass(frozen=True)
class TaskDistribution:
    """Goals of one layout, uniform over a finite set.

    Iteration and indexing enumerate the tasks, in the order of `goals`; ``len`` counts them.

    Args:
        layout: The walls.
        goals: The cells a goal may be on; every free cell but the start if None.
        start: The cell episodes start from; the centre if None.

    Raises:
        ValueError: If a goal is in a wall, outside, on the start, or named twice.
    """

    layout: Layout
    goals: tuple[Cell, ...] = DEFAULT
    start: Cell = DEFAULT

    def __post_init__(self) -> None:
        start = as_cell(_given(self.start, self.layout.centre), "start")
        self.layout.cell_number(start, "start")
        others = tuple(cell for cell in self.layout.free_cells if cell != start)
        goals = tuple(
            MazeTask(self.layout, goal, start).goal for goal in _given(self.goals, others)
        )
        if len(set(goals)) < len(goals):
            raise ValueError(f"a goal is named twice in {goals}: name each once")
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "goals", goals)

    @classmethod
    def from_tasks(cls, tasks: Iterable[MazeTask]) -> TaskDistribution:
        """The distribution that is uniform over `tasks` (one layout, one start cell).

        Raises:
            ValueError: If there are no tasks, or they differ in layout or start.
        """
        tasks = tuple(tasks)
        if not tasks:
            raise ValueError("no tasks given: a distribution needs at least one to know its layout")
        if any((t.layout, t.start) != (tasks[0].layout, tasks[0].start) for t in tasks):
            raise ValueError(
                "the tasks differ in layout or start cell: make one distribution for each"
            )
        return cls(tasks[0].layout, tuple(task.goal for task in tasks), tasks[0].start)

    @cached_property
    def tasks(self) -> tuple[MazeTask, ...]:
        """Every task, in the order of `goals`."""
        return tuple(MazeTask(self.layout, goal, self.start) for goal in self.goals)

    def __len__(self) -> int:
        return len(self.goals)

    def __iter__(self) -> Iterator[MazeTask]:
        return iter(self.tasks)

    def __getitem__(self, index: int) -> MazeTask:
        return self.tasks[index]

    def __contains__(self, task: object) -> bool:
        return (
            isinstance(task, MazeTask)
            and (task.layout, task.start) == (self.layout, self.start)
            and task.goal in self.goals
        )

    def sample(self, n: int, rng: np.random.Generator | torch.Generator) -> tuple[MazeTask, ...]:
        """Draws `n` tasks independently and uniformly, with replacement.

        Args:
            n: How many, at least 0.
            rng: A NumPy or a (CPU or GPU) torch generator. The two give different tasks.

        Raises:
            ValueError: If the distribution is empty or `n` is negative.
        """
        self._check_draw(n)
        if isinstance(rng, torch.Generator):
            draws = torch.randint(len(self), (n,), generator=rng, device=rng.device).tolist()
        else:
            draws = rng.integers(len(self), size=n).tolist()
        return tuple(self.tasks[index] for index in draws)

    def sample_goals(
        self, n: int, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> torch.Tensor:
        """Draws the goals of `n` mazes as one tensor, without waiting for the device.

        Args:
            n: How many, at least 0.
            generator: A torch generator on `device`.
            device: Where the result lives.

        Returns:
            int64 [n], cell numbers of the goals.

        Raises:
            ValueError: If the distribution is empty or `n` is negative.
        """
        self._check_draw(n)
        draws = torch.randint(len(self), (n,), generator=generator, device=device)
        return self._goal_numbers(torch.device(device)).index_select(0, draws)

    def draw(
        self, n: int, generator: torch.Generator, device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cell numbers of the goals and the starts of `n` tasks, int64 [n] each."""
        goals = self.sample_goals(n, generator, device)
        return goals, torch.full_like(goals, self.layout.cell_numbers[self.start])

    def filter(self, predicate: Callable[[MazeTask], bool]) -> TaskDistribution:
        """The tasks for which `predicate` holds, possibly none."""
        kept = tuple(task.goal for task in self if predicate(task))
        return TaskDistribution(self.layout, kept, self.start)

    def split(
        self,
        *,
        train: float = 0.8,
        validation: float = 0.0,
        test: float = 0.2,
        salt: str = "",
    ) -> TaskSplits:
        """Parts the tasks by their hash.

        Each task falls into a part on its own, whatever the others are: filtering before or
        after a split gives the same. The price is that the sizes are only about the fractions.

        Args:
            train: Fraction of the tasks to train on, at least 0.
            validation: Fraction to choose settings by, at least 0.
            test: Fraction to report on, at least 0; the three sum to 1.
            salt: Another string gives another split.

        Raises:
            ValueError: If a fraction is negative or they do not sum to 1.
        """
        fractions = check_fractions(train, validation, test)
        parts = deal_out(((task.task_id, task.goal) for task in self), fractions, salt)
        return TaskSplits(*(TaskDistribution(self.layout, goals, self.start) for goals in parts))

    def _check_draw(self, n: int) -> None:
        if not len(self):
            raise ValueError(
                "cannot sample from an empty task distribution: widen the filter or the split "
                "it came from"
            )
        if n < 0:
            raise ValueError(f"cannot sample {n} tasks: n must be at least 0")

    def _goal_numbers(self, device: torch.device) -> torch.Tensor:
        """int64 [len], cell numbers of the goals on `device`; copied there once."""
        return _goal_numbers(self, device)


@lru_cache(maxsize=256)
def _goal_numbers(tasks: TaskDistribution, device: torch.device) -> torch.Tensor:
    return torch.tensor([task.goal_number for task in tasks], dtype=torch.int64, device=device)


def _given(value: T | None, default: T) -> T:
    return default if value is None else value


def as_cell(cell: Any, role: str) -> Cell:
    """(row, column) of two integers.

    Args:
        cell: Two whole numbers, of whatever type.
        role: What the caller calls this cell, for the error message.

    Raises:
        ValueError: If it is anything else.
    """
    try:
        row, column = cell
        low = -(2**31)  # a cell outside the grid is named as such, where the grid is known
        return whole_number(row, "row", least=low), whole_number(column, "column", least=low)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{role} {reprlib.repr(cell)} is no cell: give (row, column), two whole numbers"
        ) from error
