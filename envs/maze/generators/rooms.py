"""Rooms with doors, such as Minigrid's FourRooms and the SixteenRooms of the UED papers.

m x m rooms in a grid of straight walls. The doors of a minimum spanning tree of random weights
connect all of them; each other wall between two rooms has a door with probability q. A door is one
cell, uniformly random along its wall.
"""

from __future__ import annotations

import torch

from ...base.checks import whole_number
from .lattice import check_side
from .spanning_trees import minimum_tree_passages

__all__ = ["rooms_with_doors"]

USUAL_SIDE = 4
"""Cells from one wall to the next, about, unless the number of rooms is given."""


def rooms_with_doors(
    n: int,
    side: int,
    generator: torch.Generator,
    device: torch.device,
    *,
    across: int | None = None,
    doors: float = 0.5,
) -> torch.Tensor:
    """Rooms with doors.

    Args:
        n: Number of mazes.
        side: Side of a maze, 5 to 62.
        generator: Source of everything random, on `device`.
        device: Device of the result.
        across: Rooms along a side, m. By default as many as makes them about 3 cells wide: 2 at
            side 9, 3 at 13, 4 at 17.
        doors: Probability q of a door that is not needed.

    Returns:
        Walls, bool [n, side, side].

    Raises:
        ValueError: If a value is out of range.
    """
    side = check_side(side)
    m = max(2, round(side / USUAL_SIDE)) if across is None else across
    m = whole_number(m, "across", most=(side - 1) // 2)
    if isinstance(doors, bool | str) or not 0 <= doors <= 1:
        raise ValueError(f"doors is a probability, in [0, 1], got {doors!r}")
    ends = [round(wall * (side - 1) / m) for wall in range(m + 1)]
    walls = torch.ones((n, side, side), dtype=torch.bool, device=device)
    inside = [cell for cell in range(side) if cell not in ends]
    grid = torch.tensor(inside, device=device)
    walls[:, grid.unsqueeze(1), grid] = False
    right, down = minimum_tree_passages(n, m, generator, device)
    right = right | (torch.rand(right.shape, generator=generator, device=device) < doors)
    down = down | (torch.rand(down.shape, generator=generator, device=device) < doors)
    # Walls stand at ends[1:-1]; room i spans the cells between ends[i] and ends[i + 1].
    low = torch.tensor(ends[:-1], device=device) + 1
    width = torch.tensor(ends[1:], device=device) - low
    standing = torch.tensor(ends[1:-1], device=device, dtype=torch.int64)
    maze = torch.arange(n, device=device).view(n, 1, 1)
    for passages, upright in ((right, True), (down.mT, False)):  # [n, m, m - 1]
        draws = torch.rand(passages.shape, generator=generator, device=device)
        along = torch.minimum((draws * width.view(m, 1)).long(), width.view(m, 1) - 1)
        along = along + low.view(m, 1)
        rows, columns = (along, standing) if upright else (standing, along)
        # The draw of a door that is not there falls on the border's corner, which stays wall.
        rows, columns = (torch.where(passages, cells, 0) for cells in (rows, columns))
        walls[maze, rows, columns] = False
    walls[:, 0, 0] = True
    return walls
