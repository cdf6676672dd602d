"""Breadth-first search in many mazes at once, on walls packed into whole numbers.

A set of cells is int64 [n, H], bit c of row r for the cell (r, c). All cells one move away from a
set are found by four shifts:

    x | x << 1 | x >> 1 | the row above | the row below,   and only the free ones

A search asks the device whether it is over once in `PATIENCE` moves. Rows may be of any whole
numbers that hold a bit more than the mazes are wide: the shorter, the faster.
"""

from __future__ import annotations

import torch

from .bits import free_rows

__all__ = ["around", "cell_masks", "distances", "farthest", "reachable", "within"]

PATIENCE = 16
"""Moves between two questions to the device."""


def around(cells: torch.Tensor, free: torch.Tensor) -> torch.Tensor:
    """The cells of a set and the free ones one move away: int64 [n, H].

    Args:
        cells: int64 [n, H], a set of free cells of each maze.
        free: int64 [n, H], the free cells (`envs.maze.bits.free_rows`).
    """
    wider = cells | (cells << 1) | (cells >> 1)
    wider[:, 1:] |= cells[:, :-1]
    wider[:, :-1] |= cells[:, 1:]
    return wider.bitwise_and_(free)


def cell_masks(cells: torch.Tensor, height: int) -> torch.Tensor:
    """Sets of one cell each, int64 [n, H].

    Args:
        cells: int64 [n, 2], (row, column).
        height: Rows H.
    """
    rows = torch.arange(height, device=cells.device)
    bit = torch.ones_like(cells[:, 1]) << cells[:, 1]
    return torch.where(rows == cells[:, :1], bit.unsqueeze(1), 0)


def within(free: torch.Tensor, cells: torch.Tensor, moves: int) -> torch.Tensor:
    """The cells within so many moves of a set, int64 [n, H]. Waits for nothing.

    Args:
        free: int64 [n, H], the free cells.
        cells: int64 [n, H], sets of free cells.
        moves: Number of moves, at least 0.
    """
    for _ in range(moves):
        cells = around(cells, free)
    return cells


def reachable(rows: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """The free cells that can be reached from a set of cells.

    Args:
        rows: int64 [n, H], packed walls.
        cells: int64 [n, H], a set of free cells of each maze (`cell_masks`).

    Returns:
        int64 [n, H], the cells themselves among them.
    """
    free = free_rows(rows)
    while True:
        before = within(free, cells, PATIENCE - 1)
        cells = around(before, free)
        if torch.equal(before, cells):
            return cells


def farthest(rows: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """The free cells at the greatest distance from a set of cells: int64 [n, H].

    Args:
        rows: int64 [n, H], packed walls.
        cells: int64 [n, H], a set of free cells of each maze.
    """
    free = free_rows(rows)
    last = cells
    while True:
        start = cells
        for _ in range(PATIENCE):
            wider = around(cells, free)
            new = wider ^ cells  # [n, H]
            last = torch.where((new != 0).any(1, keepdim=True), new, last)
            cells = wider
        if torch.equal(start, cells):
            return last


def distances(rows: torch.Tensor, cells: torch.Tensor, width: int | None = None) -> torch.Tensor:
    """Moves along a shortest path from the nearest cell of a set to every cell.

    Args:
        rows: int64 [n, H], packed walls.
        cells: int64 [n, H], a set of free cells of each maze.
        width: Columns W of the result. By default those of the widest layout, which waits for the
            device.

    Returns:
        int64 [n, H, W]; -1 in walls and where no path leads.
    """
    free = free_rows(rows)
    if width is None:
        width = max(int(rows.max()).bit_length(), 1) if rows.numel() else 1
    reached, moves = cells, 0
    planes: list[torch.Tensor] = []  # bit b of every cell's distance, int64 [n, H] each
    while True:
        start = reached
        for _ in range(PATIENCE):
            wider = around(reached, free)
            new, reached, moves = wider ^ reached, wider, moves + 1
            planes += [torch.zeros_like(cells)] * (moves.bit_length() - len(planes))
            for bit in range(moves.bit_length()):
                if moves >> bit & 1:
                    planes[bit] = planes[bit] | new
        if torch.equal(start, reached):
            break
    columns = torch.arange(width, device=rows.device)
    found = torch.where((reached.unsqueeze(-1) >> columns) & 1 == 1, 0, -1)
    for bit, plane in enumerate(planes):
        found += ((plane.unsqueeze(-1) >> columns) & 1) << bit
    return found
