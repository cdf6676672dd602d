"""Starts of episodes and hidden goals, drawn in many mazes at once."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import torch

from .bits import free_rows, pack_rows
from .search import cell_masks, farthest, reachable, within

__all__ = ["GoalPlace", "Placement", "StartPlace", "place"]

StartPlace = Literal["room", "uniform", "corner"]
"""Starts of a family of mazes: ``"room"``, the free room (row and column odd) nearest to the
centre; ``"uniform"``, any free cell; ``"corner"``, the free cell nearest to one of the corners."""

GoalPlace = Literal["uniform", "far", "corner"]
"""Goals of a family: ``"uniform"``, any free cell but the start; ``"far"``, one at the greatest
distance from the start; ``"corner"``, the free cell nearest to one of the corners, another than the
start's."""


class Placement(NamedTuple):
    """Starts and goals of n mazes.

    Attributes:
        goal: int64 [n], cell numbers of the goals.
        start: int64 [n], cell numbers of the starts.
        rows: int64 [n, H], packed walls.
        possible: bool [n], whether the maze has such a start and goal; if not, they mean nothing.
    """

    goal: torch.Tensor
    start: torch.Tensor
    rows: torch.Tensor
    possible: torch.Tensor


def place(
    walls: torch.Tensor,
    start: StartPlace,
    goal: GoalPlace,
    min_distance: int,
    *,
    solvable: bool,
    generator: torch.Generator,
) -> Placement:
    """Draws the start and the goal of n mazes.

    Args:
        walls: bool [n, S, S].
        start: The rule for starts.
        goal: The rule for goals.
        min_distance: Least number of moves from the start to the goal.
        solvable: Whether the goal must be reached from the start. Free cells that are not are then
            walled up, so that all that is free is one piece.
        generator: Source of everything random, on the device of `walls`.
    """
    n, side, _ = walls.shape
    rows = pack_rows(walls).to(_short(side))
    free = free_rows(rows)  # [n, S]
    corners = _corners(n, generator, walls.device)  # [n, 2]
    starts = _starts(free, start, corners[:, 0], generator, side)  # [n], row * side + column
    here = cell_masks(_row_and_column(starts, side), side).to(free.dtype) & free
    near = within(free, here, min_distance - 1)
    candidates = (farthest(rows, here) if goal == "far" else free) & ~near
    if goal == "corner":
        goals = _nearest_to_corner(free & ~here, corners[:, 1])
    else:
        goals = _any_of(candidates, generator, side)
    there = cell_masks(_row_and_column(goals, side), side).to(free.dtype)
    possible = (there & candidates).any(1) & here.any(1)
    if solvable:
        reached = reachable(rows, here)
        possible &= (there & reached).any(1)
        rows, free = rows | (free & ~reached), reached
    numbers = _counted(free, side).gather(1, torch.stack((goals, starts), 1)) - 1  # [n, 2]
    goal_numbers, start_numbers = numbers.to(torch.int64).clamp(min=0).unbind(1)
    return Placement(goal_numbers, start_numbers, rows.to(torch.int64), possible)


def _corners(n: int, generator: torch.Generator, device: torch.device) -> torch.Tensor:
    """Two different corners of each maze, int64 [n, 2] in [0, 4)."""
    draws = torch.randint(12, (n,), generator=generator, device=device)
    first = draws % 4
    return torch.stack((first, (first + 1 + draws // 4) % 4), 1)


def _starts(
    free: torch.Tensor,
    start: StartPlace,
    corners: torch.Tensor,
    generator: torch.Generator,
    side: int,
) -> torch.Tensor:
    if start == "uniform":
        return _any_of(free, generator, side)
    if start == "corner":
        return _nearest_to_corner(free, corners)
    return _nearest_to_centre(free)


def _cells(masks: torch.Tensor, side: int) -> torch.Tensor:
    """Sets of cells, int64 [n, S], as bool [n, S * S]."""
    columns = torch.arange(side, device=masks.device, dtype=masks.dtype)
    # [n, rows, columns] to [n, cells]
    return ((masks.unsqueeze(-1) >> columns) & 1 == 1).flatten(1)


def _counted(masks: torch.Tensor, side: int) -> torch.Tensor:
    """The number of cells of a set up to each cell, in row-major order: int16 [n, S * S]."""
    return _cells(masks, side).cumsum(1, dtype=torch.int16)


def _short(side: int) -> torch.dtype:
    """Whole numbers that hold a row of this side and a bit more."""
    return torch.int16 if side <= 14 else torch.int32 if side <= 30 else torch.int64


def _row_and_column(cells: torch.Tensor, side: int) -> torch.Tensor:
    return torch.stack((cells // side, cells % side), 1)


def _any_of(masks: torch.Tensor, generator: torch.Generator, side: int) -> torch.Tensor:
    """One cell of each set, all equally likely; the last cell of the maze where there is none."""
    n = len(masks)
    counted = _counted(masks, side)
    count = counted[:, -1]
    draws = torch.rand(n, generator=generator, device=masks.device)
    # In float32 a draw just below 1 may come to the count itself.
    rank = torch.minimum((draws * count).to(torch.int16), count - 1)
    return (counted <= rank.unsqueeze(1)).sum(1).clamp(max=side * side - 1)


def _nearest_to_centre(masks: torch.Tensor) -> torch.Tensor:
    """The room of each set that is nearest to the centre, or the nearest cell if it has no room."""
    side = masks.shape[1]
    cells = _by_distance(side, side // 2, side // 2, rooms_first=True)
    return _first(masks, torch.tensor([cells], device=masks.device), torch.zeros_like(masks[:, 0]))


def _nearest_to_corner(masks: torch.Tensor, corners: torch.Tensor) -> torch.Tensor:
    """The cell of each set that is nearest to one of the four corners, int64 [n]."""
    side = masks.shape[1]
    ends = (1, side - 2)
    orders = [_by_distance(side, row, column, rooms_first=False) for row in ends for column in ends]
    return _first(masks, torch.tensor(orders, device=masks.device), corners)


def _first(masks: torch.Tensor, orders: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """The cell of each set that comes first in an order.

    Args:
        masks: [n, S], sets of cells.
        orders: int64 [C, S * S], all cells in C orders.
        which: [n], the order that counts.

    Returns:
        int64 [n]; the last cell in the order where a set is empty.
    """
    which = which.to(torch.int64)
    ranks = orders.argsort(1).to(torch.int16)  # of each cell
    none = orders.shape[1] - 1
    rank = torch.where(_cells(masks, masks.shape[1]), ranks[which], none).amin(1)
    return orders[which, rank.to(torch.int64)]


@lru_cache(maxsize=256)
def _by_distance(side: int, row: int, column: int, *, rooms_first: bool) -> tuple[int, ...]:
    """All cells, row * side + column, by their distance from one as the crow flies.

    Ties fall in row-major order; with `rooms_first` cells of odd row and column come before others.
    """

    def key(cell: int) -> tuple[bool, int]:
        r, c = divmod(cell, side)
        return rooms_first and not (r % 2 and c % 2), (r - row) ** 2 + (c - column) ** 2

    return tuple(sorted(range(side**2), key=key))
