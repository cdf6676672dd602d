"""Functions that make mazes, by name. Each is a tensor program for n mazes at once.

    generator(n, side, torch.Generator, device, **options)  ->  walls, bool [n, side, side]

All that is random comes from the `torch.Generator` alone, which lives on `device`: the same one
gives the same mazes. The border is wall. A new maze is a function in a file here and a line in
`GENERATORS`; wherever a name is understood, a function of this form is too.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..layout import Layout
from .depth_first import depth_first
from .minimum_tree import minimum_tree
from .pillars import pillar_maze, pillars

__all__ = ["GENERATORS", "Generator", "make_layout", "pillar_maze"]

Generator = Callable[..., torch.Tensor]
"""Walls bool [n, side, side] of n, side, a torch generator, a device and options."""

GENERATORS: dict[str, Generator] = {
    "pillars": pillars,
    "dfs": depth_first,
    "mst": minimum_tree,
}
"""Mazes by name, as environments and families take them."""


def make_layout(maze: str, size: int, seed: int = 0) -> Layout:
    """One layout of a name and a size.

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
    (walls,) = GENERATORS[maze](1, size, generator, torch.device("cpu")).numpy()
    return Layout.from_walls(walls)
