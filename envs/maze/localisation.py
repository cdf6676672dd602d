"""The worth of a find to an agent that knows the goal but not where the find has sent it.

A find teleports the agent to a cell it cannot see the number of: it sees the 3 x 3 walls around
it, and has to work out where it is while it walks. Its knowledge is a belief: the set of cells,
all equally likely, that agree with what it has seen since. Moves are deterministic and every cell
of a belief looks alike, so a move takes a belief to a few smaller ones, told apart by the next
view (or by having entered the goal). Few beliefs can be reached (some 400 a goal at 13 x 13), so
the best policy of this partially observed problem is found exactly, by dynamic programming.

With |S| cells in belief S, U_k(S) the summed expected finds of k more steps over its cells, and
W_k = sum over the first beliefs of U_k / (F - 1):

    U_k(S) = max_a { (cells that enter the goal) (1 + W_{k-1}) + sum over views of U_{k-1}(S') }
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .dynamics import NUM_ACTIONS, compile_layout
from .layout import Layout

__all__ = ["worth_of_a_find"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Belief: TypeAlias = frozenset[int]


class Beliefs(NamedTuple):
    """The beliefs of one goal that can be reached after a find.

    Attributes:
        num: Beliefs S.
        first: The beliefs after the first look, one a view.
        entering: float64 [S, A], how many cells of a belief enter the goal by an action.
        after: For every belief and action (action fastest) the beliefs it may lead to.
    """

    num: int
    first: list[int]
    entering: Array
    after: list[list[int]]


def reachable_beliefs(layout: Layout, goal: int) -> Beliefs:
    """All beliefs that walks from an unknown cell can lead to; `goal` is a cell number."""
    tables = compile_layout(layout)
    view = [patch.tobytes() for patch in tables.patch]
    numbers: dict[Belief, int] = {}
    queue: list[Belief] = []

    def look(cells: Sequence[int]) -> list[int]:
        """Number the beliefs that a look around tells apart; no cell is the goal."""
        alike: dict[bytes, list[int]] = {}
        for cell in cells:
            alike.setdefault(view[cell], []).append(cell)
        found = [frozenset(group) for group in alike.values()]
        for belief in found:
            if belief not in numbers:
                numbers[belief] = len(queue)
                queue.append(belief)
        return [numbers[belief] for belief in found]

    first = look([cell for cell in range(layout.num_free) if cell != goal])
    entering, after = [], []
    for belief in queue:  # grows while it is walked through
        for action in range(NUM_ACTIONS):
            reached = [int(tables.next_cell[cell, action]) for cell in belief]
            entering.append(reached.count(goal))
            after.append(look([cell for cell in reached if cell != goal]))
    shape = len(queue), NUM_ACTIONS
    return Beliefs(len(queue), first, np.array(entering, np.float64).reshape(shape), after)


def worth_of_a_find(layout: Layout, goals: Sequence[int], horizon: int) -> Array:
    """Expected finds in the k steps that follow a find, for the best policy.

    Args:
        layout: The walls; a find sends the agent to any other free cell.
        goals: Cell numbers of G goals.
        horizon: The largest k.

    Returns:
        W_k, float64 [horizon + 1, G].
    """
    # One goal at a time: the beliefs of all of them would take 67 MB at 13 x 13.
    num_others = layout.num_free - 1
    columns = [_worth(reachable_beliefs(layout, goal), num_others, horizon) for goal in goals]
    return np.stack(columns, axis=1)


def _worth(beliefs: Beliefs, num_others: int, horizon: int) -> Array:
    """W_k of one goal, float64 [horizon + 1]."""
    # Segment i of `after` lists where (belief, action) i leads to, behind a place that stays 0.
    segments = [[beliefs.num, *leads] for leads in beliefs.after]
    after = np.concatenate(segments)
    starts = np.cumsum([0, *(len(s) for s in segments[:-1])])
    worth = np.zeros(horizon + 1)
    value = np.zeros(beliefs.num + 1)
    for k in range(1, horizon + 1):
        onwards = np.add.reduceat(value[after], starts).reshape(-1, NUM_ACTIONS)
        value[:-1] = (beliefs.entering * (1.0 + worth[k - 1]) + onwards).max(1)
        worth[k] = value[beliefs.first].sum() / num_others
    return worth
