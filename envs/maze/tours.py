"""The order in which to search a known maze for a goal that may be anywhere.

Until the goal is found nothing is learned but that it was not yet entered, so the best search is
a fixed walk from the start, a *tour*, judged by when it first enters each cell. Finding the best
tour is a minimum latency problem (NP-hard); this is a beam search over walks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .dynamics import NUM_ACTIONS, compile_layout
from .layout import Layout

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


class Moves(NamedTuple):
    """M ways to take one walk of a beam a step further, before the walks are written out.

    Attributes:
        parent: int64 [M], the walk.
        cell: int64 [M], where it leads.
        new: bool [M], whether the walk was not there before.
        value: float64 [M], as in `Beam`, after the step.
        code: uint64 [M], likewise.
    """

    parent: NDArray[np.int64]
    cell: NDArray[np.int64]
    new: NDArray[np.bool_]
    value: NDArray[np.float64]
    code: NDArray[np.uint64]

    def rows(self, rows: NDArray[np.int64]) -> Moves:
        """The moves of these rows."""
        parent, cell, new, value, code = self
        return Moves(parent[rows], cell[rows], new[rows], value[rows], code[rows])


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
        seed: Seed of the hash that recognises walks with the same cells visited.

    Returns:
        int64 [F], in 1..T; `NEVER` for the start and for cells not reached within T steps.
    """
    next_cell = compile_layout(layout).next_cell
    keys = np.random.default_rng(seed).integers(2**63, size=layout.num_free, dtype=np.uint64)
    beam = _at_start(layout, start)
    best_value = 0.0
    best_visits: NDArray[np.int64] = beam.visits[0]
    for step in range(1, len(worth)):
        moves = _distinct(_moves(beam, next_cell, worth[step], keys))
        winner = int(np.argmax(moves.value))
        if moves.value[winner] > best_value:
            best_value = float(moves.value[winner])
            best_visits = _walked(beam, moves.rows(np.array([winner])), step).visits[0]
        if step + 1 == len(worth):
            break
        # What a walk can still gain, were every unvisited cell next door.
        gain = (beam.unvisited @ worth[step + 1])[moves.parent]
        gain -= np.where(moves.new, worth[step + 1, moves.cell], 0.0)
        kept = np.flatnonzero(moves.value + gain > best_value)
        if not len(kept):
            break
        if len(kept) > width:
            kept = kept[np.argsort(-moves.value[kept], kind="stable")[:width]]
        beam = _walked(beam, moves.rows(kept), step)
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


def _moves(
    beam: Beam,
    next_cell: NDArray[np.int64],
    worth: NDArray[np.float64],
    keys: NDArray[np.uint64],
) -> Moves:
    """Every move that is not blocked, of every walk."""
    parent = np.repeat(np.arange(len(beam.cell)), NUM_ACTIONS)
    cell = next_cell[beam.cell].reshape(-1)
    moved = cell != beam.cell[parent]
    parent, cell = parent[moved], cell[moved]
    new = beam.unvisited[parent, cell]
    value = beam.value[parent] + np.where(new, worth[cell], 0.0)
    code = beam.code[parent] ^ np.where(new, keys[cell], np.uint64(0))
    return Moves(parent, cell, new, value, code)


def _distinct(moves: Moves) -> Moves:
    """The best of the walks that end in one cell and have visited the same cells."""
    order = np.lexsort((-moves.value, moves.cell, moves.code))
    code, cell = moves.code[order], moves.cell[order]
    fresh = np.ones(len(order), dtype=np.bool_)
    fresh[1:] = (code[1:] != code[:-1]) | (cell[1:] != cell[:-1])
    return moves.rows(order[fresh])


def _walked(beam: Beam, moves: Moves, step: int) -> Beam:
    """The walks that have made these moves."""
    parent, cell, new, value, code = moves
    unvisited, visits = beam.unvisited[parent], beam.visits[parent]
    walks = np.arange(len(cell))
    unvisited[walks, cell] = False
    visits[walks[new], cell[new]] = step
    return Beam(cell, unvisited, visits, value, code)
