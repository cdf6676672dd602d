"""Agents that turn and do not learn: shortest ways, wall followers, an explorer with a map.

An agent that turns stands on a cell and looks in a direction, 0 right, 1 down, 2 left, 3 up; a
turn to the right, a turn to the left and a step ahead cost an action each, as in Minigrid. Its
place is 4 x cell number + direction. It starts in the task's direction; to the right if the task
says none.

- *shortest*: knows where the goal is.
- *explorer*: keeps a map of what its view showed, goes to the nearest place from where it shows
  something new, and the shortest way that the map has once the goal is on it. Its view is a square
  ahead of it, through walls or with Minigrid's shadows; that the border is closed it knows.
- *right hand*, *left hand*: follow the wall on that side, and see no more than the cells beside
  them. In a maze with loops they may go round for ever.

The explorer finds every goal of the eight named mazes (`envs.maze.named`): in 134 actions on
average with a view of 5 x 5, in 106 with 7 x 7 and in 101 with shadows, since what it sees through
walls may lead it astray. A wall follower walks the labyrinths by the shortest way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .dynamics import FACING, compile_layout
from .layout import Layout
from .tasks import MazeTask
from .views import UNSEEN, Sight, views

__all__ = [
    "TurningActions",
    "explorer_actions",
    "follower_actions",
    "shortest_actions",
    "turning_actions",
    "turning_return",
]

Hand = Literal["right", "left"]


class TurningActions(NamedTuple):
    """Actions until the goal is entered, float64 [num_tasks] each; infinite where it never is."""

    shortest: NDArray[np.float64]
    explorer: NDArray[np.float64]
    right_hand: NDArray[np.float64]
    left_hand: NDArray[np.float64]


def turning_actions(
    tasks: Iterable[MazeTask], *, view: int = 5, see_through: bool = True
) -> TurningActions:
    """Actions that each policy needs in each task.

    Args:
        tasks: Maze tasks.
        view: Side of the square that the explorer sees, odd, 3 or more; with shadows 5 or 7.
        see_through: Whether walls hide nothing from it.

    Raises:
        ValueError: If `view` is no such side.
    """
    rows = [
        (
            shortest_actions(task),
            explorer_actions(task, view=view, see_through=see_through),
            follower_actions(task, hand="right"),
            follower_actions(task, hand="left"),
        )
        for task in tasks
    ]
    return TurningActions(*np.array(rows, dtype=np.float64).reshape(-1, 4).T)


def turning_return(actions: NDArray[np.float64], horizon: int) -> NDArray[np.float64]:
    """Minigrid's return of a goal entered with action t: 1 - 0.9 t / T, and 0 after T actions."""
    return np.where(actions <= horizon, 1.0 - 0.9 * np.minimum(actions, horizon) / horizon, 0.0)


def shortest_actions(task: MazeTask) -> float:
    """Actions of the shortest way from the start to the goal, turns included."""
    maze = _compiled(task.layout)
    way = _shortest_way(
        maze, _start(task), maze.cells, lambda place: place // 4 == task.goal_number
    )
    return np.inf if way is None else len(way)


def explorer_actions(task: MazeTask, *, view: int = 5, see_through: bool = True) -> float:
    """Actions of the explorer with a map until it enters the goal.

    Args:
        task: The maze, start and goal.
        view: Side of the square that it sees, odd: `view` cells ahead, its own row included, and
            half as many to each side.
        see_through: Whether walls hide nothing; if not, `view` is 5 or 7.

    Raises:
        ValueError: If `view` is no such side.
    """
    if view < 3 or view % 2 == 0:
        raise ValueError(f"view must be an odd side of at least 3, got {view}: try 5 or 7")
    maze = _compiled(task.layout, view, see_through)
    goal = task.goal_number
    place, actions = _start(task), 0
    known = maze.sees[place]

    def arrives(place: int) -> bool:
        return place // 4 == goal

    def shows_more(place: int) -> bool:
        return bool(maze.sees[place] & ~known)

    while not arrives(place):
        seen = known >> goal & 1
        way = _shortest_way(maze, place, known, arrives) if seen else None
        way = _shortest_way(maze, place, known, shows_more) if way is None else way
        if way is None:
            return np.inf
        for place in way:
            known |= maze.sees[place]
        actions += len(way)
    return actions


def follower_actions(task: MazeTask, *, hand: Hand = "right") -> float:
    """Actions of a wall follower until it enters the goal.

    It turns to the side of its hand where that is free, else goes straight on, else turns to the
    other side, else back.
    """
    towards = 1 if hand == "right" else -1
    ahead = _compiled(task.layout).ahead
    place, actions = _start(task), 0
    been: set[int] = set()
    while place // 4 != task.goal_number:
        if place in been:
            return np.inf
        been.add(place)
        cell, looks = divmod(place, 4)
        for turns in (towards, 0, -towards, 2):
            turned = 4 * cell + (looks + turns) % 4
            if ahead[turned] != turned:
                place, actions = ahead[turned], actions + abs(turns) + 1
                break
    return actions


@dataclass(frozen=True, eq=False)
class _TurningMaze:
    """A layout for agents that turn, by place.

    Attributes:
        ahead: The place a step ahead leads to; the same where a wall blocks it.
        sees: The cells inside the border that the view shows: bit n is free cell n, bits from the
            number of free cells on are walls.
        cells: The bits of all free cells.
    """

    ahead: list[int]
    sees: list[int]
    cells: int


@lru_cache(maxsize=256)
def _compiled(layout: Layout, view: int = 3, see_through: bool = True) -> _TurningMaze:
    bits = {cell: 1 << number for number, cell in enumerate(layout.free_cells)}
    for row in range(1, layout.height - 1):
        for column in range(1, layout.width - 1):
            bits.setdefault((row, column), 1 << len(bits))
    shown = None if see_through else _lit(layout, view)
    ahead: list[int] = []
    sees: list[int] = []
    for number, (row, column) in enumerate(layout.free_cells):
        for direction, (down, right) in enumerate(FACING):
            there = layout.cell_numbers.get((row + down, column + right), number)
            ahead.append(4 * there + direction)
            side_down, side_right = FACING[(direction + 1) % 4]
            seen = 0
            for far in range(view):
                for aside in range(-(view // 2), view // 2 + 1):
                    if shown is None or shown[4 * number + direction, -1 - far, view // 2 + aside]:
                        cell = row + far * down + aside * side_down
                        seen |= bits.get((cell, column + far * right + aside * side_right), 0)
            sees.append(seen)
    return _TurningMaze(ahead, sees, (1 << layout.num_free) - 1)


def _lit(layout: Layout, view: int) -> NDArray[np.bool_]:
    """Cells that are seen from each place, bool [P * 4, view, view], the farthest row first."""
    tables = compile_layout(layout, turning=True)
    seen = views(tables, Sight(f"egocentric-{view}"))  # type: ignore[arg-type]
    lit: NDArray[np.bool_] = (seen != UNSEEN).reshape(-1, view, view)  # [P * 4, view, view]
    return lit


def _start(task: MazeTask) -> int:
    return 4 * task.start_number + (task.direction or 0)


def _shortest_way(
    maze: _TurningMaze, start: int, known: int, arrived: Callable[[int], bool]
) -> list[int] | None:
    """The places of a shortest way over known cells to the first place that has arrived.

    Ties fall to turns to the right, then to the left. None if there is no such way.
    """
    came = {start: start}
    queue = deque([start])
    while queue:
        place = queue.popleft()
        if arrived(place):
            way: list[int] = []
            while place != start:
                way.append(place)
                place = came[place]
            return way[::-1]
        cell, looks = divmod(place, 4)
        for other in (4 * cell + (looks + 1) % 4, 4 * cell + (looks - 1) % 4, maze.ahead[place]):
            if other not in came and known >> other // 4 & 1:
                came[other] = place
                queue.append(other)
    return None
