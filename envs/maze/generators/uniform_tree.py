"""Uniform spanning trees: every perfect maze is equally likely.

The algorithm of Aldous (1990) and Broder (1989): walk at random until every room has been entered;
the passages through which rooms were entered for the first time are a uniformly random tree. All n
mazes walk in lock step; those that are done leave the walk every `PATIENCE` steps, which is when
the device is waited for.
"""

from __future__ import annotations

import torch

from .lattice import CHOICES, Ring, carve, passages_of_parents, rooms_across

__all__ = ["uniform_tree"]

PATIENCE = 64


def uniform_tree(
    n: int, side: int, generator: torch.Generator, device: torch.device
) -> torch.Tensor:
    """Uniform spanning trees.

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
    done = torch.zeros((n, ring.size), dtype=torch.int64, device=device)
    number = torch.arange(n, device=device)  # of the mazes that still walk
    first = ring.first
    room = ring.random_rooms(generator) - first  # within its lattice
    # Steps from the parent; 0 where nobody has been. The root's never counts.
    entered = torch.zeros_like(done)
    entered.view(-1).index_fill_(0, first + room, ring.size)
    step_of = torch.tensor(_steps(ring), device=device)  # [P * 12]
    while len(number):
        entered_by = entered.view(-1)
        for _ in range(PATIENCE):
            draw = torch.randint(CHOICES, (len(room),), generator=generator, device=device)
            step = step_of.index_select(0, draw.add_(room, alpha=CHOICES))
            room = room + step
            place = first + room
            before = entered_by.index_select(0, place)
            entered_by.index_copy_(0, place, torch.where(before == 0, step, before))
        left = (entered != 0).sum(1) < ring.k**2
        done.index_copy_(0, number[~left], entered[~left])
        number, room, entered = number[left], room[left], entered[left]
        first = ring.first[: len(number)]
    parent = ring.first.unsqueeze(1) + torch.arange(ring.size, device=device) - done
    return carve(*passages_of_parents(parent.view(n, ring.across, ring.across)))


def _steps(ring: Ring) -> list[int]:
    """The step, by room and by draw; 0 on the ring, where nobody is."""
    table: list[int] = []
    for row in range(ring.across):
        for column in range(ring.across):
            here = (row > 1, row < ring.k, column > 1, column < ring.k)
            ways = [step for step, way in zip(ring.steps, here, strict=True) if way]
            outside = not (0 < row <= ring.k and 0 < column <= ring.k)
            table += (0 if outside else ways[draw % len(ways)] for draw in range(CHOICES))
    return table
