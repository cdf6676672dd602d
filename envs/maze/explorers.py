"""The search of an explorer for a goal that may be anywhere, in many mazes at once.

The explorer goes to the nearest cell it has not been in, of several a random one, until it has
entered the goal. Every way there but its last step leads over cells it has been in, so that all it
has to know of the walls are those beside it: it needs no map. In a perfect maze (a tree) that is a
depth-first search in random order, and when it first enters a goal can be told exactly. With the
start as the root,

    t(g) = d(g) + 2 * (sizes of the branches it went into on the way and came back from)

At each fork of the way to g the branches taken before the right one are a random subset of the
others: each number of them is as likely, and each subset of that number. In expectation
``t(g) = F - size(g)``, F being the free cells and size(g) the cells of the branch that begins with
g; over a goal uniform over the cells other than the start ``F - (mean d)``.

With loops there is no such form, and some tours are walked.
"""

from __future__ import annotations

from itertools import count
from math import comb
from typing import NamedTuple

import numpy as np
import torch

from .batch import FAR, Mazes

__all__ = ["find_times", "first_finds", "tours"]

SHARES = torch.tensor(
    [[1.0 / ((m + 1) * comb(m, n)) if n <= m else 0.0 for n in range(4)] for m in range(4)],
    dtype=torch.float64,
)
"""The share of each way to take n of m branches of a fork before the one that leads on."""


class Tree(NamedTuple):
    """Perfect mazes, the start at the root.

    Attributes:
        parent: int64 [N, P]; the root's, and that of a cell out of reach, is the cell itself.
        size: int64 [N, P], cells of the branch that begins with a cell, itself included.
        siblings: int64 [N, P, 4], the other cells that a cell's parent leads on to; the cell
            itself where there are fewer.
    """

    parent: torch.Tensor
    size: torch.Tensor
    siblings: torch.Tensor


def _trees(mazes: Mazes) -> Tree:
    next_cell, distance = mazes.next_place, mazes.distance
    num_mazes, places, _ = next_cell.shape
    itself = torch.arange(places).expand(num_mazes, -1)
    around = next_cell.reshape(num_mazes, -1)  # [N, P, 4] to [N, P * 4]
    nearer = distance.gather(1, around).reshape(num_mazes, places, 4) < distance[..., None]
    parent = torch.where(
        nearer.any(-1), next_cell.gather(2, nearer.long().argmax(-1, keepdim=True))[..., 0], itself
    )
    size = torch.ones_like(parent)
    for depth in range(int(distance[distance < FAR].max()), 0, -1):
        size.scatter_add_(1, parent, torch.where(distance == depth, size, 0))
    siblings = around.gather(
        1, (4 * parent[..., None] + torch.arange(4)).reshape(num_mazes, -1)
    ).reshape(num_mazes, places, 4)
    grandparent = parent.gather(1, parent)
    none = (siblings == parent[..., None]) | (siblings == grandparent[..., None])
    root = (parent == itself)[..., None]
    return Tree(parent, size, torch.where(none | root, itself[..., None], siblings))


def first_finds(mazes: Mazes, horizon: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Times when the explorer first enters its goal in perfect mazes, exactly.

    Args:
        mazes: Perfect mazes, of an agent that does not turn.
        horizon: Steps T.

    Returns:
        Probabilities of the step, float64 [N, T + 1], which sum to 1 where the goal is found for
        certain; the expected step, float64 [N], however late, infinite where there is no way.
    """
    parent, size, siblings = _trees(mazes)
    goal, rows = mazes.goal, torch.arange(len(mazes.goal))
    extra = torch.zeros(len(goal), horizon + 1, dtype=torch.float64)  # by steps into other branches
    extra[:, 0] = 1.0
    cell = goal
    while (cell != parent[rows, cell]).any():
        beside = siblings[rows, cell]  # [N, 4]
        sizes = torch.where(beside == cell[:, None], 0, size.gather(1, beside))
        sizes = sizes.sort(1, descending=True).values[:, :3]  # a fourth way leads back
        fork = sizes[:, 0] > 0
        extra[fork] = _behind_a_fork(extra[fork], sizes[fork])
        cell = parent[rows, cell]
    distance = mazes.goal_distance
    found = _shifted(extra, distance)
    cells = (mazes.distance < FAR).sum(1)
    expected = (cells - size[rows, goal]).double()
    return found, torch.where(distance < FAR, expected, torch.inf)


def _behind_a_fork(extra: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """Probabilities of extra steps, with those in the branches of a fork added.

    Args:
        extra: float64 [M, T + 1].
        sizes: int64 [M, 3], of the branches that lead elsewhere; 0 where there are fewer.
    """
    others = (sizes > 0).sum(1)  # [M]
    after = torch.zeros_like(extra)
    for subset in range(8):
        taken = torch.tensor([bool(subset >> slot & 1) for slot in range(3)])
        among = ~(taken & (sizes == 0)).any(1)
        share = torch.where(among, SHARES[others, taken.sum()], 0.0)
        after += share[:, None] * _shifted(extra, 2 * (sizes * taken).sum(1))
    return after


def _shifted(values: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    """Rows moved to the right by `steps`, int64 [N]; what leaves them is lost."""
    source = torch.arange(values.shape[1]) - steps[:, None]
    return torch.where(source >= 0, values.gather(1, source.clamp(min=0)), 0.0)


def tours(
    mazes: Mazes, pairs: torch.Tensor | None, num_tours: int, seed: int, slack: int = 1
) -> torch.Tensor:
    """First-visit times of tours of the explorer, ties broken at random.

    Args:
        mazes: The mazes.
        pairs: int32 [N, P * poses, P], `pair_distances`; needed where there are loops, and of
            agents that turn.
        num_tours: Tours K of each maze.
        seed: Of what breaks ties. A maze's tours do not depend on the mazes beside it.
        slack: A cell may come before another one if it is less than this many actions farther:
            with 1 the nearest comes first. Tours with more slack are no longer an explorer's,
            but more varied; with it all mazes need `pairs`.

    Returns:
        int64 [N, K, P]; 0 at the start, `FAR` for cells that cannot be reached.
    """
    priority = slack * _priorities(mazes, num_tours, seed)
    times = torch.empty(priority.shape, dtype=torch.int64)
    trees = torch.zeros_like(mazes.goal, dtype=torch.bool)
    if mazes.poses == 1 and slack == 1:
        trees = mazes.perfect
    if trees.any():
        times[trees] = _depth_first(mazes.rows(trees), priority[trees])
    if not trees.all():
        assert pairs is not None
        others = ~trees
        times[others] = _nearest_first(mazes.rows(others), pairs[others], priority[others])
    return times


def _priorities(mazes: Mazes, num_tours: int, seed: int) -> torch.Tensor:
    """Numbers in [0, 1) that break ties, float32 [N, K, P]: the lower goes first."""
    num_mazes, places = mazes.free.shape
    priority = np.zeros((num_mazes, num_tours, places), dtype=np.float32)
    for row, (key, cells) in enumerate(zip(mazes.keys, mazes.free.sum(1).tolist(), strict=True)):
        rng = np.random.default_rng((seed, key))
        priority[row, :, :cells] = rng.random((num_tours, cells), dtype=np.float32)
    return torch.from_numpy(priority)


def _depth_first(mazes: Mazes, priority: torch.Tensor) -> torch.Tensor:
    """Tours of perfect mazes, int64 [N, K, P]: times are sums over the cells on the way."""
    parent, size, siblings = _trees(mazes)
    _, num_tours, places = priority.shape
    times = torch.where(mazes.distance > 0, 1, 0)[:, None].repeat(1, num_tours, 1)
    for slot in range(4):
        sibling = siblings[..., slot]
        branch = torch.where(sibling == torch.arange(places), 0, 2 * size.gather(1, sibling))
        # [N, K, P], of siblings [N, P]
        first = priority.gather(2, sibling[:, None].expand_as(priority)) < priority
        times += branch[:, None] * first
    up = parent
    for _ in range(places.bit_length()):  # twice as far up every time
        times += times.gather(2, up[:, None].expand_as(times))
        up = up.gather(1, up)
    return torch.where((mazes.distance < FAR)[:, None], times, FAR)


def _nearest_first(mazes: Mazes, pairs: torch.Tensor, priority: torch.Tensor) -> torch.Tensor:
    """Tours of any mazes, int64 [N, K, P], walked action by action."""
    num_mazes, num_tours, num_cells = priority.shape
    num_places = num_cells * mazes.poses
    next_place, pairs = mazes.next_place.flatten(0, 1), pairs.flatten(0, 1)
    maze = torch.arange(num_mazes).repeat_interleave(num_tours)  # [M], M = N K walkers
    # From here on infinite for cells that are out of reach or have been entered.
    unreached = (mazes.distance == FAR)[:, None]
    priority = priority.masked_fill(unreached, torch.inf).reshape(-1, num_cells)  # [M, P]
    times = torch.full(priority.shape, FAR)
    walker, place = torch.arange(len(maze)), mazes.start[maze]
    target = place // mazes.poses
    for time in count():
        cell = place // mazes.poses
        new = priority[walker, cell].isfinite()
        times[walker[new], cell[new]] = time
        priority[walker[new], cell[new]] = torch.inf
        row = num_places * maze[walker]
        arrived = cell == target
        left = pairs[(row + place)[arrived]] + priority[walker[arrived]]  # [M', P]
        best = left.min(1)
        target[arrived] = best.indices
        going = torch.ones_like(arrived)
        going[arrived] = best.values.isfinite()
        walker, place, target, row = walker[going], place[going], target[going], row[going]
        if not len(walker):
            return times.reshape(num_mazes, num_tours, num_cells)
        ahead = next_place[row + place]  # [M, A]
        steps = pairs.take((row[:, None] + ahead) * num_cells + target[:, None])
        place = ahead.gather(1, steps.argmin(1, keepdim=True))[:, 0]
    raise AssertionError  # a tour comes to an end


def find_times(at: torch.Tensor, horizon: int) -> torch.Tensor:
    """Shares of K tours that first enter the goal at each step, float64 [N, T + 1].

    Args:
        at: int64 [N, K], when they do.
        horizon: Steps T.
    """
    found = torch.zeros(len(at), horizon + 2, dtype=torch.float64)
    found.scatter_add_(1, at.clamp(max=horizon + 1), torch.ones_like(at, dtype=torch.float64))
    return found[:, :-1] / at.shape[1]
