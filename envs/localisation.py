"""What a find is worth to an agent that knows the goal but not where the find has sent it.

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

from envs.dynamics import NUM_ACTIONS, compile_layout
from envs.layout import Layout

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
    every = [reachable_beliefs(layout, goal) for goal in goals]
    offsets = np.cumsum([0, *(b.num for b in every)])
    total = int(offsets[-1])
    # Segment i of `after` lists where (belief, action) i leads to, behind a place that stays 0.
    segments = [
        [total, *(int(offset) + s for s in leads)]
        for b, offset in zip(every, offsets, strict=False)
        for leads in b.after
    ]
    after = np.concatenate([np.array(s) for s in segments])
    starts = np.cumsum([0, *(len(s) for s in segments[:-1])])
    first = np.concatenate([np.array(b.first) + o for b, o in zip(every, offsets, strict=False)])
    first_of = np.repeat(np.arange(len(goals)), [len(b.first) for b in every])
    entering = np.concatenate([b.entering for b in every])
    goal_of = np.repeat(np.arange(len(goals)), [b.num for b in every])
    worth = np.zeros((horizon + 1, len(goals)))
    value = np.zeros(total + 1)
    for k in range(1, horizon + 1):
        onwards = np.add.reduceat(value[after], starts).reshape(total, NUM_ACTIONS)
        find = 1.0 + worth[k - 1, goal_of]
        value[:-1] = (entering * find[:, None] + onwards).max(1)
        summed = np.bincount(first_of, weights=value[first], minlength=len(goals))
        worth[k] = summed / (layout.num_free - 1)
    return worth
