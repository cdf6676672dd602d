"""Random walls: the levels of the papers on environment design (UED), and the empty room.

Walls are placed on uniformly random cells inside the border. Published with 13 x 13 cells inside
(side 15); other sides get as many per cell:

    25, with replacement             JaxUED; a wall on a wall is lost
    60, with replacement             minimax, SFL
    60, without replacement
    0 to 59, with replacement        DCD ("60 uniform"), the number uniformly random

Not all of them can be solved, and free cells may be cut off: 84.4 % of the mazes of 60 walls have a
way between two random free cells.
"""

from __future__ import annotations

import torch

from ...base.checks import whole_number
from .lattice import check_side

__all__ = ["empty", "random_walls"]

PUBLISHED = 13 * 13
"""Cells inside the border for which the number of walls is said."""


def empty(n: int, side: int, generator: torch.Generator, device: torch.device) -> torch.Tensor:
    """The empty room n times: it leaves nothing to chance."""
    side = check_side(side)
    walls = torch.ones((n, side, side), dtype=torch.bool, device=device)
    walls[:, 1:-1, 1:-1] = False
    return walls


def random_walls(
    n: int,
    side: int,
    generator: torch.Generator,
    device: torch.device,
    *,
    walls: int = 60,
    replacement: bool = True,
    up_to: bool = False,
) -> torch.Tensor:
    """Walls on random cells.

    Args:
        n: Number of mazes.
        side: Side of a maze, 5 to 62.
        generator: Source of everything random, on `device`.
        device: Device of the result.
        walls: Walls placed in 13 x 13 cells, at most 169; in others as many per cell, rounded.
        replacement: Whether a wall may be placed on another, and be lost.
        up_to: Whether their number is uniformly random from 0 to `walls`.

    Returns:
        Walls, bool [n, side, side].

    Raises:
        ValueError: If a value is out of range.
    """
    side = check_side(side)
    cells = (side - 2) ** 2
    count = round(whole_number(walls, "walls", least=0, most=PUBLISHED) * cells / PUBLISHED)
    if replacement:
        placed = torch.randint(cells, (n, count), generator=generator, device=device)
    else:
        draws = torch.rand((n, cells), generator=generator, device=device)
        placed = draws.argsort(1)[:, :count]
    inside = torch.zeros((n, cells + 1), dtype=torch.bool, device=device)
    if up_to:
        number = torch.randint(count + 1, (n, 1), generator=generator, device=device)
        placed = torch.where(torch.arange(count, device=device) < number, placed, cells)
    inside.scatter_(1, placed, True)
    room = empty(n, side, generator, device)
    # [n, cells] to rows and columns
    room[:, 1:-1, 1:-1] = inside[:, :cells].view(n, side - 2, side - 2)
    return room
