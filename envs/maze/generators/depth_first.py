"""Depth-first mazes: long winding corridors and few dead ends ("recursive backtracker").

From a random room go to a random neighbour that nobody has been to; where there is none go back the
way one came. All n mazes walk in lock step, one move of each at a time. In place of a stack every
room remembers from where it was first entered: a walk is over after at most 2 (k^2 - 1) moves.
"""

from __future__ import annotations

import torch

from .lattice import CHOICES, Ring, carve, passages_of_parents, rooms_across

__all__ = ["depth_first"]


def depth_first(
    n: int, side: int, generator: torch.Generator, device: torch.device
) -> torch.Tensor:
    """Depth-first mazes from a uniformly random room.

    Args:
        n: Number of mazes.
        side: Side of a maze, odd, 5 to 61.
        generator: Source of everything random, on `device`.
        device: Device of the result.

    Returns:
        Walls, bool [n, side, side].

    Raises:
        ValueError: If `side` is even or out of range.
    """
    ring = Ring(n, rooms_across(side), device)
    room, closed = ring.random_rooms(generator), ring.closed()
    parent = torch.zeros_like(closed, dtype=torch.int64)  # [n * P]
    parent.index_copy_(0, room, room)
    closed.index_fill_(0, room, 1)
    weights = torch.tensor([1, 2, 4, 8], device=device, dtype=torch.int8)
    step_of = torch.tensor(_choices(ring.steps), device=device)  # [16 * 12]
    for _ in range(2 * (ring.k**2 - 1) - 1):
        around = closed.index_select(0, (room.unsqueeze(1) + ring.moves).view(-1)).view(n, 4)
        code = (around * weights).sum(1)  # [n], one of 16 sets of closed neighbours
        draw = torch.randint(CHOICES, (n,), generator=generator, device=device)
        step = step_of.index_select(0, draw.add_(code, alpha=CHOICES))  # 0 where all are closed
        back = parent.index_select(0, room)
        new = room + step
        parent.index_copy_(0, new, torch.where(step == 0, back, room))
        closed.index_fill_(0, new, 1)
        room = torch.where(step == 0, back, new)
    return carve(*passages_of_parents(parent.view(n, ring.across, ring.across)))


def _choices(steps: tuple[int, ...]) -> list[int]:
    """The step, by set of closed neighbours (up 1, down 2, left 4, right 8) and by draw."""
    table: list[int] = []
    for closed in range(16):
        open_ = [step for bit, step in enumerate(steps) if not closed >> bit & 1] or [0]
        table += (open_[draw % len(open_)] for draw in range(CHOICES))
    return table
