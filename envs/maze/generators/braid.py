"""Loops in mazes: dead ends that are opened.

Each dead end opens one of the closed walls around its room with probability p, all of them at once.
With p = 1 none is left. Works on mazes on a lattice (`envs.maze.generators.lattice`).
"""

from __future__ import annotations

import torch

__all__ = ["braid"]


def braid(walls: torch.Tensor, probability: float, generator: torch.Generator) -> torch.Tensor:
    """Mazes with dead ends opened.

    Args:
        walls: bool [n, S, S], mazes with rooms at odd rows and columns; S odd.
        probability: Probability with which a dead end is opened.
        generator: Source of everything random, on the device of `walls`.

    Returns:
        bool [n, S, S], a new tensor.
    """
    n, side, _ = walls.shape
    if side % 2 == 0:
        raise ValueError(
            f"loops are opened between rooms on a lattice: size must be odd, got {side}"
        )
    k = side // 2
    # The walls around each room, [n, 4, k, k]: up, down, left, right; and which may be opened.
    around = torch.stack(
        (walls[:, :-1:2, 1::2], walls[:, 2::2, 1::2], walls[:, 1::2, :-1:2], walls[:, 1::2, 2::2]),
        1,
    )
    inner = around.clone()
    inner[:, 0, 0] = inner[:, 1, -1] = inner[:, 2, :, 0] = inner[:, 3, :, -1] = False
    rooms = ~walls[:, 1::2, 1::2]
    dead_end = (around.sum(1) == 3) & rooms  # [n, k, k]
    draws = torch.rand((n, 5, k, k), generator=generator, device=walls.device)
    opened = dead_end & (draws[:, 4] < probability)
    # The one with the largest number among those that may be opened; + 1 against draws of 0.
    chosen = torch.where(inner, draws[:, :4] + 1, 0.0).argmax(1, keepdim=True)
    opening = torch.zeros_like(around).scatter_(1, chosen, opened.unsqueeze(1)) & inner
    braided = walls.clone()
    braided[:, :-1:2, 1::2] &= ~opening[:, 0]
    braided[:, 2::2, 1::2] &= ~opening[:, 1]
    braided[:, 1::2, :-1:2] &= ~opening[:, 2]
    braided[:, 1::2, 2::2] &= ~opening[:, 3]
    return braided
