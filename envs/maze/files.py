"""Maze tasks from pictures: ASCII text, in files or in code.

A picture is a rectangle of marks with a closed border; blank lines part one picture from the next:

    ########        #          a wall
    #>...#G#        . or blank a free cell
    #.##.#.#        G          a goal; several goals are several tasks
    #....G.#        S          the start; > v < ^ a start with a direction, for agents that turn
    ########

Without a goal every free cell but the start is one; without a start it is the layout's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ..base.tasks import TaskSet
from .layout import FREE, WALL, Cell, Layout
from .tasks import ARROWS, GOAL, START, MazeTask

__all__ = ["Picture", "read_pictures", "tasks_from_file"]

BLANK = " "

ALLOWED = (
    f"{WALL} (wall), {FREE} or a space (free), {START} or {' '.join(ARROWS)} (start) "
    f"and {GOAL} (goal)"
)


@dataclass(frozen=True)
class Picture:
    """Content of a picture.

    Attributes:
        layout: The walls.
        goals: Every ``G``, row-major; empty if there is none.
        start: The start's (row, column), None if there is none.
        direction: Direction of the start, 0 right, 1 down, 2 left, 3 up; None if it says none.
    """

    layout: Layout
    goals: tuple[Cell, ...]
    start: Cell | None
    direction: int | None

    def tasks(self) -> tuple[MazeTask, ...]:
        """A task for each goal; for each free cell but the start if the picture has no goal."""
        start = self.layout.start if self.start is None else self.start
        goals = self.goals or (cell for cell in self.layout.free_cells if cell != start)
        return tuple(MazeTask(self.layout, goal, start, self.direction) for goal in goals)


def tasks_from_file(path: str | Path) -> TaskSet[MazeTask]:
    """Tasks of the pictures in a text file, in order.

    Args:
        path: A text file, UTF-8, with one or several pictures.

    Raises:
        ValueError: If it is no such file; the message names line and column.
        OSError: If it cannot be read.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text file in UTF-8: {error}") from error
    tasks: dict[MazeTask, None] = {}
    for number, picture in enumerate(read_pictures(text, str(path)), start=1):
        for task in picture.tasks():
            if task in tasks:
                raise ValueError(
                    f"{path}: picture {number} shows a task that an earlier one has: keep one of "
                    f"them\n{task}"
                )
            tasks[task] = None
    return TaskSet(tuple(tasks))


def read_pictures(text: str, name: str = "text") -> tuple[Picture, ...]:
    """Reads every picture of a text.

    Args:
        text: Pictures parted by blank lines; indentation is ignored.
        name: What to call the text in errors.

    Raises:
        ValueError: If there is no picture, a mark is unknown, rows differ in length, the border
            is open, a picture has two starts, or its free cells cannot all be reached.
    """
    pictures = tuple(_Reader(name, rows).picture() for rows in _blocks(text))
    if not pictures:
        raise ValueError(f"{name} has no maze in it: draw one with {ALLOWED}")
    return pictures


@dataclass(frozen=True)
class _Row:
    """A row of a picture: its number and column offset in the text, from 1 and 0, and its marks."""

    line: int
    offset: int
    marks: str


def _blocks(text: str) -> Iterator[list[_Row]]:
    """Rows that stand together, without indentation."""
    block: list[_Row] = []
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        if marks := line.strip():
            block.append(_Row(number, line.index(marks), marks))
        elif block:
            yield block
            block = []


@dataclass(frozen=True)
class _Reader:
    """One picture in the making."""

    name: str
    rows: list[_Row]

    def picture(self) -> Picture:
        """The picture, checked mark by mark."""
        goals: list[Cell] = []
        starts: list[tuple[Cell, str]] = []
        for r, row in enumerate(self.rows):
            if len(row.marks) != len(self.rows[0].marks):
                self._refuse(
                    (r, 0),
                    f"the row has {len(row.marks)} cells and the picture's first has "
                    f"{len(self.rows[0].marks)}: give all rows of a picture the same length, and "
                    f"part pictures by a blank line",
                )
            for c, mark in enumerate(row.marks):
                if mark == GOAL:
                    goals.append((r, c))
                elif mark == START or mark in ARROWS:
                    starts.append(((r, c), mark))
                elif mark not in (WALL, FREE, BLANK):
                    self._refuse((r, c), f"unknown character {mark!r}: allowed are {ALLOWED}")
        self._check_border()
        if len(starts) > 1:
            self._refuse(starts[1][0], "a second start: a picture has at most one")
        start, mark = starts[0] if starts else (None, START)
        direction = ARROWS.index(mark) if mark in ARROWS else None
        return Picture(self._layout(), tuple(goals), start, direction)

    def _layout(self) -> Layout:
        rows = tuple("".join(WALL if m == WALL else FREE for m in row.marks) for row in self.rows)
        try:
            return Layout(rows)
        except ValueError as error:
            raise ValueError(f"{self.name}, line {self.rows[0].line}: {error}") from error

    def _check_border(self) -> None:
        last_row, last_column = len(self.rows) - 1, len(self.rows[0].marks) - 1
        for r, row in enumerate(self.rows):
            for c, mark in enumerate(row.marks):
                if mark != WALL and (r in (0, last_row) or c in (0, last_column)):
                    self._refuse((r, c), f"the border is open here: close it with {WALL!r}")

    def _refuse(self, cell: Cell, reason: str) -> NoReturn:
        """Raises ValueError with the place of a cell in the text."""
        row = self.rows[cell[0]]
        raise ValueError(
            f"{self.name}, line {row.line}, column {row.offset + cell[1] + 1}: {reason}"
        )
