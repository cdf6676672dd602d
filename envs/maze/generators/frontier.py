"""Prim's algorithm as mazes are often made: a random wall of the frontier is opened.

From a random room, again and again: of all walls between the maze so far and the rooms outside one
is chosen, all equally likely, and opened. Many short dead ends. (With weights drawn beforehand
Prim's algorithm gives another distribution, that of `minimum_tree`.)

The walls around a maze are a list. A wall is taken from a random place of it, and passed over if
the room behind it has meanwhile been entered another way: every wall is taken once.
"""

from __future__ import annotations

import torch

from .lattice import Ring, carve, passages_of_parents, rooms_across

__all__ = ["frontier"]


def frontier(n: int, side: int, generator: torch.Generator, device: torch.device) -> torch.Tensor:
    """Frontier mazes from a uniformly random room.

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
    num_walls = 2 * ring.k * (ring.k - 1)
    closed = ring.closed()
    parent = torch.full_like(closed, -1, dtype=torch.int64)
    # [n * (walls + 1)], walls as 4 * room behind + direction; the last of each maze takes what is
    # no wall of the frontier.
    length = num_walls + 1
    walls = torch.zeros(n * length, dtype=torch.int64, device=device)
    start = torch.arange(n, device=device) * length
    count = torch.zeros_like(start)
    directions = torch.arange(4, device=device)
    room = ring.random_rooms(generator)
    entered = torch.ones_like(room, dtype=torch.bool)
    closed.index_fill_(0, room, 1)
    for step in range(num_walls + 1):
        around = room.unsqueeze(1) + ring.moves  # [n, 4]
        new = closed.index_select(0, around.view(-1)).view(n, 4) == 0
        new &= entered.unsqueeze(1)
        place = torch.where(new, count.unsqueeze(1) + new.cumsum(1) - 1, num_walls)
        walls.index_copy_(
            0, (place + start.unsqueeze(1)).view(-1), (around * 4 + directions).view(-1)
        )
        count = count + new.sum(1)
        if step == num_walls:
            break
        draws = torch.rand(n, generator=generator, device=device)
        # In float32 a draw just below 1 may come to the count itself. An empty list gives the last
        # wall again, behind which somebody has been.
        count = (count - 1).clamp_(min=0)
        chosen = start + torch.minimum((draws * (count + 1)).to(torch.int64), count)
        wall = walls.index_select(0, chosen)
        walls.index_copy_(0, chosen, walls.index_select(0, start + count))
        room = wall >> 2
        entered = closed.index_select(0, room) == 0
        before = parent.index_select(0, room)
        parent.index_copy_(0, room, torch.where(entered, room - ring.moves[wall & 3], before))
        closed.index_fill_(0, room, 1)
    return carve(*passages_of_parents(parent.view(n, ring.across, ring.across)))
