"""Walls as whole numbers: one int64 per row, bit c for column c.

A batch of mazes is then int64 [n, H], which is drawn, compared, hashed and searched without a loop
over cells. Bit c of a row is 1 where there is a wall. Layouts of different sides share a batch:
bits to the right of a layout and rows below it are 0, and count as wall wherever they are read
(`free_rows`, `unpack_rows`). So a row of numbers says its layout's own height and width too, and
cell numbers do not change by padding.
"""

from __future__ import annotations

import torch

__all__ = [
    "MOST_SIDE",
    "check_rows",
    "free_rows",
    "num_free",
    "pack_rows",
    "pad_rows",
    "unpack_rows",
]

MOST_SIDE = 62
"""Columns that a number holds: a border column can still be shifted out without touching a sign."""

PAIRS, FOURS, BYTES = 0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F
"""Every second bit, every second two, every second four."""


def pack_rows(walls: torch.Tensor) -> torch.Tensor:
    """Walls as numbers.

    Args:
        walls: bool [..., H, W], True where there is a wall; W at most `MOST_SIDE`.

    Returns:
        int64 [..., H].

    Raises:
        ValueError: If a row is wider than a number.
    """
    width = walls.shape[-1]
    if width > MOST_SIDE:
        raise ValueError(f"a row of at most {MOST_SIDE} cells is a number, got {width} cells")
    columns = torch.arange(width, device=walls.device)
    return (walls.to(torch.int64) << columns).sum(-1)


def free_rows(rows: torch.Tensor) -> torch.Tensor:
    """The free cells of packed rows, int64 [..., H]: bit c of row r is 1 where (r, c) is free.

    The border's top row is all wall, and so says which columns belong to the layout; a row of 0,
    which has no border, is below it.

    Args:
        rows: int64 [..., H], packed walls.
    """
    inside = rows[..., :1] * (rows != 0)
    return inside & ~rows


def unpack_rows(rows: torch.Tensor, width: int | None = None) -> torch.Tensor:
    """The inverse of `pack_rows`, with wall around layouts that are smaller than others.

    Args:
        rows: int64 [..., H], packed walls.
        width: Columns W of the result. By default those of the widest layout, which waits for the
            device.

    Returns:
        bool [..., H, W].
    """
    if width is None:
        width = max(int(rows.max()).bit_length(), 1) if rows.numel() else 1
    columns = torch.arange(width, device=rows.device)
    return (free_rows(rows).unsqueeze(-1) >> columns) & 1 == 0


def pad_rows(rows: torch.Tensor, height: int) -> torch.Tensor:
    """Packed rows among layouts of more rows: int64 [..., height], 0 below.

    Args:
        rows: int64 [..., H], packed walls, H at most `height`.
        height: Rows of the highest layout.
    """
    return torch.nn.functional.pad(rows, (0, height - rows.shape[-1]))


# Layouts as rows: counted, and checked ------------------------------------------------------------


def num_free(rows: torch.Tensor) -> torch.Tensor:
    """The numbers of free cells of layouts given as rows: int64 [n] of int64 [n, H]."""
    bits = free_rows(rows)  # counted in pairs, in fours, in bytes
    bits = bits - (bits >> 1 & PAIRS)
    bits = (bits & FOURS) + (bits >> 2 & FOURS)
    bits = bits + (bits >> 4) & BYTES
    return sum((bits >> shift & 255 for shift in range(0, 64, 8)), torch.zeros_like(bits)).sum(1)


def check_rows(rows: torch.Tensor) -> torch.Tensor:
    """The numbers of free cells, int64 [n], of layouts given as rows, int64 [n, H].

    Raises:
        ValueError: If one is too wide, has fewer than two free cells or an open border.
    """
    free, top = free_rows(rows), rows[:, :1]
    inside = top >> 1 & ~1  # the columns but the first and the last
    wide = ((top < 0) | (top >> MOST_SIDE != 0) | (top & (top + 1) != 0))[:, 0]
    below = torch.cat((rows[:, 1:], torch.zeros_like(top)), 1) == 0  # nothing is below such a row
    open_ = ((free & ~inside) != 0).any(1) | (below & (free != 0)).any(1)
    cells = num_free(rows)
    wrong = wide | open_ | (cells < 2) | (rows > top).any(1)
    if bool(wrong.any()):
        number = int(wrong.nonzero()[0])
        raise ValueError(
            f"the walls of task {number} are no layout with a closed border and two free cells, "
            f"at most {MOST_SIDE} wide: rows {rows[number].tolist()}; make the numbers of tasks "
            f"with task_tensor"
        )
    return cells
