"""Square grids of cells as tables: where moves lead, and where light falls.

Light falls as in Minigrid (``Grid.process_vis``), row by row. Minigrid sweeps each row from left to
right and back, from the agent's to the farthest. What it comes to: from the cells of a row on which
light falls it spreads along the row through all that light passes, and stops at the first cell that
it does not pass, which is lit too; on the next row it falls on the cells ahead of the lit ones it
passed, and on their neighbours on both sides. Light bends around corners, and does so here. A row
of V cells is V bits, so that its 2^V x 2^V cases are one table, and a view V look-ups.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "light_of_rows",
    "moved_cells",
]


@lru_cache(maxsize=32)
def moved_cells(size: int, moves: tuple[tuple[int, int], ...]) -> NDArray[np.int64]:
    """Int64 [size^2, A]: where each action leads from each cell; the border blocks.

    Args:
        size: Rows and columns.
        moves: What each action adds to row and column of a cell, ``row * size + column``.
    """
    cells = np.arange(size**2)
    moved = np.stack((cells // size, cells % size), -1)[:, None] + np.array(moves)
    rows, columns = np.clip(moved, 0, size - 1).transpose(2, 0, 1)
    table: NDArray[np.int64] = rows * size + columns
    table.setflags(write=False)
    return table


Table = NDArray[np.int64]


def light_of_rows(num_cells: int) -> tuple[Table, Table]:
    """Paths of the light on one row, in every case.

    Args:
        num_cells: Cells of a row, V.

    Returns:
        int64 [2^V, 2^V] twice, by the cells on which light falls and by those it passes, one bit
        for each cell: the cells that are lit, and those of the next row on which light falls.
    """
    every = np.arange(1 << num_cells)
    whole = len(every) - 1
    falls, passes = np.meshgrid(every, every, indexing="ij")
    lit = falls
    for _ in range(num_cells):
        lit = (lit | _beside(lit & passes)) & whole
    through = lit & passes
    return lit, (through | _beside(through)) & whole


def _beside(cells: Table) -> Table:
    """The neighbours on both sides, one of which may lie outside the row."""
    neighbours: Table = (cells << 1) | (cells >> 1)
    return neighbours
