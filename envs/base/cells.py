"""Square rooms of cells without walls inside: where moves lead."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["moved_cells"]


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
