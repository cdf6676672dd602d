"""Minimum spanning trees of random weights: mazes of short branches.

Every wall between two rooms gets a random weight, and the tree of the least total weight is
carved. Kruskal's algorithm on shuffled walls, Boruvka's and Prim's on such weights all give this
tree. It is not uniform over trees. Here Prim's: of all walls around the tree so far the lightest is
opened.

A weight is a float64 that holds a whole number: 41 random bits, then the room behind the wall and
the direction in which it lies, so that the least weight around a tree says all of the next step.
"""

from __future__ import annotations

import math

import torch

from .lattice import Ring, carve, passages_of_parents, rooms_across

__all__ = ["minimum_tree", "minimum_tree_passages"]

ROOM_BITS, DIRECTION_BITS = 10, 2
RANDOM_BITS = 53 - ROOM_BITS - DIRECTION_BITS


def minimum_tree(
    n: int, side: int, generator: torch.Generator, device: torch.device
) -> torch.Tensor:
    """Minimum spanning trees of uniformly random weights.

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
    return carve(*minimum_tree_passages(n, rooms_across(side), generator, device))


def minimum_tree_passages(
    n: int, k: int, generator: torch.Generator, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """The passages of such trees of k x k rooms, `right` and `down` as `carve` takes them."""
    ring = Ring(n, k, device)
    total, across = n * ring.size, ring.across
    # Of the wall below each room, then of the wall on its right: [2 * n * P].
    bits = torch.randint(2**RANDOM_BITS, (2 * total,), generator=generator, device=device)
    weights = (bits << (ROOM_BITS + DIRECTION_BITS)).to(torch.float64)
    beside = torch.tensor([-across, 0, total - 1, total], device=device)
    directions = torch.arange(4, device=device)
    closed = ring.closed()
    lightest = torch.full((total,), math.inf, dtype=torch.float64, device=device)
    parent = torch.full((total,), -1, dtype=torch.int64, device=device)
    room = ring.first + across + 1
    for _ in range(k * k - 1):
        closed.index_fill_(0, room, 1)
        around = room.unsqueeze(1) + ring.moves  # [n, 4]
        behind = (around - ring.first.unsqueeze(1) << DIRECTION_BITS) + directions
        around = around.view(-1)
        offered = weights.index_select(0, (room.unsqueeze(1) + beside).view(-1)) + behind.view(-1)
        offered = torch.minimum(offered, lightest.index_select(0, around))
        offered.masked_fill_(closed.index_select(0, around) == 1, math.inf)
        lightest.index_copy_(0, around, offered)
        least = lightest.view(n, ring.size).amin(1).to(torch.int64)
        room = (least >> DIRECTION_BITS & (2**ROOM_BITS - 1)) + ring.first
        parent.index_copy_(0, room, room - ring.moves[least & (2**DIRECTION_BITS - 1)])
        lightest.index_fill_(0, room, math.inf)
    return passages_of_parents(parent.view(n, across, across))
