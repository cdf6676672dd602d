"""Mazes on a lattice: rooms at odd rows and columns, walls between them, passages through walls.

A maze of side n = 2 k + 1 has k x k rooms. Its passages are two arrays: `right` [n, k, k - 1], from
a room to the next on its right, and `down` [n, k - 1, k], to the next below. Where they form a tree
the maze is *perfect*: one way between any two cells.
"""

from __future__ import annotations

import torch

from ...base.checks import whole_number
from ..bits import MOST_SIDE

__all__ = ["carve", "check_side", "rooms_across"]


def check_side(side: int, *, least: int = 5) -> int:
    """The side of a maze as an integer.

    Raises:
        ValueError: If it is no whole number of `least` to `MOST_SIDE`.
    """
    return whole_number(side, "size", least=least, most=MOST_SIDE)


def rooms_across(side: int) -> int:
    """The number of rooms along a side, k.

    Raises:
        ValueError: If the side is even or out of range.
    """
    side = check_side(side)
    if side % 2 == 0:
        raise ValueError(
            f"size must be odd, since rooms and walls take turns between two border walls; got "
            f"{side}: use {side - 1} or {side + 1}"
        )
    return side // 2


def carve(right: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """The walls of mazes with these passages.

    Args:
        right: bool [n, k, k - 1], whether a room is open to the one on its right.
        down: bool [n, k - 1, k], whether it is open to the one below.

    Returns:
        bool [n, 2 k + 1, 2 k + 1].
    """
    n, k, _ = right.shape
    walls = torch.ones((n, 2 * k + 1, 2 * k + 1), dtype=torch.bool, device=right.device)
    walls[:, 1::2, 1::2] = False
    walls[:, 1::2, 2:-1:2] = ~right
    walls[:, 2:-1:2, 1::2] = ~down
    return walls
