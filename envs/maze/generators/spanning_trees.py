"""Perfect mazes: spanning trees of a lattice of rooms, by four algorithms.

    depth_first     long winding corridors and few dead ends ("recursive backtracker")
    uniform_tree    every perfect maze is equally likely (Aldous 1990, Broder 1989)
    minimum_tree    short branches: the tree of the least total weight (Kruskal, Boruvka, Prim)
    frontier        many short dead ends: Prim's algorithm as mazes are often made

All n mazes are made in lock step, one move of each at a time.
"""

from __future__ import annotations

import math

import torch

from .lattice import CHOICES, Ring, carve, passages_of_parents, rooms_across

__all__ = [
    "depth_first",
    "frontier",
    "minimum_tree",
    "minimum_tree_passages",
    "uniform_tree",
]


def depth_first(
    n: int, side: int, generator: torch.Generator, device: torch.device
) -> torch.Tensor:
    """Depth-first mazes from a uniformly random room.

    From there go to a random neighbour that nobody has been to; where there is none go back the way
    one came. In place of a stack every room remembers from where it was first entered: a walk is
    over after at most 2 (k^2 - 1) moves.

    Args:
        n: Number of mazes.
        side: Side of a maze, odd, 5 to 61.
        generator: Source of everything random, on `device`.
        device: Device of the result.

    Returns:
        Walls, bool [n, side, side].

    Raises:
        ValueError: If `side` is even or out of range.
    """
    ring = Ring(n, rooms_across(side), device)
    room, closed = ring.random_rooms(generator), ring.closed()
    parent = torch.zeros_like(closed, dtype=torch.int64)  # [n * P]
    parent.index_copy_(0, room, room)
    closed.index_fill_(0, room, 1)
    weights = torch.tensor([1, 2, 4, 8], device=device, dtype=torch.int8)
    step_of = torch.tensor(_choices(ring.steps), device=device)  # [16 * 12]
    for _ in range(2 * (ring.k**2 - 1) - 1):
        around = closed.index_select(0, (room.unsqueeze(1) + ring.moves).view(-1)).view(n, 4)
        code = (around * weights).sum(1)  # [n], one of 16 sets of closed neighbours
        draw = torch.randint(CHOICES, (n,), generator=generator, device=device)
        step = step_of.index_select(0, draw.add_(code, alpha=CHOICES))  # 0 where all are closed
        back = parent.index_select(0, room)
        new = room + step
        parent.index_copy_(0, new, torch.where(step == 0, back, room))
        closed.index_fill_(0, new, 1)
        room = torch.where(step == 0, back, new)
    return carve(*passages_of_parents(parent.view(n, ring.across, ring.across)))


def _choices(steps: tuple[int, ...]) -> list[int]:
    """The step, by set of closed neighbours (up 1, down 2, left 4, right 8) and by draw."""
    table: list[int] = []
    for closed in range(16):
        open_ = [step for bit, step in enumerate(steps) if not closed >> bit & 1] or [0]
        table += (open_[draw % len(open_)] for draw in range(CHOICES))
    return table


PATIENCE = 64


def uniform_tree(
    n: int, side: int, generator: torch.Generator, device: torch.device
) -> torch.Tensor:
    """Uniform spanning trees.

    The algorithm of Aldous and Broder: walk at random until every room has been entered; the
    passages through which rooms were entered for the first time are a uniformly random tree. Mazes
    that are done leave the walk every `PATIENCE` steps, which is when the device is waited for.

    Args:
        n: Number of mazes.
        side: Side of a maze, odd, 5 to 61.
        generator: Source of everything random, on `device`.
        device: Device of the result.

    Returns:
        Walls, bool [n, side, side].

    Raises:
        ValueError: If `side` is even or out of range.
    """
    ring = Ring(n, rooms_across(side), device)
    done = torch.zeros((n, ring.size), dtype=torch.int64, device=device)
    number = torch.arange(n, device=device)  # of the mazes that still walk
    first = ring.first
    room = ring.random_rooms(generator) - first  # within its lattice
    # Steps from the parent; 0 where nobody has been. The root's never counts.
    entered = torch.zeros_like(done)
    entered.view(-1).index_fill_(0, first + room, ring.size)
    step_of = torch.tensor(_steps(ring), device=device)  # [P * 12]
    while len(number):
        entered_by = entered.view(-1)
        for _ in range(PATIENCE):
            draw = torch.randint(CHOICES, (len(room),), generator=generator, device=device)
            step = step_of.index_select(0, draw.add_(room, alpha=CHOICES))
            room = room + step
            place = first + room
            before = entered_by.index_select(0, place)
            entered_by.index_copy_(0, place, torch.where(before == 0, step, before))
        left = (entered != 0).sum(1) < ring.k**2
        done.index_copy_(0, number[~left], entered[~left])
        number, room, entered = number[left], room[left], entered[left]
        first = ring.first[: len(number)]
    parent = ring.first.unsqueeze(1) + torch.arange(ring.size, device=device) - done
    return carve(*passages_of_parents(parent.view(n, ring.across, ring.across)))


def _steps(ring: Ring) -> list[int]:
    """The step, by room and by draw; 0 on the ring, where nobody is."""
    table: list[int] = []
    for row in range(ring.across):
        for column in range(ring.across):
            here = (row > 1, row < ring.k, column > 1, column < ring.k)
            ways = [step for step, way in zip(ring.steps, here, strict=True) if way]
            outside = not (0 < row <= ring.k and 0 < column <= ring.k)
            table += (0 if outside else ways[draw % len(ways)] for draw in range(CHOICES))
    return table


ROOM_BITS, DIRECTION_BITS = 10, 2
RANDOM_BITS = 53 - ROOM_BITS - DIRECTION_BITS


def minimum_tree(
    n: int, side: int, generator: torch.Generator, device: torch.device
) -> torch.Tensor:
    """Minimum spanning trees of uniformly random weights.

    Every wall between two rooms gets a random weight, and the tree of the least total weight is
    carved. Kruskal's algorithm on shuffled walls, Boruvka's and Prim's on such weights all give
    this tree. It is not uniform over trees.

    Args:
        n: Number of mazes.
        side: Side of a maze, odd, 5 to 61.
        generator: Source of everything random, on `device`.
        device: Device of the result.

    Returns:
        Walls, bool [n, side, side].

    Raises:
        ValueError: If `side` is even or out of range.
    """
    return carve(*minimum_tree_passages(n, rooms_across(side), generator, device))


def minimum_tree_passages(
    n: int, k: int, generator: torch.Generator, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """The passages of such trees of k x k rooms, `right` and `down` as `carve` takes them.

    By Prim's algorithm: of all walls around the tree so far the lightest is opened. A weight is a
    float64 that holds a whole number: 41 random bits, then the room behind the wall and the
    direction in which it lies, so that the least weight around a tree says all of the next step.
    """
    ring = Ring(n, k, device)
    total, across = n * ring.size, ring.across
    # Of the wall below each room, then of the wall on its right: [2 * n * P].
    bits = torch.randint(2**RANDOM_BITS, (2 * total,), generator=generator, device=device)
    weights = (bits << (ROOM_BITS + DIRECTION_BITS)).to(torch.float64)
    beside = torch.tensor([-across, 0, total - 1, total], device=device)
    directions = torch.arange(4, device=device)
    closed = ring.closed()
    lightest = torch.full((total,), math.inf, dtype=torch.float64, device=device)
    parent = torch.full((total,), -1, dtype=torch.int64, device=device)
    room = ring.first + across + 1
    for _ in range(k * k - 1):
        closed.index_fill_(0, room, 1)
        around = room.unsqueeze(1) + ring.moves  # [n, 4]
        behind = (around - ring.first.unsqueeze(1) << DIRECTION_BITS) + directions
        around = around.view(-1)
        offered = weights.index_select(0, (room.unsqueeze(1) + beside).view(-1)) + behind.view(-1)
        offered = torch.minimum(offered, lightest.index_select(0, around))
        offered.masked_fill_(closed.index_select(0, around) == 1, math.inf)
        lightest.index_copy_(0, around, offered)
        least = lightest.view(n, ring.size).amin(1).to(torch.int64)
        room = (least >> DIRECTION_BITS & (2**ROOM_BITS - 1)) + ring.first
        parent.index_copy_(0, room, room - ring.moves[least & (2**DIRECTION_BITS - 1)])
        lightest.index_fill_(0, room, math.inf)
    return passages_of_parents(parent.view(n, across, across))


def frontier(n: int, side: int, generator: torch.Generator, device: torch.device) -> torch.Tensor:
    """Frontier mazes from a uniformly random room.

    Again and again: of all walls between the maze so far and the rooms outside one is chosen, all
    equally likely, and opened. (With weights drawn beforehand Prim's algorithm gives another
    distribution, that of `minimum_tree`.)

    The walls around a maze are a list. A wall is taken from a random place of it, and passed over
    if the room behind it has meanwhile been entered another way: every wall is taken once.

    Args:
        n: Number of mazes.
        side: Side of a maze, odd, 5 to 61.
        generator: Source of everything random, on `device`.
        device: Device of the result.

    Returns:
        Walls, bool [n, side, side].

    Raises:
        ValueError: If `side` is even or out of range.
    """
    ring = Ring(n, rooms_across(side), device)
    num_walls = 2 * ring.k * (ring.k - 1)
    closed = ring.closed()
    parent = torch.full_like(closed, -1, dtype=torch.int64)
    # [n * (walls + 1)], walls as 4 * room behind + direction; the last of each maze takes what is
    # no wall of the frontier.
    length = num_walls + 1
    walls = torch.zeros(n * length, dtype=torch.int64, device=device)
    start = torch.arange(n, device=device) * length
    count = torch.zeros_like(start)
    directions = torch.arange(4, device=device)
    room = ring.random_rooms(generator)
    entered = torch.ones_like(room, dtype=torch.bool)
    closed.index_fill_(0, room, 1)
    for step in range(num_walls + 1):
        around = room.unsqueeze(1) + ring.moves  # [n, 4]
        new = closed.index_select(0, around.view(-1)).view(n, 4) == 0
        new &= entered.unsqueeze(1)
        place = torch.where(new, count.unsqueeze(1) + new.cumsum(1) - 1, num_walls)
        walls.index_copy_(
            0, (place + start.unsqueeze(1)).view(-1), (around * 4 + directions).view(-1)
        )
        count = count + new.sum(1)
        if step == num_walls:
            break
        draws = torch.rand(n, generator=generator, device=device)
        # In float32 a draw just below 1 may come to the count itself. An empty list gives the last
        # wall again, behind which somebody has been.
        count = (count - 1).clamp_(min=0)
        chosen = start + torch.minimum((draws * (count + 1)).to(torch.int64), count)
        wall = walls.index_select(0, chosen)
        walls.index_copy_(0, chosen, walls.index_select(0, start + count))
        room = wall >> 2
        entered = closed.index_select(0, room) == 0
        before = parent.index_select(0, room)
        parent.index_copy_(0, room, torch.where(entered, room - ring.moves[wall & 3], before))
        closed.index_fill_(0, room, 1)
    return carve(*passages_of_parents(parent.view(n, ring.across, ring.across)))
