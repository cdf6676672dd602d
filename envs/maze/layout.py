"""A maze's walls as an immutable value that round-trips through ASCII.

A `Layout` is a rectangle of walls (``#``) and free cells (``.``). Free cells are numbered in
row-major order, and that number is how the look-up tables, the task samplers and the tensor
environment speak of a cell; people speak of it as ``(row, column)``.
"""

from __future__ import annotations

import reprlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .bits import MOST_SIDE, num_free

__all__ = ["FREE", "MOVES", "WALL", "Cell", "Layout", "Sizes"]

Cell = tuple[int, int]
"""A place in a maze: (row, column), counted from the top left corner, from 0."""

WALL = "#"
FREE = "."

MOVES: tuple[Cell, ...] = ((-1, 0), (1, 0), (0, -1), (0, 1))
"""(row, column) displacement of actions 0 up, 1 down, 2 left, 3 right."""


@dataclass(frozen=True)
class Layout:
    """An immutable, hashable grid of walls.

    Args:
        rows: One string a row, of ``#`` (wall) and ``.`` (free), all of one length.

    Raises:
        ValueError: If the rows are ragged, hold another character, leave the border open, have
            fewer than two free cells, or have free cells that cannot reach each other.
    """

    rows: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(self.rows))
        rows: tuple[Any, ...] = self.rows
        if odd := [row for row in rows if not isinstance(row, str)]:
            raise ValueError(
                f"a row is a string of {WALL!r} and {FREE!r}, got {reprlib.repr(odd[0])}"
            )
        _check_characters(self.rows)
        _check_border(self.rows)
        if self.num_free < 2:
            raise ValueError(
                f"a layout needs at least 2 free cells (one to start on, one for the goal), "
                f"got {self.num_free}: free more cells"
            )
        self._check_connected()

    @classmethod
    def from_ascii(cls, text: str) -> Layout:
        """Reads a picture: ``#`` is a wall, ``.`` or a space is free.

        Args:
            text: One line a row; blank lines around it and indentation are ignored.

        Returns:
            The layout. ``Layout.from_ascii(layout.to_ascii()) == layout``.
        """
        lines = (line.strip() for line in text.strip().splitlines())
        return cls(tuple(line.replace(" ", FREE) for line in lines))

    @classmethod
    def from_walls(cls, walls: NDArray[np.bool_]) -> Layout:
        """The inverse of `walls`: of bool [height, width]."""
        return cls(tuple("".join(WALL if wall else FREE for wall in row) for row in walls))

    def to_ascii(self) -> str:
        """The picture, one line a row, without a final newline."""
        return "\n".join(self.rows)

    def __str__(self) -> str:
        return self.to_ascii()

    @property
    def height(self) -> int:
        """Number of rows, border included."""
        return len(self.rows)

    @property
    def width(self) -> int:
        """Number of columns, border included."""
        return len(self.rows[0])

    @property
    def centre(self) -> Cell:
        """The middle cell (the lower right of the middle ones if a side is even), free or not."""
        return self.height // 2, self.width // 2

    @cached_property
    def start(self) -> Cell:
        """Usual start of episodes: the free cell nearest to `centre`.

        The centre itself where it is free. Nearest as the crow flies, ties in row-major order.
        """
        row, column = self.centre
        return min(self.free_cells, key=lambda cell: (cell[0] - row) ** 2 + (cell[1] - column) ** 2)

    @cached_property
    def walls(self) -> NDArray[np.bool_]:
        """[height, width], True where there is a wall; read-only."""
        grid = np.array([[mark == WALL for mark in row] for row in self.rows], dtype=np.bool_)
        grid.setflags(write=False)
        return grid

    @cached_property
    def packed(self) -> NDArray[np.int64]:
        """The walls as one number per row (`envs.maze.bits`): int64 [height], read-only.

        Empty where a row is wider than a number.
        """
        if self.width > MOST_SIDE:
            return np.empty(0, dtype=np.int64)
        rows = np.array(
            [int(row[::-1].replace(WALL, "1").replace(FREE, "0"), 2) for row in self.rows]
        )
        rows.setflags(write=False)
        return rows

    @classmethod
    def from_packed(cls, rows: Sequence[int] | NDArray[np.int64]) -> Layout:
        """The inverse of `packed`; rows of 0 below a layout are left out.

        Args:
            rows: Numbers, [H].

        Raises:
            ValueError: If they are no layout.
        """
        numbers = [int(row) for row in rows if row]
        width = numbers[0].bit_length() if numbers else 0
        marks = [format(number, f"0{width}b")[::-1] for number in numbers]
        return cls(tuple(mark.replace("1", WALL).replace("0", FREE) for mark in marks))

    @cached_property
    def free_cells(self) -> tuple[Cell, ...]:
        """The free cells in row-major order: the index here is the cell number."""
        return tuple((int(r), int(c)) for r, c in np.argwhere(~self.walls))

    @cached_property
    def cell_numbers(self) -> dict[Cell, int]:
        """Cell number of every free (row, column)."""
        return {cell: number for number, cell in enumerate(self.free_cells)}

    @property
    def extents(self) -> tuple[int, int]:
        """Numbers of rows and of columns from the first free cell to the last, border included."""
        rows, columns = zip(*self.free_cells, strict=True)
        return max(rows) - min(rows) + 3, max(columns) - min(columns) + 3

    @property
    def num_free(self) -> int:
        """Number of free cells, F."""
        return len(self.free_cells)

    def is_free(self, cell: Cell) -> bool:
        """Whether `cell` lies in the grid and is not a wall."""
        return tuple(cell) in self.cell_numbers

    def cell_number(self, cell: Cell, role: str = "cell") -> int:
        """The number of a free cell.

        Args:
            cell: (row, column).
            role: The caller's name for this cell, for the error message.

        Raises:
            ValueError: If the cell is outside the grid or in a wall.
        """
        row, column = cell
        number = self.cell_numbers.get((row, column))
        if number is not None:
            return number
        if 0 <= row < self.height and 0 <= column < self.width:
            raise ValueError(
                f"{role} {(row, column)} is in a wall: choose one of layout.free_cells\n{self}"
            )
        raise ValueError(
            f"{role} {(row, column)} is outside the {self.height} x {self.width} grid: "
            f"(row, column) counts from (0, 0) at the top left"
        )

    def neighbours(self, cell: Cell) -> tuple[Cell, ...]:
        """The free cells one move away, in the order of the actions."""
        row, column = cell
        candidates = ((row + dr, column + dc) for dr, dc in MOVES)
        return tuple(other for other in candidates if other in self.cell_numbers)

    def distances_from(self, cell: Cell) -> NDArray[np.int64]:
        """Moves along a shortest path from `cell` to every free cell (breadth-first search).

        Args:
            cell: (row, column) of a free cell.

        Returns:
            int64 [F], by cell number; 0 at `cell` itself.
        """
        distances = self._search(self.cell_number(cell))
        return np.array([distances[number] for number in range(self.num_free)], dtype=np.int64)

    @cached_property
    def distances(self) -> NDArray[np.int64]:
        """Moves along a shortest path between any two free cells: int64 [F, F], read-only."""
        table = np.stack([self.distances_from(cell) for cell in self.free_cells])
        table.setflags(write=False)
        return table

    def shortest_path(self, start: Cell, end: Cell) -> tuple[Cell, ...]:
        """The cells of one shortest path, both ends included; ties fall to the lowest action."""
        to_end = self._search(self.cell_number(end, "end"))
        path = [self.free_cells[self.cell_number(start, "start")]]
        while to_end[self.cell_numbers[path[-1]]] > 0:
            path.append(min(self.neighbours(path[-1]), key=lambda c: to_end[self.cell_numbers[c]]))
        return tuple(path)

    def _search(self, source: int) -> dict[int, int]:
        """Breadth-first distances by cell number, of the cells that can be reached."""
        distances = {source: 0}
        queue = deque([source])
        while queue:
            number = queue.popleft()
            for cell in self.neighbours(self.free_cells[number]):
                other = self.cell_numbers[cell]
                if other not in distances:
                    distances[other] = distances[number] + 1
                    queue.append(other)
        return distances

    def _check_connected(self) -> None:
        reached = self._search(0)
        if len(reached) < self.num_free:
            lost = next(c for n, c in enumerate(self.free_cells) if n not in reached)
            raise ValueError(
                f"free cell {lost} cannot be reached from {self.free_cells[0]}: open a wall "
                f"between them or wall one part up\n{self}"
            )


def _check_characters(rows: tuple[str, ...]) -> None:
    if not rows or not rows[0]:
        raise ValueError("a layout needs at least one row of cells, got none")
    for index, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise ValueError(
                f"row {index} has {len(row)} cells and row 0 has {len(rows[0])}: "
                f"a layout is a rectangle, give every row the same length"
            )
        for column, mark in enumerate(row):
            if mark not in (WALL, FREE):
                raise ValueError(
                    f"{mark!r} at {(index, column)} is neither {WALL!r} (wall) nor {FREE!r} "
                    f"(free); a picture with a start and a goal is read by MazeTask.from_ascii"
                )


def _check_border(rows: tuple[str, ...]) -> None:
    last_row, last_column = len(rows) - 1, len(rows[0]) - 1
    for index, row in enumerate(rows):
        for column, mark in enumerate(row):
            on_border = index in (0, last_row) or column in (0, last_column)
            if on_border and mark == FREE:
                raise ValueError(
                    f"the border is open at {(index, column)}: close it with {WALL!r}, "
                    f"or the agent could leave the grid"
                )


class Sizes(NamedTuple):
    """Free cells, rows and columns that some layouts have, at most."""

    cells: int
    height: int
    width: int

    @classmethod
    def of_layouts(cls, layouts: Sequence[Layout]) -> Sizes:
        """The sizes of layouts.

        Raises:
            ValueError: If one is too large to be padded.
        """
        for layout in layouts:
            if max(layout.height, layout.width) > MOST_SIDE:
                raise ValueError(
                    f"mazes of different layouts have at most {MOST_SIDE} rows and columns, got "
                    f"one of {layout.height} x {layout.width}: make an environment with this "
                    f"layout alone"
                )
        sizes = [(layout.num_free, layout.height, layout.width) for layout in layouts]
        return cls(*(max(x) for x in zip(*sizes, strict=True)))

    @classmethod
    def of_rows(cls, rows: torch.Tensor) -> Sizes:
        """The sizes of layouts given as rows, int64 [n, H]. Waits for the device."""
        most, widest = torch.stack((num_free(rows).amax(), rows.amax())).tolist()
        return cls(most, rows.shape[1], widest.bit_length())

    def joined(self, other: Sizes) -> Sizes:
        """Sizes that hold both."""
        return Sizes(*map(max, zip(self, other, strict=True)))
