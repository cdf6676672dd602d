"""The order in which to search a known maze for a goal that may be anywhere.

Until the goal is found nothing is learned but that it was not yet entered, so the best search is
a fixed walk from the start, a *tour*, judged by when it first enters each cell. Finding the best
tour is a minimum latency problem (NP-hard); this is a beam search over walks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.dynamics import NUM_ACTIONS, compile_layout
from envs.layout import Layout

__all__ = ["NEVER", "first_visits", "symmetries"]

NEVER = 0
"""First-visit time of a cell that a tour does not enter (and of the start)."""


class Beam(NamedTuple):
    """W walks of equal length.

    Attributes:
        cell: int64 [W], where each walk is.
        unvisited: bool [W, F].
        visits: int64 [W, F], first-visit times so far.
        value: float64 [W], what the visits so far are worth.
        code: uint64 [W], a hash of the set of visited cells.
    """

    cell: NDArray[np.int64]
    unvisited: NDArray[np.bool_]
    visits: NDArray[np.int64]
    value: NDArray[np.float64]
    code: NDArray[np.uint64]


def first_visits(
    layout: Layout, start: int, worth: NDArray[np.float64], *, width: int = 4000, seed: int = 0
) -> NDArray[np.int64]:
    """The first-visit times of a good tour.

    Args:
        layout: The walls.
        start: Cell number of the first cell.
        worth: float64 [T + 1, F], what entering cell c for the first time at step t is worth;
            at least 0, falling with t, row 0 unused. The tour is to maximise the sum.
        width: Walks kept at every step. More is slower and rarely much better: at 13 x 13 a width
            of 16,000 gains 0.06 %.
        seed: Of the hash by which walks with the same cells visited are recognised.

    Returns:
        int64 [F], in 1..T; `NEVER` for the start and for cells not reached within T steps.
    """
    next_cell = compile_layout(layout).next_cell
    keys = np.random.default_rng(seed).integers(2**63, size=layout.num_free, dtype=np.uint64)
    beam = _at_start(layout, start)
    best_value = 0.0
    best_visits: NDArray[np.int64] = beam.visits[0]
    for step in range(1, len(worth)):
        beam = _distinct(_extend(beam, next_cell, worth[step], keys, step))
        winner = int(np.argmax(beam.value))
        if beam.value[winner] > best_value:
            best_value, best_visits = float(beam.value[winner]), beam.visits[winner]
        if step + 1 < len(worth):
            # What a walk can still gain, were every unvisited cell next door.
            bound = beam.value + beam.unvisited @ worth[step + 1]
            beam = _keep(beam, np.flatnonzero(bound > best_value))
        if not len(beam.cell):
            break
        if len(beam.cell) > width:
            beam = _keep(beam, np.argsort(-beam.value, kind="stable")[:width])
    return best_visits


def symmetries(layout: Layout, start: int) -> list[NDArray[np.int64]]:
    """The rotations and reflections that leave walls and start as they are.

    Args:
        layout: The walls.
        start: Cell number that must stay in place.

    Returns:
        Permutations of the cell numbers, int64 [F] each; the identity is among them.
    """
    numbers = np.full(layout.walls.shape, -1, dtype=np.int64)
    numbers[~layout.walls] = np.arange(layout.num_free)
    images = [np.rot90(side, turns) for side in (numbers, numbers.T) for turns in range(4)]
    return [
        image[~layout.walls]
        for image in images
        if image.shape == numbers.shape
        and np.array_equal(image < 0, layout.walls)
        and image[layout.free_cells[start]] == start
    ]


def _at_start(layout: Layout, start: int) -> Beam:
    unvisited = np.ones((1, layout.num_free), dtype=np.bool_)
    unvisited[0, start] = False
    return Beam(
        np.array([start]),
        unvisited,
        np.full((1, layout.num_free), NEVER, dtype=np.int64),
        np.zeros(1),
        np.zeros(1, dtype=np.uint64),
    )


def _extend(
    beam: Beam,
    next_cell: NDArray[np.int64],
    worth: NDArray[np.float64],
    keys: NDArray[np.uint64],
    step: int,
) -> Beam:
    """Every walk continued by every move that is not blocked."""
    parent = np.repeat(np.arange(len(beam.cell)), NUM_ACTIONS)
    cell = next_cell[beam.cell].reshape(-1)
    moved = cell != beam.cell[parent]
    parent, cell = parent[moved], cell[moved]
    walks = np.arange(len(cell))
    new = beam.unvisited[parent, cell]
    unvisited, visits = beam.unvisited[parent], beam.visits[parent]
    unvisited[walks, cell] = False
    visits[walks[new], cell[new]] = step
    value = beam.value[parent] + np.where(new, worth[cell], 0.0)
    code = beam.code[parent] ^ np.where(new, keys[cell], np.uint64(0))
    return Beam(cell, unvisited, visits, value, code)


def _distinct(beam: Beam) -> Beam:
    """Of the walks that stand in one cell and have visited the same cells, the best."""
    order = np.lexsort((-beam.value, beam.cell, beam.code))
    code, cell = beam.code[order], beam.cell[order]
    fresh = np.ones(len(order), dtype=np.bool_)
    fresh[1:] = (code[1:] != code[:-1]) | (cell[1:] != cell[:-1])
    return _keep(beam, order[fresh])


def _keep(beam: Beam, rows: NDArray[np.int64]) -> Beam:
    cell, unvisited, visits, value, code = beam
    return Beam(cell[rows], unvisited[rows], visits[rows], value[rows], code[rows])
