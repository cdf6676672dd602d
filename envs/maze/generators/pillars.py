"""The pillar maze.

It is that of Miconi et al. (2018), "Differentiable plasticity: training plastic
neural networks with backpropagation", used again in Miconi et al. (2019) and Flennerhag et al.
(2020), "Meta-learning with warped gradient descent".
"""

from __future__ import annotations

from functools import lru_cache

import torch

from ..layout import FREE, WALL, Layout

__all__ = ["pillar_maze", "pillars"]

MOST_ROWS = 2**10 + 1
"""Rows of a maze: a layout is checked cell by cell, and every cell is a task."""


@lru_cache(maxsize=64)
def pillar_maze(size: int = 13) -> Layout:
    """The pillar maze: a closed border and a pillar wherever row and column are both even.

    The centre is free even where the rule would put a pillar (as it does for 13), since trials
    start there. 13 x 13 has 97 free cells and 24 pillars inside its border.

    Args:
        size: Side length n in cells, border included: odd, 5 to `MOST_ROWS`.

    Returns:
        The n x n layout.

    Raises:
        ValueError: If `size` is even or out of range.
        TypeError: If `size` is not a whole number.
    """
    if isinstance(size, bool) or not hasattr(size, "__index__"):
        raise TypeError(f"size must be a whole number, got {size!r}")
    if size < 5:
        raise ValueError(f"size must be at least 5, got {size}: try 5, 7, 9, 11 or 13")
    if size > MOST_ROWS:
        raise ValueError(f"size must be at most {MOST_ROWS}, got {size}")
    if size % 2 == 0:
        raise ValueError(
            f"size must be odd, or the pillars would touch the border and the maze have no "
            f"centre; got {size}: use {size - 1} or {size + 1}"
        )
    last, middle = size - 1, size // 2

    def mark(row: int, column: int) -> str:
        if (row, column) == (middle, middle):
            return FREE
        border = row in (0, last) or column in (0, last)
        pillar = row % 2 == 0 and column % 2 == 0
        return WALL if border or pillar else FREE

    return Layout(tuple("".join(mark(r, c) for c in range(size)) for r in range(size)))


def pillars(n: int, side: int, generator: torch.Generator, device: torch.device) -> torch.Tensor:
    """The pillar maze n times: it leaves nothing to chance."""
    walls = torch.tensor(pillar_maze(side).walls, device=device)
    return walls.expand(n, side, side)
