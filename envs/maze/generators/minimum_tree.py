"""Minimum spanning trees of random weights: mazes of short branches.

Every wall between two rooms gets a random weight, and the tree of the least total weight is carved.
Kruskal's algorithm on shuffled walls, Prim's on such weights and Boruvka's, which is used here, all
give this distribution. It is not uniform over trees.

Boruvka: every tree so far takes the lightest wall around it, all of them at once, until one tree is
left; their number halves at least in each round. Weights never tie, or two trees might take two
walls between them and close a circle: the number of the wall is the last 12 bits of its weight.
"""

from __future__ import annotations

import math

import torch

from .lattice import carve, rooms_across

__all__ = ["minimum_tree"]

EDGE_BITS = 12
"""Bits of a wall's number: the largest maze has 1,740 walls between rooms."""

NONE = torch.iinfo(torch.int64).max


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
    k = rooms_across(side)
    rooms = torch.arange(k * k, device=device).view(k, k)
    one = torch.cat((rooms[:, :-1].reshape(-1), rooms[:-1].reshape(-1)))  # [E], rooms on the left,
    other = torch.cat((rooms[:, 1:].reshape(-1), rooms[1:].reshape(-1)))  # above; right, below
    num_edges = len(one)
    weights = torch.randint(2**50, (n, num_edges), generator=generator, device=device)
    weights = (weights << EDGE_BITS) + torch.arange(num_edges, device=device)
    taken = torch.zeros((n, num_edges + 1), dtype=torch.bool, device=device)
    tree = rooms.view(1, -1).expand(n, -1).contiguous()  # [n, k^2], the first room of its tree
    numbers = tree.clone()
    for _ in range(math.ceil(math.log2(k * k))):
        trees_one, trees_other = tree[:, one], tree[:, other]  # [n, E]
        outside = torch.where(trees_one == trees_other, NONE, weights)
        lightest = torch.full_like(tree, NONE)
        lightest.scatter_reduce_(1, trees_one, outside, "amin")
        lightest.scatter_reduce_(1, trees_other, outside, "amin")
        # [n, k^2]; the edge past the last one where a room heads no tree, or nothing is outside
        edge = torch.where(lightest == NONE, num_edges, lightest & (2**EDGE_BITS - 1))
        taken.scatter_(1, edge, True)
        edge = edge.clamp(max=num_edges - 1)
        beyond = trees_one.gather(1, edge) + trees_other.gather(1, edge) - numbers
        joined = torch.where(lightest == NONE, numbers, beyond)
        # Two trees that take the same wall would point at each other: the lesser number stays.
        mutual = (joined.gather(1, joined) == numbers) & (numbers < joined)
        joined = torch.where(mutual, numbers, joined)
        for _ in range(math.ceil(math.log2(k * k))):
            joined = joined.gather(1, joined)
        tree = joined.gather(1, tree)
    right, down = taken[:, : num_edges // 2], taken[:, num_edges // 2 : num_edges]
    return carve(right.reshape(n, k, k - 1), down.reshape(n, k - 1, k))
