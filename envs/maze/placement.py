"""Where episodes start and where the goal is hidden, drawn in many mazes at once."""

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
    rows = pack_rows(walls)
    free = free_rows(rows)
    corners = _corners(n, generator, walls.device)  # [n, 2]
    starts = _starts(free, start, corners[:, 0], generator, side)  # [n], row * side + column
    here = cell_masks(_row_and_column(starts, side), side) & free
    near = within(free, here, min_distance - 1)
    candidates = (farthest(rows, here) if goal == "far" else free) & ~near
    if goal == "corner":
        goals = _nearest(free & ~here, _from_corners(side, walls.device)[corners[:, 1]])
    else:
        goals = _any_of(candidates, generator, side)
    there = cell_masks(_row_and_column(goals, side), side)
    possible = (there & candidates).any(1) & here.any(1)
    if solvable:
        reached = reachable(rows, here)
        possible &= (there & reached).any(1)
        rows, free = rows | (free & ~reached), reached
    before = _cells(free, side).to(torch.int16).cumsum(1) - 1  # [n, S * S], cell numbers
    goal_numbers, start_numbers = (
        before.gather(1, cells.unsqueeze(1)).squeeze(1).clamp(min=0) for cells in (goals, starts)
    )
    return Placement(goal_numbers, start_numbers, rows, possible)


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
        return _nearest(free, _from_corners(side, free.device)[corners])
    return _nearest(free, _from_centre(side, free.device))


def _cells(masks: torch.Tensor, side: int) -> torch.Tensor:
    """Sets of cells, int64 [n, S], as bool [n, S * S]."""
    columns = torch.arange(side, device=masks.device)
    return ((masks.unsqueeze(-1) >> columns) & 1 == 1).flatten(1)


def _row_and_column(cells: torch.Tensor, side: int) -> torch.Tensor:
    return torch.stack((cells // side, cells % side), 1)


def _any_of(masks: torch.Tensor, generator: torch.Generator, side: int) -> torch.Tensor:
    """One cell of each set, all equally likely; the last cell of the maze where there is none."""
    n = len(masks)
    counted = _cells(masks, side).to(torch.int16).cumsum(1)  # [n, S * S]
    count = counted[:, -1]
    draws = torch.rand(n, generator=generator, device=masks.device)
    # In float32 a draw just below 1 may come to the count itself.
    rank = torch.minimum((draws * count).to(torch.int64), count - 1)
    return (counted <= rank.unsqueeze(1)).sum(1).clamp(max=side * side - 1)


def _nearest(masks: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """The cell of each set that comes first in an order, int64 [S * S] or [n, S * S]."""
    side = masks.shape[1]
    return torch.where(_cells(masks, side), order, side**2).argmin(1)


def _from_centre(side: int, device: torch.device) -> torch.Tensor:
    return torch.tensor(_order(side, side // 2, side // 2, rooms_first=True), device=device)


def _from_corners(side: int, device: torch.device) -> torch.Tensor:
    ends = (1, side - 2)
    orders = [_order(side, row, column, rooms_first=False) for row in ends for column in ends]
    return torch.tensor(orders, device=device)


@lru_cache(maxsize=256)
def _order(side: int, row: int, column: int, *, rooms_first: bool) -> tuple[int, ...]:
    """The rank of every cell by its distance from (row, column) as the crow flies.

    Ties fall in row-major order; with `rooms_first` cells of odd row and column come before others.
    """

    def key(cell: int) -> tuple[bool, int]:
        r, c = divmod(cell, side)
        return rooms_first and not (r % 2 and c % 2), (r - row) ** 2 + (c - column) ** 2

    ranks = [0] * side**2
    for rank, cell in enumerate(sorted(range(side**2), key=key)):
        ranks[cell] = rank
    return tuple(ranks)
