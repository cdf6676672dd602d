"""Perfect mazes as tests are drawn from them: two distributions that go by one name.

    dcd        Kruskal's: walls between rooms are opened in random order unless that would close a
               loop; start and goal in two different corners; sides 11, 21, 51 and 101
    minimax    depth-first mazes; start and goal on any two cells; sides 15, 21 and 103

At 13 x 13 the mean way is 21.5 moves in the first and 19.5 in the second; their dead ends differ
by a factor of two.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from ..base.checks import LARGEST, check_seed
from .family import MazeFamily
from .generators.lattice import rooms_across
from .layout import MOVES, Cell, Layout
from .tasks import MazeTask

__all__ = ["Definition", "is_perfect", "perfect_maze", "perfect_mazes"]

Definition = Literal["dcd", "minimax"]


def perfect_mazes(definition: Definition, size: int) -> MazeFamily:
    """The family of these mazes.

    Args:
        definition: See the module.
        size: Side, border included: odd, at most 62. `perfect_maze` makes larger ones.

    Raises:
        ValueError: If there is no such definition, or the size is out of range.
    """
    _check(definition)
    if definition == "dcd":
        return MazeFamily("mst", size, start="corner", goal="corner")
    return MazeFamily("dfs", size, start="uniform", goal="uniform")


def perfect_maze(definition: Definition, size: int, seed: int = 0) -> MazeTask:
    """One perfect maze, of any size.

    Args:
        definition: See the module.
        size: Side, border included: odd, at least 5.
        seed: Another one gives another maze.

    Raises:
        ValueError: If there is no such definition, or the size is out of range.
    """
    _check(definition)
    side = rooms_across(size, most=LARGEST)
    size = 2 * side + 1  # an integer, whatever was given
    rng = np.random.default_rng(check_seed(seed))
    opened = _kruskal(side, rng) if definition == "dcd" else _depth_first(side, rng)
    walls = np.ones((size, size), dtype=np.bool_)
    walls[1::2, 1::2] = False
    for (row, column), (other_row, other_column) in opened:
        walls[row + other_row + 1, column + other_column + 1] = False
    layout, last = Layout.from_walls(walls), size - 2
    corners = ((1, 1), (1, last), (last, 1), (last, last))
    cells = corners if definition == "dcd" else layout.free_cells
    goal, start = rng.choice(len(cells), size=2, replace=False)
    return MazeTask(layout, cells[goal], cells[start])


def is_perfect(layout: Layout) -> bool:
    """Whether a layout is a spanning tree of rooms at all odd rows and columns."""
    height, width = layout.height, layout.width
    if height != width or not height % 2:
        return False
    walls = layout.walls
    rooms = (height // 2) ** 2
    lattice = not walls[1::2, 1::2].any() and bool(walls[::2, ::2].all())
    return lattice and layout.num_free == 2 * rooms - 1  # which are connected


def _check(definition: str) -> None:
    if definition not in get_args(Definition):
        raise ValueError(f"definition must be one of {get_args(Definition)}, got {definition!r}")


def _kruskal(side: int, rng: np.random.Generator) -> list[tuple[Cell, Cell]]:
    """Pairs of rooms to open, a minimum spanning tree of random weights."""
    rooms = [(row, column) for row in range(side) for column in range(side)]
    pairs = [
        ((row, column), (row + down, column + right))
        for row, column in rooms
        for down, right in ((0, 1), (1, 0))
        if row + down < side and column + right < side
    ]
    joined = {room: room for room in rooms}

    def root(room: Cell) -> Cell:
        while joined[room] != room:
            joined[room] = room = joined[joined[room]]
        return room

    opened: list[tuple[Cell, Cell]] = []
    for number in rng.permutation(len(pairs)):
        one, other = pairs[number]
        if root(one) != root(other):
            joined[root(one)] = root(other)
            opened.append((one, other))
    return opened


def _depth_first(side: int, rng: np.random.Generator) -> list[tuple[Cell, Cell]]:
    """Pairs of rooms to open, the way of a depth-first walk from a random room."""
    first = rng.integers(side, size=2)
    way: list[Cell] = [(int(first[0]), int(first[1]))]
    new = {(row, column) for row in range(side) for column in range(side)} - {way[0]}
    opened: list[tuple[Cell, Cell]] = []
    while new:
        row, column = way[-1]
        beside = [(row + down, column + right) for down, right in MOVES]
        ahead = [room for room in beside if room in new]
        if not ahead:
            way.pop()
            continue
        room = ahead[rng.integers(len(ahead))]
        opened.append((way[-1], room))
        way.append(room)
        new.remove(room)
    return opened
