"""The identity of a layout: a 64-bit number, the same on every device and in every batch.

Seeds are not layouts: two seeds may draw the same maze. What keeps test layouts out of training is
therefore a hash of the contents. It is a hash of the free cells in their bounding rectangle: walls
beyond the border, which no agent meets, and padding do not count.

    h = mix(salt + sum over rows r that hold free cells of mix(bits of r + (r + 1) * GOLDEN))
    mix: x ^= x >> 30; x *= FIRST; x ^= x >> 27; x *= SECOND; x ^= x >> 31

in integers modulo 2^64, with the constants of Steele, Lea & Flood (2014), "Fast splittable
pseudorandom number generators". A row enters as a number of its own, so that all rows of all mazes
are mixed at once.
"""

from __future__ import annotations

import hashlib
import reprlib
from typing import overload

import torch

from .bits import MOST_SIDE, free_rows, pack_rows, unpack_rows
from .layout import Layout

__all__ = ["layout_hash", "mix"]

GOLDEN = 0x9E3779B97F4A7C15 - 2**64
FIRST = 0xBF58476D1CE4E5B9 - 2**64
SECOND = 0x94D049BB133111EB - 2**64
"""Factors of the hash, as signed numbers: torch multiplies int64 modulo 2^64."""


@overload
def layout_hash(layouts: Layout, *, salt: str = "", up_to_symmetry: bool = False) -> int: ...


@overload
def layout_hash(
    layouts: torch.Tensor, *, salt: str = "", up_to_symmetry: bool = False
) -> torch.Tensor: ...


def layout_hash(
    layouts: torch.Tensor | Layout, *, salt: str = "", up_to_symmetry: bool = False
) -> torch.Tensor | int:
    """The hash of layouts, equal where their free cells are, up to a shift.

    Args:
        layouts: int64 [n, H], packed walls (`envs.maze.bits`), on any device; or one layout, of
            at most `envs.maze.bits.MOST_SIDE` columns.
        salt: Another string gives other numbers.
        up_to_symmetry: The same number for the 8 turns and reflections of a layout: `mix` of the
            least of theirs. Waits for the device once.

    Returns:
        int64 [n] on the same device; a number for one layout.

    Raises:
        ValueError: If a layout is wider than a number, or the tensor is not of int64.
        TypeError: If it is something else.
    """
    if isinstance(layouts, Layout):
        if layouts.width > MOST_SIDE:
            raise ValueError(
                f"layouts of at most {MOST_SIDE} columns have a hash, got {layouts.width} columns"
            )
        rows = torch.tensor(layouts.packed).unsqueeze(0)  # [1, H]
        return int(layout_hash(rows, salt=salt, up_to_symmetry=up_to_symmetry))
    if not isinstance(layouts, torch.Tensor):
        raise TypeError(f"give a Layout or a tensor of packed walls, got {reprlib.repr(layouts)}")
    if layouts.dtype != torch.int64:
        raise ValueError(
            f"packed walls are int64 [n, H], got {layouts.dtype} of shape {tuple(layouts.shape)}: "
            f"pack walls with envs.maze.bits.pack_rows"
        )
    start = int.from_bytes(hashlib.sha256(salt.encode()).digest()[:8], "big", signed=True)
    if not up_to_symmetry:
        return _hash(free_rows(layouts), start)
    least = None
    for free in _symmetric(layouts):
        one = _hash(free, start)
        least = one if least is None else torch.minimum(least, one)
    assert least is not None
    return mix(least)  # the least of several is no longer uniform


def _hash(free: torch.Tensor, start: int) -> torch.Tensor:
    """int64 [n] of the free cells int64 [n, H]."""
    height = free.shape[-1]
    taken = free != 0  # [n, H]
    # The lowest bit of all rows together stands for the leftmost column with a free cell.
    lowest = torch.where(taken, free & -free, torch.iinfo(torch.int64).max).amin(-1, keepdim=True)
    top = taken.to(torch.int64).argmax(-1, keepdim=True)  # [n, 1]
    numbers = torch.arange(height, device=free.device) - top + 1  # [n, H], 1 for the top row
    mixed = mix(free // lowest + numbers * GOLDEN)
    return mix((mixed * taken).sum(-1) + start)


def mix(x: torch.Tensor) -> torch.Tensor:
    """Numbers whose bits all depend on all bits of others: int64; see the module."""
    x = (x ^ _shifted(x, 30)) * FIRST
    x = (x ^ _shifted(x, 27)) * SECOND
    return x ^ _shifted(x, 31)


def _shifted(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Shift to the right with zeros from the left, which torch's ``>>`` does not do."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _symmetric(rows: torch.Tensor) -> list[torch.Tensor]:
    """Free cells of the 8 turns and reflections, int64 [n, S] each."""
    walls = unpack_rows(rows)  # [n, H, W]
    height, width = walls.shape[-2:]
    side = max(height, width)
    square = torch.nn.functional.pad(~walls, (0, side - width, 0, side - height))
    turns = [torch.rot90(square, quarter, (-2, -1)) for quarter in range(4)]
    return [pack_rows(turn) for turn in turns] + [pack_rows(turn.mT) for turn in turns]
