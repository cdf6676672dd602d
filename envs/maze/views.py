"""The views of a maze: the walls around the agent, and, if it is to know it, its place.

A policy without memory cannot tell one place of a maze from another by the 3 x 3 walls around it.
With its place written beside them it can, and what is left to find out is the goal.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray

from .dynamics import PATCH_SIZE, MazeTables
from .layout import Layout

__all__ = ["PLACE_SIZE", "View", "seen_cells", "view_space", "views", "written_places"]

View = Literal["walls", "walls_and_place"]
"""``"walls"``: the 3 x 3 walls, 9 numbers. ``"walls_and_place"``: and `written_places`, 23."""

NUM_WAVES = 3
"""Frequencies in which a place is written: whole waves that span the maze 1, 2 and 3 times."""

PLACE_SIZE = 2 + 2 * 2 * NUM_WAVES
"""Numbers that say where an agent is."""


def view_space(observe: View) -> Box[Any]:
    """The space of one agent's observations."""
    if observe == "walls":
        return Box(0.0, 1.0, (PATCH_SIZE,), np.float32)
    return Box(-1.0, 1.0, (PATCH_SIZE + PLACE_SIZE,), np.float32)


def views(tables: MazeTables, observe: View) -> NDArray[np.float32]:
    """The view from each place, float32 [C, I]; read-only."""
    if observe == "walls":
        return tables.patch
    places = torch.tensor(tables.places, dtype=torch.float32)  # [C, 2]
    sides = torch.tensor([tables.layout.height, tables.layout.width])
    written = written_places(2 * places / (sides - 1) - 1).numpy()
    seen = np.concatenate((tables.patch, written), axis=1)
    seen.setflags(write=False)
    return seen


def written_places(places: torch.Tensor) -> torch.Tensor:
    """Places as a network can tell them apart: with waves that differ from cell to cell.

    A small network is slow to learn functions that change quickly with its inputs; sines and
    cosines of several frequencies let it (Tancik et al. 2020, Fourier features). With the two
    coordinates alone a few gradient steps can hardly change what is done in one corridor and not
    in the next.

    Args:
        places: Row and column, ``[..., 2]`` in [-1, 1].

    Returns:
        ``[..., 14]``: both, and ``sin`` and ``cos`` of k pi times them for k = 1, 2, 3.
    """
    angles = [math.pi * k * places for k in range(1, NUM_WAVES + 1)]
    return torch.cat((places, *(wave for a in angles for wave in (a.sin(), a.cos()))), -1)


def seen_cells(observation: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Row and column of agents that see their place.

    Args:
        observation: ``[B, I]``, ``"walls_and_place"`` and perhaps more behind it.
        layout: The walls.

    Returns:
        int64 ``[B, 2]``.
    """
    sides = torch.tensor([layout.height, layout.width], device=observation.device)
    places = (observation[:, PATCH_SIZE : PATCH_SIZE + 2] + 1) / 2 * (sides - 1)
    return places.round().to(torch.int64)
