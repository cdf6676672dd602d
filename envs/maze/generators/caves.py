"""Caves: random walls smoothed by a cellular automaton.

Cells are wall with probability p. In each of some rounds a cell becomes wall where at least 5 of
the 3 x 3 cells around it, itself among them, are wall, and free elsewhere; the outside is wall. The
largest piece of what is then free is kept.
"""

from __future__ import annotations

import torch

from ...base.checks import whole_number
from .lattice import check_side

__all__ = ["caves", "largest_piece", "smoothed"]

PATIENCE = 16
"""Moves between two questions to the device."""


def caves(
    n: int,
    side: int,
    generator: torch.Generator,
    device: torch.device,
    *,
    walls: float = 0.45,
    rounds: int = 4,
) -> torch.Tensor:
    """Caves of one piece.

    Args:
        n: Number of mazes.
        side: Side of a maze, 5 to 62.
        generator: Source of everything random, on `device`.
        device: Device of the result.
        walls: Probability p of a wall in the beginning.
        rounds: Rounds of the automaton.

    Returns:
        Walls, bool [n, side, side]. A maze may have few free cells, or none.

    Raises:
        ValueError: If a value is out of range.
    """
    return largest_piece(smoothed(n, side, generator, device, walls=walls, rounds=rounds))


def smoothed(
    n: int,
    side: int,
    generator: torch.Generator,
    device: torch.device,
    *,
    walls: float,
    rounds: int,
) -> torch.Tensor:
    """Walls that the automaton leaves, of any number of pieces; as `caves` otherwise."""
    side = check_side(side)
    if isinstance(walls, bool | str) or not 0 <= walls <= 1:
        raise ValueError(f"walls is a probability, in [0, 1], got {walls!r}")
    grid = torch.ones((n, side, side), dtype=torch.bool, device=device)
    draws = torch.rand((n, side - 2, side - 2), generator=generator, device=device)
    grid[:, 1:-1, 1:-1] = draws < walls
    for _ in range(whole_number(rounds, "rounds", least=0, most=100)):
        three = grid[:, :-2].to(torch.int8) + grid[:, 1:-1] + grid[:, 2:]
        grid[:, 1:-1, 1:-1] = three[..., :-2] + three[..., 1:-1] + three[..., 2:] >= 5
    return grid


def largest_piece(walls: torch.Tensor) -> torch.Tensor:
    """Mazes with all free cells walled up but the largest connected piece of each.

    Of pieces of one size the one with the last cell in row-major order is kept.

    Args:
        walls: bool [n, H, W], a closed border.

    Returns:
        bool [n, H, W]. Waits for the device.
    """
    n, height, width = walls.shape
    free = ~walls
    numbers = torch.arange(height * width, device=walls.device, dtype=torch.int16)
    names = torch.where(free, numbers.view(height, width), -1)  # the greatest number of its piece
    while True:
        before = names
        for _ in range(PATIENCE):
            wider = names.clone()
            for to, of in ((wider[:, 1:], names[:, :-1]), (wider[:, :-1], names[:, 1:])):
                torch.maximum(to, of, out=to)
            for to, of in ((wider[..., 1:], names[..., :-1]), (wider[..., :-1], names[..., 1:])):
                torch.maximum(to, of, out=to)
            names = torch.where(free, wider, -1)
        if torch.equal(before, names):
            break
    flat = names.flatten(1).long() + 1  # 0 in walls
    sizes = torch.zeros((n, height * width + 1), dtype=torch.int64, device=walls.device)
    sizes.scatter_add_(1, flat, torch.ones_like(flat))
    sizes[:, 0] = 0
    # The last of the largest: numbers of equal size are told apart by the name itself.
    order = sizes * (height * width + 1) + torch.arange(sizes.shape[1], device=walls.device)
    kept = order.argmax(1)
    return (flat != kept.unsqueeze(1)).view(walls.shape) | walls
