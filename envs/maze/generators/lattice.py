"""Mazes on a lattice: rooms at odd rows and columns, walls between them, passages through walls.

A maze of side n = 2 k + 1 has k x k rooms. Its passages are two arrays: `right` [n, k, k - 1], from
a room to the next on its right, and `down` [n, k - 1, k], to the next below. Where they form a tree
the maze is *perfect*: one way between any two cells.
"""

from __future__ import annotations

from functools import cached_property

import torch

from ...base.checks import whole_number
from ..bits import MOST_SIDE

__all__ = [
    "CHOICES",
    "Ring",
    "braid",
    "carve",
    "check_side",
    "passages_of_parents",
    "rooms_across",
]


CHOICES = 12
"""A choice among 1, 2, 3 or 4 is one of 12 equally likely numbers: exactly uniform."""


def check_side(side: int, *, most: int = MOST_SIDE) -> int:
    """The side of a maze as an integer.

    Raises:
        ValueError: If it is no whole number of 5 to `most`.
    """
    return whole_number(side, "size", least=5, most=most)


def rooms_across(side: int, *, most: int = MOST_SIDE) -> int:
    """The number of rooms along a side, k.

    Raises:
        ValueError: If the side is even or out of range.
    """
    side = check_side(side, most=most)
    if side % 2 == 0:
        beside = [odd for odd in (side - 1, side + 1) if odd <= most]
        raise ValueError(
            f"size must be odd, since rooms and walls take turns between two border walls; got "
            f"{side}: use {' or '.join(map(str, beside))}"
        )
    return side // 2


def carve(right: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """The walls of mazes with these passages.

    Args:
        right: bool [n, k, k - 1], whether a room is open to the one on its right.
        down: bool [n, k - 1, k], whether it is open to the one below.

    Returns:
        bool [n, 2 k + 1, 2 k + 1].
    """
    n, k, _ = right.shape
    walls = torch.ones((n, 2 * k + 1, 2 * k + 1), dtype=torch.bool, device=right.device)
    walls[:, 1::2, 1::2] = False
    walls[:, 1::2, 2:-1:2] = ~right
    walls[:, 2:-1:2, 1::2] = ~down
    return walls


class Ring:
    """n lattices of k x k rooms, each within a ring of rooms that nobody may enter.

    All rooms of all lattices are numbered in one row, P = (k + 2)^2 for each lattice, so that the
    four neighbours of a room are as many numbers away wherever it is.

    Args:
        n: Number of lattices.
        k: Rooms along a side.
        device: Device of all tensors.
    """

    def __init__(self, n: int, k: int, device: torch.device) -> None:
        self.n, self.k, self.device = n, k, device
        self.across = k + 2
        self.size = self.across**2
        self.steps = (-self.across, self.across, -1, 1)

    @cached_property
    def moves(self) -> torch.Tensor:
        """int64 [4], the numbers to go up, down, left and right."""
        return torch.tensor(self.steps, device=self.device)

    @cached_property
    def first(self) -> torch.Tensor:
        """int64 [n], the first number of each lattice."""
        return torch.arange(self.n, device=self.device) * self.size

    def random_rooms(self, generator: torch.Generator) -> torch.Tensor:
        """int64 [n], a uniformly random room of each lattice."""
        k = self.k
        draws = torch.randint(k * k, (self.n,), generator=generator, device=self.device)
        return self.first + (draws // k + 1) * self.across + draws % k + 1

    def closed(self) -> torch.Tensor:
        """int8 [n * P], 1 on the ring, a new tensor."""
        rooms = (self.n, self.across, self.across)
        closed = torch.ones(rooms, dtype=torch.int8, device=self.device)
        closed[:, 1:-1, 1:-1] = 0
        return closed.view(-1)


def passages_of_parents(parent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The passages between rooms and their parents: `right` and `down` as `carve` takes them.

    Args:
        parent: int64 [n, k + 2, k + 2], the number of each room's parent in a `Ring`; anything that
            is no neighbour at the root.
    """
    across = parent.shape[1]
    numbers = torch.arange(parent.numel(), device=parent.device).view(parent.shape)
    step = (parent - numbers)[:, 1:-1, 1:-1]
    right = (step[:, :, :-1] == 1) | (step[:, :, 1:] == -1)
    down = (step[:, :-1] == across) | (step[:, 1:] == -across)
    return right, down


def braid(walls: torch.Tensor, probability: float, generator: torch.Generator) -> torch.Tensor:
    """Mazes with dead ends opened: loops.

    Each dead end opens one of the closed walls around its room with probability p, all of them at
    once. With p = 1 none is left.

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
