"""Maze tasks: where the reward is hidden, in a layout, and where episodes start."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from ..base.checks import as_cell, json_object
from ..base.tasks import DEFAULT, Arrays, Task, TaskSet
from .layout import FREE, Cell, Layout

__all__ = ["MazeTask", "maze_tasks"]

START, GOAL = "S", "G"


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
        start = self.layout.centre if self.start is DEFAULT else self.start
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

    def arrays(self) -> Arrays:
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


@lru_cache(maxsize=64)
def maze_tasks(layout: Layout, start: Cell | None = None) -> TaskSet[MazeTask]:
    """Every goal of a layout: all free cells but the start, in the order of their numbers.

    Args:
        layout: The walls.
        start: (row, column) where episodes start; the centre of the layout if None.

    Raises:
        ValueError: If the start is in a wall or outside.
    """
    start = as_cell(layout.centre if start is None else start, "start")
    layout.cell_number(start, "start")
    goals = (cell for cell in layout.free_cells if cell != start)
    return TaskSet(tuple(MazeTask(layout, goal, start) for goal in goals))
