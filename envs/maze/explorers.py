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

from math import comb
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Mazes", "compile_mazes", "find_times", "first_finds", "pair_distances", "tours"]

FAR = 2**30
"""Distance of a cell that cannot be reached, and the time of a visit that is never made."""

MOST_CELLS = 2**13
"""Free cells of a maze with loops: there are as many distances as pairs of cells."""

SHARES = torch.tensor(
    [[1.0 / ((m + 1) * comb(m, n)) if n <= m else 0.0 for n in range(4)] for m in range(4)],
    dtype=torch.float64,
)
"""The share of each way to take n of m branches of a fork before the one that leads on."""


class Mazes(NamedTuple):
    """N mazes, each with a start, padded to P cells that are numbered as in their layouts.

    Attributes:
        next_cell: int64 [N, P, 4], the cell an action leads to; the same one if a wall blocks it.
        free: bool [N, P], True for the free cells.
        start: int64 [N].
        distance: int64 [N, P], moves from the start; `FAR` if there is no way.
        perfect: bool [N], whether the cells that can be reached are a tree.
        keys: N numbers, each a maze's own whatever mazes are beside it.
    """

    next_cell: torch.Tensor
    free: torch.Tensor
    start: torch.Tensor
    distance: torch.Tensor
    perfect: torch.Tensor
    keys: list[int]

    def rows(self, chosen: torch.Tensor) -> Mazes:
        """The mazes of a mask, bool [N]."""
        keys = [key for key, kept in zip(self.keys, chosen.tolist(), strict=True) if kept]
        next_cell, free, start, distance, perfect, _ = self
        return Mazes(
            next_cell[chosen], free[chosen], start[chosen], distance[chosen], perfect[chosen], keys
        )


def compile_mazes(walls: NDArray[np.bool_], start: NDArray[np.int64]) -> Mazes:
    """Tables of mazes.

    Args:
        walls: [N, H, W], the border closed; smaller layouts are padded with wall.
        start: [N], cell numbers.
    """
    num_mazes, _, width = walls.shape
    free = torch.from_numpy(~walls).reshape(num_mazes, -1)  # [N, H * W]
    numbers = free.long().cumsum(1) - 1
    num_free = numbers[:, -1] + 1
    places = int(num_free.max())
    where = torch.argsort(~free, dim=1, stable=True)[
        :, :places
    ]  # [N, P], flat cells, free ones first
    inside = torch.arange(places) < num_free[:, None]
    padded = torch.where(inside, where, width + 1)  # any cell but the border's
    next_cell = torch.stack(
        [
            torch.where(
                inside & free.gather(1, padded + step),
                numbers.gather(1, padded + step),
                torch.arange(places),
            )
            for step in (-width, width, -1, 1)
        ],
        -1,
    )
    starts = torch.from_numpy(start)
    distance = _distances(next_cell, starts)
    reached = distance < FAR
    ways = (next_cell != torch.arange(places)[:, None]).sum(-1)  # [N, P]
    edges = (ways * reached).sum(1) // 2
    keys = [
        int.from_bytes(cells[kept].numpy().tobytes(), "little")
        for cells, kept in zip(
            torch.stack((where // width, where % width), -1).to(torch.int16), inside, strict=True
        )
    ]
    return Mazes(next_cell, inside, starts, distance, edges == reached.sum(1) - 1, keys)


def _distances(next_cell: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """Moves from the starts, int64 [N, P]."""
    num_mazes, places, _ = next_cell.shape
    distance = torch.full((num_mazes, places), FAR)
    distance.scatter_(1, start[:, None], 0)
    around = next_cell.reshape(num_mazes, -1)
    for step in range(1, places):
        beside = distance.gather(1, around).reshape(num_mazes, places, 4).amin(-1)
        new = (beside == step - 1) & (distance == FAR)
        if not new.any():
            break
        distance[new] = step
    return distance


def pair_distances(next_cell: torch.Tensor) -> torch.Tensor:
    """Moves between any two cells, int32 [N, P, P]; `FAR` if there is no way.

    Raises:
        ValueError: If there are more cells than `MOST_CELLS`.
    """
    num_mazes, places, _ = next_cell.shape
    if places > MOST_CELLS:
        raise ValueError(
            f"explorers of mazes with loops, and of finds that lead to random cells, are computed "
            f"for mazes of at most {MOST_CELLS} free cells, got {places}"
        )
    reached = torch.eye(places, dtype=torch.bool).repeat(num_mazes, 1)  # [N * P, P]
    offset = places * torch.arange(num_mazes)[:, None]
    around = [(next_cell[..., action] + offset).reshape(-1) for action in range(4)]
    distance = torch.zeros(reached.shape, dtype=torch.int32)
    while True:
        distance += ~reached
        spread = reached.clone()
        for beside in around:
            spread |= reached[beside]
        if torch.equal(spread, reached):
            break
        reached = spread
    distance[~reached] = FAR
    return distance.reshape(num_mazes, places, places)


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
    next_cell, _, _, distance, *_ = mazes
    num_mazes, places, _ = next_cell.shape
    itself = torch.arange(places).expand(num_mazes, -1)
    around = next_cell.reshape(num_mazes, -1)
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


def first_finds(
    mazes: Mazes, goal: torch.Tensor, horizon: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """When the explorer first enters its goal in perfect mazes, exactly.

    Args:
        mazes: Perfect mazes.
        goal: int64 [N], cell numbers other than the starts.
        horizon: Steps T.

    Returns:
        Probabilities of the step, float64 [N, T + 1], which sum to 1 where the goal is found for
        certain; the expected step, float64 [N], however late, infinite where there is no way.
    """
    parent, size, siblings = _trees(mazes)
    rows = torch.arange(len(goal))
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
    distance = mazes.distance[rows, goal]
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


def tours(mazes: Mazes, pairs: torch.Tensor | None, num_tours: int, seed: int) -> torch.Tensor:
    """First-visit times of tours of the explorer, ties broken at random.

    Args:
        mazes: The mazes.
        pairs: int32 [N, P, P], `pair_distances`; needed where there are loops.
        num_tours: Tours K of each maze.
        seed: Of what breaks ties. A maze's tours do not depend on the mazes beside it.

    Returns:
        int64 [N, K, P]; 0 at the start, `FAR` for cells that cannot be reached.
    """
    priority = _priorities(mazes, num_tours, seed)
    times = torch.empty(priority.shape, dtype=torch.int64)
    perfect = mazes.perfect
    if perfect.any():
        times[perfect] = _depth_first(mazes.rows(perfect), priority[perfect])
    if not perfect.all():
        assert pairs is not None
        loops = ~perfect
        times[loops] = _nearest_first(mazes.rows(loops), pairs[loops], priority[loops])
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
        first = priority.gather(2, sibling[:, None].expand_as(priority)) < priority
        times += branch[:, None] * first
    up = parent
    for _ in range(
        int(parent.shape[1]).bit_length()
    ):  # times are sums over all cells on the way from the root
        times += times.gather(2, up[:, None].expand_as(times))
        up = up.gather(1, up)
    return torch.where((mazes.distance < FAR)[:, None], times, FAR)


def _nearest_first(mazes: Mazes, pairs: torch.Tensor, priority: torch.Tensor) -> torch.Tensor:
    """Tours of any mazes, int64 [N, K, P], from one new cell to the next."""
    num_mazes, num_tours, places = priority.shape
    maze = torch.arange(num_mazes).repeat_interleave(num_tours)  # [M], M = N K walkers
    next_cell, pairs = mazes.next_cell.reshape(-1, 4), pairs.reshape(-1, places)
    # From here on infinite for cells that are out of reach or have been entered.
    unreached = (mazes.distance == FAR)[:, None]
    priority = priority.masked_fill(unreached, torch.inf).reshape(-1)  # [M * P]
    times = torch.full((len(priority),), FAR)
    walker = torch.arange(len(maze))
    cell, time = mazes.start[maze], torch.zeros(len(maze), dtype=torch.int64)
    while len(walker):
        row = walker * places
        times[row + cell] = time
        priority[row + cell] = torch.inf
        place = maze[walker] * places + cell
        beside = next_cell.index_select(0, place)  # [M', 4]
        lowest, way = priority.take(row[:, None] + beside).min(1)
        target = beside.gather(1, way[:, None])[:, 0]
        stuck = lowest.isinf()
        far = torch.ones_like(cell)
        if stuck.any():
            steps = pairs[place[stuck]]  # [S, P]
            lowest[stuck], target[stuck] = (steps + priority.view(-1, places)[walker[stuck]]).min(1)
            far[stuck] = steps.gather(1, target[stuck, None])[:, 0].long()
        going = lowest.isfinite()
        walker, cell, time = walker[going], target[going], (time + far)[going]
    return times.reshape(num_mazes, num_tours, places)


def find_times(times: torch.Tensor, goal: torch.Tensor, horizon: int) -> torch.Tensor:
    """Shares of K tours that first enter the goal at each step, float64 [N, T + 1].

    Args:
        times: int64 [N, K, P].
        goal: int64 [N].
        horizon: Steps T.
    """
    at = times[torch.arange(len(goal)), :, goal]  # [N, K]
    found = torch.zeros(len(goal), horizon + 2, dtype=torch.float64)
    found.scatter_add_(1, at.clamp(max=horizon + 1), torch.ones_like(at, dtype=torch.float64))
    return found[:, :-1] / times.shape[1]
