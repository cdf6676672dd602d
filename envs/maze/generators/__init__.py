"""Functions that make mazes, by name. Each is a tensor program for n mazes at once.

    generator(n, side, torch.Generator, device, **options)  ->  walls, bool [n, side, side]

All that is random comes from the `torch.Generator` alone, which lives on `device`: the same one
gives the same mazes. The border is wall. A new maze is a function in a file here and a line in
`GENERATORS`; wherever a name is understood, a function of this form is too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from ..layout import Layout
from .blocks import empty, random_walls
from .caves import caves, largest_piece
from .pillars import pillar_maze, pillars
from .rooms import rooms_with_doors
from .spanning_trees import depth_first, frontier, minimum_tree, uniform_tree

__all__ = ["GENERATORS", "Generator", "make_layout", "pillar_maze"]

Generator = Callable[..., torch.Tensor]
"""Walls bool [n, side, side] of n, side, a torch generator, a device and options."""

GENERATORS: dict[str, Generator] = {
    "pillars": pillars,
    "dfs": depth_first,
    "ust": uniform_tree,
    "mst": minimum_tree,
    "prim": frontier,
    "rooms": rooms_with_doors,
    "walls": random_walls,
    "walls-25": partial(random_walls, walls=25),
    "walls-60": partial(random_walls, walls=60),
    "walls-60-distinct": partial(random_walls, walls=60, replacement=False),
    "walls-0-59": partial(random_walls, walls=59, up_to=True),
    "caves": caves,
    "empty": empty,
}
"""Mazes by name, as environments and families take them."""


def make_layout(maze: str, size: int, seed: int = 0) -> Layout:
    """One layout of a name and a size, in one piece: the largest, if it has several.

    Args:
        maze: A name of `GENERATORS`.
        size: Side of the maze, border included.
        seed: Seed of what is random about it.

    Raises:
        ValueError: If there is no such maze, or not of this size.
    """
    if maze not in GENERATORS:
        raise ValueError(f"maze must be one of {list(GENERATORS)}, got {maze!r}")
    if maze == "pillars":  # of any size, and without a tensor
        return pillar_maze(size)
    generator = torch.Generator().manual_seed(seed)
    walls = GENERATORS[maze](1, size, generator, torch.device("cpu"))
    return Layout.from_walls(largest_piece(walls)[0].numpy())
