"""Maze tasks: where the reward is hidden, in a layout, and where episodes start."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.checks import as_cell, json_object, whole_number
from ..base.tasks import DEFAULT, Arrays, PlainTask, TaskSet
from .layout import FREE, Cell, Layout

__all__ = ["UNSAID", "MazeTask", "maze_tasks"]

START, GOAL = "S", "G"

UNSAID = -1
"""The direction of a task that does not say one, as a number."""

ARROWS = (">", "v", "<", "^")
"""Marks of a start with a direction: right, down, left, up."""


@dataclass(frozen=True)
class MazeTask(PlainTask):
    """One hidden goal in one maze.

    Args:
        layout: The walls.
        goal: (row, column) of the reward, a free cell other than `start`.
        start: (row, column) where episodes start; ``layout.start``, the free cell nearest to the
            centre, if None.
        direction: The way an agent that turns looks at the start, in Minigrid's order: 0 right,
            1 down, 2 left, 3 up. None where the task does not say.

    Raises:
        ValueError: If the goal or the start is no cell, in a wall or outside, if they coincide, or
            if the direction is none of the four.
    """

    layout: Layout
    goal: Cell
    start: Cell = DEFAULT
    direction: int | None = None

    def __post_init__(self) -> None:
        start = self.layout.start if self.start is DEFAULT else self.start
        for role, cell in (("goal", self.goal), ("start", start)):
            checked = as_cell(cell, role)
            self.layout.cell_number(checked, role)
            object.__setattr__(self, role, checked)
        if self.goal == self.start:
            raise ValueError(
                f"goal {self.goal} is the start cell: a goal must be another free cell, or the "
                f"first reward would be found without looking"
            )
        if self.direction is not None:
            direction = whole_number(self.direction, "direction", least=0, most=len(ARROWS) - 1)
            object.__setattr__(self, "direction", direction)

    @cached_property
    def task_id(self) -> str:
        """16 hexadecimal digits, a hash of the contents: the same on every machine."""
        return hashlib.sha256(self.to_ascii().encode()).hexdigest()[:16]

    def arrays(self) -> Arrays:
        """Cell numbers of goal and start, int64 [] each, and the walls as numbers, int64 [H].

        Then the direction, int64 [], where the task says one.
        """
        numbers = np.array(self.goal_number), np.array(self.start_number), self.layout.packed
        return numbers if self.direction is None else (*numbers, np.array(self.direction))

    @classmethod
    def from_arrays(cls, *arrays: NDArray[Any]) -> MazeTask:
        """The task with these numbers: the inverse of `arrays`."""
        goal, start, rows, *direction = arrays
        return cls.of_numbers(Layout.from_packed(rows), int(goal), int(start), *map(int, direction))

    @classmethod
    def of_numbers(
        cls, layout: Layout, goal: int, start: int, direction: int | None = None
    ) -> MazeTask:
        """The task of a layout whose goal and start have these cell numbers."""
        return cls(layout, layout.free_cells[goal], layout.free_cells[start], direction)

    @classmethod
    def stack(cls, arrays: Sequence[Arrays]) -> Arrays:
        """The arrays of n tasks side by side, [n, ...] each; rows of 0 below lower layouts.

        Raises:
            ValueError: If some tasks say a direction and others do not.
        """
        if len({len(one) for one in arrays}) > 1:
            raise ValueError(
                "some tasks say in which direction an agent starts and others do not: give all of "
                "them a direction, or none"
            )
        height = max(len(one[2]) for one in arrays)
        padded = [np.pad(one[2], (0, height - len(one[2]))) for one in arrays]
        goals, starts, _, *directions = (column for column in zip(*arrays, strict=True))
        return np.stack(goals), np.stack(starts), np.stack(padded), *map(np.stack, directions)

    @property
    def goal_number(self) -> int:
        """Cell number of the goal."""
        return self.layout.cell_numbers[self.goal]

    @property
    def start_number(self) -> int:
        """Cell number of the start."""
        return self.layout.cell_numbers[self.start]

    def to_ascii(self) -> str:
        """The layout's picture with ``S`` on the start and ``G`` on the goal.

        A task with a direction has one of ``> v < ^`` on its start.
        """
        grid = [list(row) for row in self.layout.rows]
        start = START if self.direction is None else ARROWS[self.direction]
        for (row, column), mark in ((self.start, start), (self.goal, GOAL)):
            grid[row][column] = mark
        return "\n".join("".join(row) for row in grid)

    @classmethod
    def from_ascii(cls, text: str) -> MazeTask:
        """Reads what `to_ascii` wrote.

        Raises:
            ValueError: If there is not exactly one start (``S``, or one of ``> v < ^``) and one
                ``G``.
        """
        lines = [line.strip() for line in text.strip().splitlines()]
        found: dict[str, list[tuple[str, Cell]]] = {START: [], GOAL: []}
        for row, line in enumerate(lines):
            for column, mark in enumerate(line):
                if mark in (START, GOAL, *ARROWS):
                    kind = GOAL if mark == GOAL else START
                    found[kind].append((mark, (row, column)))
        for kind, cells in found.items():
            if len(cells) != 1:
                raise ValueError(f"a task has exactly one {kind!r}, found {len(cells)} in\n{text}")
        (start_mark, start), (_, goal) = found[START][0], found[GOAL][0]
        walls = "\n".join(lines).translate(dict.fromkeys(map(ord, (START, GOAL, *ARROWS)), FREE))
        direction = None if start_mark == START else ARROWS.index(start_mark)
        return cls(Layout.from_ascii(walls), goal, start, direction)

    def to_json(self) -> str:
        """A JSON object: ``layout`` (list of rows), ``goal`` and ``start`` ([row, column]).

        And ``direction``, where the task says one.
        """
        fields = {"layout": self.layout.rows, "goal": self.goal, "start": self.start}
        return json.dumps(
            fields if self.direction is None else fields | {"direction": self.direction}
        )

    @classmethod
    def from_json(cls, text: str) -> MazeTask:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: If it is no JSON object, or a field is missing, unknown or of the wrong
                form.
        """
        fields = json_object(text, "maze task")
        direction = fields.pop("direction", None)
        layout = fields.get("layout")
        if isinstance(layout, dict) and set(layout) == {"rows"}:  # as a dataclass in a dataclass
            fields["layout"] = layout["rows"]
        if set(fields) != {"layout", "goal", "start"} or not isinstance(fields["layout"], list):
            raise ValueError(
                f"not a maze task: expected an object with layout (a list of rows), goal and "
                f"start, got {text[:80]!r}"
            )
        goal, start = (as_cell(fields[role], role) for role in ("goal", "start"))
        return cls(Layout(tuple(fields["layout"])), goal, start, direction)

    def __str__(self) -> str:
        return self.to_ascii()


@lru_cache(maxsize=64)
def maze_tasks(layout: Layout, start: Cell | None = None) -> TaskSet[MazeTask]:
    """Every goal of a layout: all free cells but the start, in the order of their numbers.

    Args:
        layout: The walls.
        start: (row, column) where episodes start; ``layout.start``, the free cell nearest to the
            centre, if None.

    Raises:
        ValueError: If the start is in a wall or outside.
    """
    start = as_cell(layout.start if start is None else start, "start")
    layout.cell_number(start, "start")
    goals = (cell for cell in layout.free_cells if cell != start)
    return TaskSet(tuple(MazeTask(layout, goal, start) for goal in goals))
