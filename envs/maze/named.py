"""Named mazes: the tests that agents of unsupervised environment design are judged by.

The eight mazes and two corridors of PAIRED, PLR and ACCEL, as in DCD (facebookresearch), minimax
and JaxUED: the same walls, starts and goals in all three. What differs is the limit of steps: 250
in JaxUED, 450 for these sizes in DCD and minimax, so that solve rates are not comparable. DCD calls
SixteenRooms2 SixteenRoomsFewerDoors and the three StandardMazes Maze, Maze2 and Maze3; it draws
the direction of a start at random, here it is JaxUED's.

LabyrinthFlipped is Labyrinth mirrored. A corridor has several goals, each a task.
The perfect mazes that are tested in beside them are in `envs.maze.perfect`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from ..base.tasks import TaskSet
from .files import Picture, read_pictures
from .layout import WALL, Layout
from .tasks import MazeTask

__all__ = ["NAMED_MAZES", "NamedMazes", "named_layouts", "named_mazes"]

# Without their border, which is closed; the names stand above the pictures.
_INTERIORS = (
    """
SixteenRooms   SixteenRooms2  Labyrinth      LabyrinthFlipped
...#..#..#...  ...#.....#...  .............  .............
.>.......#...  .>....#..#...  .###########.  .###########.
...#..#......  ...#..#..#...  .#.........#.  .#.........#.
#.###.##.###.  ####.##.###.#  .#.#######.#.  .#.#######.#.
...#.........  ...#..#......  .#.#.....#.#.  .#.#.....#.#.
......#..#...  ......#..#...  .#.#.###.#.#.  .#.#.###.#.#.
##.#.##.###.#  #.#####.#####  .#.#.#G#.#.#.  .#.#.#G#.#.#.
...#.....#...  ...#..#..#...  .#.#.#.#.#.#.  .#.#.#.#.#.#.
...#..#......  ...#.........  .#...#...#.#.  .#.#...#...#.
.####.##.#.##  ##.##.##.####  .#########.#.  .#.#########.
...#..#..#...  ...#..#..#...  .....#.....#.  .#.....#.....
......#....G.  ......#....G.  ####.#.#####.  .#####.#.####
...#.....#...  ...#..#..#...  >....#.......  .......#....<
""",
    """
Labyrinth2     StandardMaze   StandardMaze2  StandardMaze3
>#...........  .....#>...#..  ...#.#....#..  ...>#.#......
.#.#########.  .###.####.##.  .#.#.####...#  .####.#.####.
.#.#.......#.  .#...........  .#........#..  .#....#.#....
.#.#.#####.#.  .########.###  .########.###  ...####.#.#.#
.#.#.#...#.#.  ........#....  ...#..#.#.#.G  ##.#....#.#..
...#.#.#.#.#.  ######.#####.  ##.#.##.#.#..  ...#.##.#.##.
####.#G#.#.#.  ....#..#.....  >#.#....#.##.  .#.#.#..#..#G
...#.###.#.#.  .##...##.####  .#.##.###..#.  .#.#.#.###.##
.#.#.....#.#.  ..#.#..#...#.  .#..#..###.#.  .#...#.#.#...
.#.#######.#.  #.#.##.###.#.  .##.##.#.#.#.  .###.#.#.###.
.#.........#.  #.#..#...#...  .#...#.#.#.#.  .#...#.#...#.
.###########.  #.##.###.###.  .#.#.#.#.#.#.  .#.###.#.#.#.
.............  ...#..G#.#...  ...#...#.....  .#...#...#...
""",
)


CORRIDORS = {"SmallCorridor": 13, "LargeCorridor": 19}
"""Sides of the corridors, without their border."""

NAMED_MAZES = (*(name for block in _INTERIORS for name in block.split("\n")[1].split()), *CORRIDORS)
"""Names that `named_mazes` knows."""


FAMILIES = {
    "rooms": ("SixteenRooms", "SixteenRooms2"),
    "labyrinths": ("Labyrinth", "LabyrinthFlipped", "Labyrinth2"),
    "mazes": ("StandardMaze", "StandardMaze2", "StandardMaze3"),
    "corridors": tuple(CORRIDORS),
}
"""Mazes of a kind: in a mean over kinds the corridors, with 26 of 34 goals, are one of four."""


@dataclass(frozen=True)
class NamedMazes(TaskSet[MazeTask]):
    """A task set in which each task has a name: ``mazes["Labyrinth"]``, ``dict(mazes)``.

    Attributes:
        names: Names of the tasks, in order. In a maze with several goals they are numbered from 1,
            row by row: ``"SmallCorridor/1"``.
    """

    names: tuple[str, ...]

    @cached_property
    def by_name(self) -> dict[str, MazeTask]:
        """Tasks by their names."""
        return dict(zip(self.names, self.tasks, strict=True))

    @cached_property
    def by_maze(self) -> dict[str, TaskSet[MazeTask]]:
        """The goals of each maze, by the name of the maze."""
        mazes: dict[str, list[MazeTask]] = {}
        for name, task in self.by_name.items():
            mazes.setdefault(name.partition("/")[0], []).append(task)
        return {maze: TaskSet(tuple(tasks)) for maze, tasks in mazes.items()}

    def called(self, task: MazeTask) -> tuple[str, str]:
        """The family and the name of the maze of a task."""
        maze = self._names[task].partition("/")[0]
        return next(name for name, mazes in FAMILIES.items() if maze in mazes), maze

    @cached_property
    def _names(self) -> dict[MazeTask, str]:
        """Names by task."""
        return dict(zip(self.tasks, self.names, strict=True))

    def keys(self) -> tuple[str, ...]:
        """The names; with them ``dict(mazes)`` is the dictionary of the tasks."""
        return self.names

    def items(self) -> Iterator[tuple[str, MazeTask]]:
        """Pairs of name and task."""
        return iter(self.by_name.items())

    def __getitem__(self, key: int | str) -> MazeTask:
        if not isinstance(key, str):
            return self.tasks[key]
        if key in self.by_name:
            return self.by_name[key]
        if key in self.by_maze:
            raise KeyError(
                f"{key} has {len(self.by_maze[key])} goals, {key}/1 to {key}/"
                f"{len(self.by_maze[key])}: name one of them, or take by_maze[{key!r}]"
            )
        raise KeyError(f"no maze is called {key!r}: the names are {', '.join(self.names)}")

    def __contains__(self, item: object) -> bool:
        return item in self.by_name if isinstance(item, str) else super().__contains__(item)

    def __getstate__(self) -> dict[str, object]:
        return {"tasks": self.tasks, "names": self.names}  # not the caches


@lru_cache(maxsize=64)
def named_mazes(*names: str) -> NamedMazes:
    """The named mazes, as a task set with names.

    Args:
        names: Some of `NAMED_MAZES`; all of them if none is given.

    Raises:
        ValueError: If there is no maze of a name.
    """
    if unknown := [name for name in names if name not in NAMED_MAZES]:
        raise ValueError(f"no maze is called {unknown[0]!r}: choose from {', '.join(NAMED_MAZES)}")
    called: list[str] = []
    tasks: list[MazeTask] = []
    for name in names or NAMED_MAZES:
        goals = _pictures()[name].tasks()
        called += [name] if len(goals) == 1 else [f"{name}/{n + 1}" for n in range(len(goals))]
        tasks += goals
    return NamedMazes(tuple(tasks), tuple(called))


def named_layouts() -> frozenset[Layout]:
    """The layouts of all named mazes; that a generator draws one of them has no chance."""
    return frozenset(task.layout for task in named_mazes())


@lru_cache(maxsize=1)
def _pictures() -> dict[str, Picture]:
    """The pictures of all named mazes, border added."""
    interiors: dict[str, list[str]] = {}
    for block in _INTERIORS:
        names, *rows = (line.split() for line in block.strip().splitlines())
        columns: list[tuple[str, ...]] = list(zip(*rows, strict=True))
        interiors |= {name: list(column) for name, column in zip(names, columns, strict=True)}
    interiors |= {name: _corridor(side) for name, side in CORRIDORS.items()}
    return {name: read_pictures(_bordered(rows), name)[0] for name, rows in interiors.items()}


def _bordered(rows: list[str]) -> str:
    line = WALL * (len(rows[0]) + 2)
    return "\n".join([line, *(WALL + row + WALL for row in rows), line])


def _corridor(side: int) -> list[str]:
    """A ring with dead ends towards its middle, a goal at the end of each; start at the left."""
    middle = side // 2

    def mark(row: int, column: int) -> str:
        if (row, column) == (middle, 0):
            return ">"
        if column in (0, side - 1) or row in (0, side - 1):
            return "."
        if row == middle or column % 2:
            return "#"
        return "G" if abs(row - middle) == 1 else "."

    return ["".join(mark(row, column) for column in range(side)) for row in range(side)]
