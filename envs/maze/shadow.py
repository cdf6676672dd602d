"""Minigrid's shadows: what walls hide from an agent that looks ahead, in closed form.

Minigrid lights the view row by row, from the agent's to the farthest: in each row light runs from
lit cells to the right and to the left, through cells that can be seen through, and from lit ones
of these to the three cells ahead. In rows of bits that is

    lit          = flood of the seeds along the row through open cells, blocking ends included
    next seeds   = (lit and open), and one to both sides
    first seeds  = the agent's cell

so that a table (seeds, open cells) -> (what is seen, next seeds) gives a view in one look-up per
row. Light that bends around walls is Minigrid's own, and kept.
"""

from __future__ import annotations

from functools import lru_cache

import torch

__all__ = ["UNSEEN", "row_patterns", "shadowed"]

UNSEEN = -1
"""The number of a cell that is not seen; a seen one is 1 (wall) or 0 (free)."""

CODE_BITS = 12
"""Room for the number of a row: 3^7 fit."""


def shadowed(rows: torch.Tensor, side: int) -> torch.Tensor:
    """What is seen of rows of walls.

    Args:
        rows: int32 [..., side], from the agent's row to the farthest; bit i is a wall in column i.
            The agent stands in the middle of the first, on a cell that is no wall.
        side: Cells along a row, at most 7.

    Returns:
        int32 [..., side], rows of `row_patterns`.
    """
    table = _lit_rows(side, rows.device)
    seeds = torch.full_like(rows[..., 0], 1 << side // 2)
    codes = []
    for row in rows.unbind(-1):
        found = table[(seeds << side | row).to(torch.int64)]
        codes.append(found & (1 << CODE_BITS) - 1)
        seeds = found >> CODE_BITS
    return torch.stack(codes, -1)


@lru_cache(maxsize=4)
def row_patterns(side: int) -> torch.Tensor:
    """What a number in base 3 shows, int8 [3^side, side]: 1 wall, 0 free, `UNSEEN`."""
    codes = torch.arange(3**side)
    digits = codes[:, None] // 3 ** torch.arange(side) % 3  # 0 free, 1 wall, 2 not seen
    return torch.where(digits == 2, UNSEEN, digits).to(torch.int8)


@lru_cache(maxsize=8)
def _lit_rows(side: int, device: torch.device) -> torch.Tensor:
    """int32 [4^side] on `device`, at ``seeds << side | walls``: ``next seeds << 12 | number``."""
    full = (1 << side) - 1
    table = torch.empty(1 << 2 * side, dtype=torch.int32)
    for seeds in range(full + 1):
        for walls in range(full + 1):
            lit, before = seeds, -1
            while lit != before:
                before, through = lit, lit & ~walls
                lit = (lit | through << 1 | through >> 1) & full
            through = lit & ~walls
            onwards = (through | through << 1 | through >> 1) & full
            digits = (2 if not lit >> i & 1 else walls >> i & 1 for i in range(side))
            code = sum(digit * 3**i for i, digit in enumerate(digits))
            table[seeds << side | walls] = onwards << CODE_BITS | code
    return table.to(device)
