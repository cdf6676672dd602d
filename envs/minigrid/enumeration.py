"""Every task of Minigrid's small families, without drawing one.

What a family's generator can give is gone through choice by choice. The counts:

    LavaGap           (n - 4)(n - 2) gaps: 3, 8, 15 for n = 5, 6, 7
    SimpleCrossing,   42, 456 and 1,576 for one to three rivers in 9 x 9; 37,128 for five in 11 x 11
      LavaCrossing
    Empty-Random      every cell but the goal's, in four directions: 32 and 60
    DoorKey           48, 816, 20,400 for n = 5, 6, 8; 6,568,016 for n = 16
    Memory            four arrangements of objects for each column of the agent, and for each end of
                      the hallway where that varies: 16, 24, 32, 40, 196, 396

The rest of a task (what it is told, its steps, its view) is that of seed 0, which all share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations, permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .codes import LOCKED, NOTHING, TEXTS, WALL, code_of
from .tasks import MinigridTask

__all__ = ["enumerated"]

Codes = NDArray[np.uint8]
GOAL = code_of("goal", "green")

MOST = 100_000
"""More tasks than this are not made."""


def enumerated(env: Any, example: MinigridTask) -> Iterator[MinigridTask]:
    """Every task of an environment.

    Args:
        env: Minigrid's own environment.
        example: One of its tasks.

    Raises:
        ValueError: If they are too many, or not known one by one.
    """
    family = FAMILIES.get(type(env).__name__)
    if family is None:
        raise ValueError(
            f"the tasks of {example.env_id} are not known one by one, as those of "
            f"{', '.join(FAMILIES)} are: read them by seeds, seeds=range(n)"
        )
    return family(env, replace(example, seed=None))


def _room(width: int, height: int) -> Codes:
    """Empty room with a wall around it; [y, x]."""
    codes = np.full((height, width), WALL, dtype=np.uint8)
    codes[1:-1, 1:-1] = NOTHING
    return codes


def _text(codes: Codes) -> str:
    return "\n".join("".join(TEXTS[int(code)] for code in row) for row in codes)


def _obstacle(env: Any) -> int:
    """The code of what the gaps of an environment lead through."""
    thing = env.obstacle_type()
    return code_of(thing.type, thing.color)


def _empty(env: Any, blank: MinigridTask) -> Iterator[MinigridTask]:
    codes = _room(env.width, env.height)
    codes[-2, -2] = GOAL
    task = replace(blank, grid=_text(codes), agent=(1, 1), direction=0)
    if env.agent_start_pos is not None:
        yield replace(task, agent=tuple(env.agent_start_pos), direction=env.agent_start_dir)
        return
    free = zip(*np.nonzero(codes.T == NOTHING), strict=True)  # (x, y)
    for (x, y), direction in product(free, range(4)):
        yield replace(task, agent=(int(x), int(y)), direction=direction)


def _lava_gap(env: Any, blank: MinigridTask) -> Iterator[MinigridTask]:
    n, obstacle = env.size, _obstacle(env)
    for x, y in product(range(2, n - 2), range(1, n - 1)):
        codes = _room(n, n)
        codes[-2, -2] = GOAL
        codes[1:-1, x] = obstacle
        codes[y, x] = NOTHING
        yield replace(blank, grid=_text(codes), agent=(1, 1), direction=0)


def _crossing(env: Any, blank: MinigridTask) -> Iterator[MinigridTask]:
    """Rivers of each choice, every order of crossing them, and an opening in each.

    Two orders and openings may give the same grid, which is one task.
    """
    n, num_rivers = env.width, env.num_crossings
    lines = [(axis, at) for axis in "vh" for at in range(2, n - 2, 2)]
    code = _obstacle(env)
    seen = set()
    for rivers in combinations(lines, num_rivers):
        columns = sorted(at for axis, at in rivers if axis == "v")
        rows = sorted(at for axis, at in rivers if axis == "h")
        room = _room(n, n)
        room[-2, -2] = GOAL
        room[rows, 1:-1] = code
        room[1:-1, columns] = code
        for order in set(permutations("v" * len(columns) + "h" * len(rows))):
            for openings in product(*_openings(n, columns, rows, order)):
                codes = room.copy()
                for x, y in openings:
                    codes[y, x] = NOTHING
                if (grid := codes.tobytes()) not in seen:
                    seen.add(grid)
                    yield replace(blank, grid=_text(codes), agent=(1, 1), direction=0)


def _openings(
    n: int, columns: list[int], rows: list[int], order: tuple[str, ...]
) -> Iterator[list[tuple[int, int]]]:
    """Cells (x, y) where each river may be open, in the order of crossing."""
    across, down = [0, *columns, n - 1], [0, *rows, n - 1]
    i = j = 0
    for axis in order:
        if axis == "v":  # through a vertical river, somewhere beside the room it is crossed from
            yield [(across[i + 1], y) for y in range(down[j] + 1, down[j + 1])]
            i += 1
        else:
            yield [(x, down[j + 1]) for x in range(across[i] + 1, across[i + 1])]
            j += 1


def _door_key(env: Any, blank: MinigridTask) -> Iterator[MinigridTask]:
    n = env.width
    cells = [(wall - 1) * (n - 2) for wall in range(2, n - 2)]  # left of the wall
    number = sum(4 * count * (count - 1) * (n - 3) for count in cells)
    if number > MOST:
        raise ValueError(
            f"{blank.env_id} has {number:,} tasks, more than the {MOST:,} that are made one by "
            "one: read some by seeds, seeds=range(n)"
        )
    for wall, door in product(range(2, n - 2), range(1, n - 2)):
        room = _room(n, n)
        room[-2, -2] = GOAL
        room[:, wall] = WALL
        room[door, wall] = code_of("door", "yellow", LOCKED)
        left = list(product(range(1, wall), range(1, n - 1)))
        for agent, key in permutations(left, 2):
            codes = room.copy()
            codes[key[1], key[0]] = code_of("key", "yellow")
            task = replace(blank, grid=_text(codes), agent=agent, direction=0)
            yield from (replace(task, direction=direction) for direction in range(4))


def _memory(env: Any, blank: MinigridTask) -> Iterator[MinigridTask]:
    n = env.size
    ends = range(4, n - 2) if env.random_length else [n - 3]
    things = {name: code_of(name, "green") for name in ("key", "ball")}
    for end, start, upper in product(ends, things, things):
        codes, middle = _memory_walls(n, end), n // 2
        lower = "ball" if upper == "key" else "key"
        codes[middle - 1, 1] = things[start]
        codes[middle - 2, end + 1], codes[middle + 2, end + 1] = things[upper], things[lower]
        above, below = (end + 1, middle - 1), (end + 1, middle + 1)
        targets = (above, below) if start == upper else (below, above)
        task = replace(blank, grid=_text(codes), agent=(1, middle), direction=0, targets=targets)
        yield from (replace(task, agent=(x, middle)) for x in range(1, end + 1))


def _memory_walls(n: int, end: int) -> Codes:
    codes, middle = _room(n, n), n // 2
    for y in (middle - 2, middle + 2):
        codes[y, 1:5] = WALL
    for y in (middle - 1, middle + 1):
        codes[y, 4:end] = WALL
    codes[np.arange(n) != middle, end] = WALL
    codes[:, end + 2] = WALL
    return codes


FAMILIES: dict[str, Callable[[Any, MinigridTask], Iterator[MinigridTask]]] = {
    "EmptyEnv": _empty,
    "CrossingEnv": _crossing,
    "LavaGapEnv": _lava_gap,
    "DoorKeyEnv": _door_key,
    "MemoryEnv": _memory,
}
"""Class of Minigrid to its tasks. Each is yielded once."""
