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
    weights = _weights(ring, generator)  # [n * P, 4]
    flat = weights.view(-1)
    lightest = torch.full((n * ring.size,), math.inf, dtype=torch.float64, device=device)
    parent = torch.full_like(lightest, -1, dtype=torch.int64)
    # A wall's number beyond a room: that of the room there, in the opposite direction.
    behind = ring.moves * 4 + torch.tensor([1, 0, 3, 2], device=device)
    room = ring.first + ring.across + 1
    for _ in range(k * k - 1):
        around = (room.unsqueeze(1) + ring.moves).view(-1)  # [n * 4]
        offered = weights.index_select(0, room).view(-1)
        flat.index_fill_(0, ((room * 4).unsqueeze(1) + behind).view(-1), math.inf)
        offered = torch.minimum(offered, lightest.index_select(0, around))
        lightest.index_copy_(0, around, offered)
        least = lightest.view(n, ring.size).amin(1).to(torch.int64)
        room = (least >> DIRECTION_BITS & (2**ROOM_BITS - 1)) + ring.first
        parent.index_copy_(0, room, room - ring.moves[least & (2**DIRECTION_BITS - 1)])
        lightest.index_fill_(0, room, math.inf)
    return passages_of_parents(parent.view(n, ring.across, ring.across))


def _weights(ring: Ring, generator: torch.Generator) -> torch.Tensor:
    """Weights of the four walls of every room, up, down, left, right: float64 [n * P, 4].

    Infinite where the outside is behind the wall. Both rooms beside a wall see the same
    random bits.
    """
    n, across, device = ring.n, ring.across, ring.device
    shape = (2, n, across, across)  # of the walls below and on the right of each room
    bits = torch.randint(2**RANDOM_BITS, shape, generator=generator, device=device)
    below, right = (bits << (ROOM_BITS + DIRECTION_BITS)).unbind(0)
    weights = torch.stack((below.roll(1, 1), below, right.roll(1, 2), right), -1)
    local = torch.arange(ring.size, device=device).view(across, across, 1) + ring.moves
    weights += (local << DIRECTION_BITS) + torch.arange(4, device=device)
    numbers = weights.to(torch.float64)
    numbers[:, 1, :, 0] = numbers[:, -2, :, 1] = math.inf
    numbers[:, :, 1, 2] = numbers[:, :, -2, 3] = math.inf
    return numbers.view(-1, 4)
