"""A maze as the page draws it, which may be unfinished, and its code in a link.

    13x13.AAECAwQF....25.110       rows x columns, walls, start, goal
    13x13.AAECAwQF....25.110.0     and the way that an agent looks at the start

The walls are those of the cells within the border, row by row, a bit each, the highest first, in
base64 for addresses. Cells are counted row by row from 0, the border among them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from metarl.errors import UserError, first_line

LEAST_SIDE, MOST_SIDE = 3, 41
"""Rows or columns of a maze, border included."""

WALL, FREE = "#", "."

CODE = re.compile(
    r"(\d{1,2})x(\d{1,2})\.([A-Za-z0-9_-]{1,400})\.(\d{1,4})\.(\d{1,4})(?:\.([0-3]))?", re.ASCII
)

Cell = tuple[int, int]
"""(row, column), from 0 at the top left."""


@dataclass(frozen=True)
class Board:
    """A rectangle of walls with a start and a goal.

    Attributes:
        rows: One string per row, of ``#`` (wall) and ``.`` (free).
        start: Where trials start.
        goal: The hidden goal.
        direction: The way that an agent that turns looks at the start: 0 right, 1 down, 2 left,
            3 up; None: not said.

    Raises:
        UserError: It is no such rectangle, too large, open at its border, or start or goal is in a
            wall or outside.
    """

    rows: tuple[str, ...]
    start: Cell
    goal: Cell
    direction: int | None = None

    def __post_init__(self) -> None:
        width = len(self.rows[0]) if self.rows else 0
        _check_sides(len(self.rows), width)
        for number, row in enumerate(self.rows):
            if len(row) != width:
                raise UserError(
                    f"row {number} of the maze has {len(row)} cells and row 0 has {width}: give "
                    "all rows the same length"
                )
            odd = next((mark for mark in row if mark not in (WALL, FREE)), None)
            if odd is not None:
                raise UserError(f"{odd!r} in row {number} is neither {WALL!r} nor {FREE!r}")
            edge = number in (0, len(self.rows) - 1)
            if FREE in (row if edge else row[0] + row[-1]):
                raise UserError(f"the border is open in row {number}: close it with {WALL!r}")
        for role, cell in (("start", self.start), ("goal", self.goal)):
            if not (0 <= cell[0] < len(self.rows) and 0 <= cell[1] < width):
                raise UserError(f"the {role} {_at(cell)} is outside the maze: move it into a cell")
            if self.rows[cell[0]][cell[1]] == WALL:
                raise UserError(f"the {role} {_at(cell)} is in a wall: free the cell, or move it")
        if self.start == self.goal:
            raise UserError(f"start and goal are both {_at(self.goal)}: move one of them")

    @classmethod
    def of_json(cls, value: Any) -> Board:
        """Read a maze that the page sends: an object with rows, start and goal, or a code.

        Raises:
            UserError: It is none; the message says what to change.
        """
        if isinstance(value, str):
            return cls.of_code(value)
        if not isinstance(value, Mapping):
            raise UserError("a maze is an object with rows, start and goal, or the code of a link")
        if unknown := value.keys() - {"rows", "start", "goal", "direction"}:
            raise UserError(f"a maze has rows, start and goal, but no {sorted(unknown)[0][:40]!r}")
        rows = value.get("rows")
        if not isinstance(rows, list) or not all(isinstance(row, str) for row in rows):
            raise UserError(f"rows of a maze are a list of strings of {WALL!r} and {FREE!r}")
        direction = value.get("direction")
        if direction not in (None, 0, 1, 2, 3) or isinstance(direction, bool | float):
            raise UserError("the direction of a start is 0, 1, 2 or 3, or left out")
        start, goal = (_cell(value.get(role), role) for role in ("start", "goal"))
        return cls(tuple(rows), start, goal, direction)

    def to_json(self) -> dict[str, Any]:
        """Return the maze as `of_json` reads it, with the code of its link."""
        found = {"rows": self.rows, "start": self.start, "goal": self.goal, "code": self.code}
        return found if self.direction is None else found | {"direction": self.direction}

    # Links -----------------------------------------------------------------------------------

    @property
    def code(self) -> str:
        """The maze in a link; see the module."""
        height, width = len(self.rows), len(self.rows[0])
        inner = "".join(row[1:-1] for row in self.rows[1:-1])
        bits = inner.translate({ord(WALL): "1", ord(FREE): "0"})
        bits += "0" * (-len(bits) % 8)
        packed = int(bits, 2).to_bytes(len(bits) // 8, "big")
        walls = base64.urlsafe_b64encode(packed).decode().rstrip("=")
        cells = (str(row * width + column) for row, column in (self.start, self.goal))
        way = () if self.direction is None else (str(self.direction),)
        return ".".join((f"{height}x{width}", walls, *cells, *way))

    @classmethod
    def of_code(cls, code: str) -> Board:
        """Read the maze of a link.

        Raises:
            UserError: It is damaged.
        """
        found = CODE.fullmatch(code)
        if found is None:
            raise UserError(
                "the maze of this link cannot be read: copy the whole link, or draw the maze again"
            )
        height, width = int(found[1]), int(found[2])
        _check_sides(height, width)
        num_inner = (height - 2) * (width - 2)
        try:
            packed = base64.urlsafe_b64decode(found[3] + "=" * (-len(found[3]) % 4))
        except binascii.Error as error:
            raise UserError(
                f"the walls of this link cannot be read ({first_line(error)})"
            ) from None
        if len(packed) != -(-num_inner // 8):
            raise UserError(
                f"the link has the walls of another maze than one of {height} x {width} cells: "
                "copy the whole link, or draw the maze again"
            )
        bits = format(int.from_bytes(packed, "big"), f"0{8 * len(packed)}b")[:num_inner]
        inner = bits.translate({ord("1"): WALL, ord("0"): FREE})
        lines = (inner[at : at + width - 2] for at in range(0, num_inner, width - 2))
        edge = WALL * width
        rows = (edge, *(f"{WALL}{line}{WALL}" for line in lines), edge)
        start, goal = (divmod(int(found[n]), width) for n in (4, 5))
        return cls(rows, start, goal, None if found[6] is None else int(found[6]))

    # Playing ---------------------------------------------------------------------------------

    def playable(self) -> Board:
        """Return the maze with all cells walled up that cannot be reached from the start.

        Raises:
            UserError: The goal is one of them.
        """
        reached, border = {self.start}, [self.start]
        while border:
            row, column = border.pop()
            beside = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
            new = [c for c in beside if self.rows[c[0]][c[1]] == FREE and c not in reached]
            reached.update(new)
            border.extend(new)
        if self.goal not in reached:
            raise UserError(
                f"the goal {_at(self.goal)} cannot be reached from the start {_at(self.start)}: "
                "open a wall between them"
            )
        rows = (
            "".join(FREE if (r, c) in reached else WALL for c in range(len(row)))
            for r, row in enumerate(self.rows)
        )
        return replace(self, rows=tuple(rows))

    @property
    def num_free(self) -> int:
        """Number of free cells."""
        return sum(row.count(FREE) for row in self.rows)


def _check_sides(height: int, width: int) -> None:
    if not all(LEAST_SIDE <= side <= MOST_SIDE for side in (height, width)):
        raise UserError(
            f"a maze has {LEAST_SIDE} to {MOST_SIDE} rows and columns here, got {height} x {width}:"
            " take another size"
        )


def _cell(value: Any, role: str) -> Cell:
    if (
        not isinstance(value, list | tuple)
        or len(value) != 2
        or not all(type(part) is int for part in value)
    ):
        raise UserError(f"the {role} of a maze is [row, column], two whole numbers from 0")
    return value[0], value[1]


def _at(cell: Cell) -> str:
    return f"in row {cell[0]}, column {cell[1]}"
