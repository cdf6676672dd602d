"""Minigrid's own pictures of grids that the tensor twin plays."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .codes import NOTHING
from .reading import build_grid, make_minigrid, new_object
from .rules import Cell

__all__ = ["TILE", "draw"]

TILE = 32
"""Pixels of a cell, as in Minigrid."""


def draw(
    codes: NDArray[np.uint8],
    agent: Cell,
    direction: int,
    *,
    hand: int = NOTHING,
    see_through: bool = False,
    view_size: int = 7,
    tile: int = TILE,
) -> NDArray[np.uint8]:
    """A picture of a grid; what the agent sees is lighter.

    Args:
        codes: uint8 [H, W], the cells.
        agent: (x, y), column and row of the agent.
        direction: Where it looks, 0 right, 1 down, 2 left, 3 up.
        hand: Code of what it carries.
        see_through: Whether it sees through walls.
        view_size: Rows and columns of what it sees.
        tile: Pixels of a cell.

    Returns:
        uint8 [H * tile, W * tile, 3].
    """
    env = _artist()
    build_grid(env, codes)
    env.agent_pos, env.agent_dir = agent, direction
    env.carrying, env.see_through_walls = new_object(hand), see_through
    env.agent_view_size = view_size
    frame: NDArray[np.uint8] = env.get_frame(True, tile)
    return frame


@lru_cache(maxsize=1)
def _artist() -> Any:
    """A Minigrid environment to put grids into."""
    return make_minigrid("MiniGrid-Empty-5x5-v0")
