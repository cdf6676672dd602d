"""Depth-first mazes: long winding corridors and few dead ends ("recursive backtracker").

From a random room go to a random neighbour that nobody has been to; where there is none go back the
way one came. All n mazes walk in lock step, one move of each at a time. In place of a stack every
room remembers from where it was first entered: a walk is over after at most 2 (k^2 - 1) moves.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from .lattice import carve, rooms_across

__all__ = ["depth_first", "passages_of_parents", "ringed"]

CHOICES = 12
"""A choice among 1, 2, 3 or 4 is one of 12 equally likely numbers: exactly uniform."""


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
    k = rooms_across(side)
    across = k + 2  # rooms within a ring of rooms that nobody may enter
    room, closed = ringed(n, k, generator, device)
    parent = torch.zeros_like(closed, dtype=torch.int64)  # [n * across^2]
    parent.index_copy_(0, room, room)
    closed.index_fill_(0, room, 1)
    moves = torch.tensor([-across, across, -1, 1], device=device)
    weights = torch.tensor([1, 2, 4, 8], device=device, dtype=torch.int8)
    step_of = torch.tensor(_choices(across), device=device)  # [16 * 12]
    for _ in range(2 * (k * k - 1) - 1):
        around = closed.index_select(0, (room.unsqueeze(1) + moves).view(-1)).view(n, 4)
        code = (around * weights).sum(1)  # [n], one of 16 sets of closed neighbours
        draw = torch.randint(CHOICES, (n,), generator=generator, device=device)
        step = step_of.index_select(0, draw.add_(code, alpha=CHOICES))  # 0 where all are closed
        back = parent.index_select(0, room)
        new = room + step
        parent.index_copy_(0, new, torch.where(step == 0, back, room))
        closed.index_fill_(0, new, 1)
        room = torch.where(step == 0, back, new)
    return carve(*passages_of_parents(parent.view(n, across, across)))


def ringed(
    n: int, k: int, generator: torch.Generator, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random rooms of n lattices and which rooms are closed, all lattices in one row.

    Returns:
        int64 [n], a uniformly random room of each lattice; int8 [n * (k + 2)^2], 1 on the ring
        around each lattice.
    """
    across = k + 2
    closed = torch.ones((n, across, across), dtype=torch.int8, device=device)
    closed[:, 1:-1, 1:-1] = 0
    first = torch.randint(k * k, (n,), generator=generator, device=device)
    room = (first // k + 1) * across + first % k + 1
    return room + torch.arange(n, device=device) * across**2, closed.view(-1)


def passages_of_parents(parent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The passages between rooms and their parents: `right` and `down` as `carve` takes them.

    Args:
        parent: int64 [n, k + 2, k + 2], the number of each room's parent (its own at the root)
            among all n * (k + 2)^2 rooms, the ring around a lattice included.
    """
    across = parent.shape[1]
    numbers = torch.arange(parent.numel(), device=parent.device).view(parent.shape)
    step = (parent - numbers)[:, 1:-1, 1:-1]
    right = (step[:, :, :-1] == 1) | (step[:, :, 1:] == -1)
    down = (step[:, :-1] == across) | (step[:, 1:] == -across)
    return right, down


@lru_cache(maxsize=64)
def _choices(across: int) -> tuple[int, ...]:
    """The step, by set of closed neighbours (up 1, down 2, left 4, right 8) and by draw."""
    steps = (-across, across, -1, 1)
    table: list[int] = []
    for closed in range(16):
        open_ = [step for bit, step in enumerate(steps) if not closed >> bit & 1] or [0]
        table += (open_[draw % len(open_)] for draw in range(CHOICES))
    return tuple(table)
