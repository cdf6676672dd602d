"""Minigrid's shadows: what walls hide from an agent that looks ahead, in closed form.

A table (seeds, walls) -> (what is seen, next seeds), after `envs.base.shadows`, gives a view in one
look-up per row; the seeds are the cells of a row on which light falls, at first the agent's own.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from ..base.shadows import light_of_rows

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
    lit, onwards = (torch.from_numpy(light) for light in light_of_rows(side))
    cells, walls = torch.arange(side), torch.arange(1 << side)
    seen = lit.flip(1)[:, :, None] >> cells & 1 == 1  # by walls, where light does not pass
    digits = torch.where(seen, walls[:, None] >> cells & 1, 2)
    table = onwards.flip(1) << CODE_BITS | (digits * 3**cells).sum(2)
    return table.flatten().to(device, torch.int32)
