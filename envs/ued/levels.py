"""Levels of the papers on environment design: a maze as a grid of Minigrid, drawn and edited.

PAIRED, PLR, ACCEL, minimax, JaxUED and SFL share one definition: walls, a start with a direction
and a goal in 13 x 13 cells, a border around them; a view of 5 x 5 cells ahead, through walls; the
return ``1 - 0.9 t / T`` of a goal that is entered with action t of at most T = 250.

A level is drawn and edited as a maze (`envs.maze.levels`), and played as a grid
(`envs.minigrid.tensor`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch

from ..base.tasks import Tensors
from ..maze.family import MazeFamily
from ..maze.layout import Layout
from ..maze.levels import MazeLevels
from ..maze.tasks import MazeTask
from ..minigrid.codes import NOTHING, TEXTS, WALL, code_of
from ..minigrid.rules import RULES
from ..minigrid.tasks import CANVAS, FACTS, WORDS, MinigridTask

__all__ = ["MISSION", "VIEW_SIZE", "LevelTasks", "Levels", "grid_of", "maze_of"]

VIEW_SIZE = 5
"""Rows and columns of what an agent sees."""

MISSION = "get to the green goal square"
GOAL = code_of("goal", "green")


@dataclass(frozen=True)
class LevelTasks:
    """Levels of a family of mazes as tasks of Minigrid: a source to sample from.

    Attributes:
        family: The mazes.
        max_steps: T.
    """

    family: MazeFamily
    max_steps: int

    def sample(self, n: int, generator: torch.Generator) -> tuple[MinigridTask, ...]:
        """Draws n levels independently, of those that can be solved; directions at random."""
        tasks = []
        for goal, start, *rows, way in self._solvable.draw(n, generator).tolist():
            maze = MazeTask.of_numbers(Layout.from_packed(tuple(rows)), goal, start, way)
            tasks.append(grid_of(maze, self.max_steps))
        return tuple(tasks)

    @cached_property
    def levels(self) -> Levels:
        """Levels as numbers, whether they can be solved or not."""
        return Levels(self.family, self.max_steps)

    @cached_property
    def _solvable(self) -> Levels:
        return Levels(replace(self.family, solvable=True), self.max_steps)


class Levels(MazeLevels):
    """Levels of a family as numbers: those of a maze (`MazeLevels`), of agents that turn.

    Args:
        family: The mazes.
        max_steps: T.
    """

    def __init__(self, family: MazeFamily, max_steps: int) -> None:
        super().__init__(family, turning=True)
        self._max_steps = max_steps

    def numbers(self, levels: torch.Tensor) -> torch.Tensor:
        """Levels int64 [n, D] as `MinigridVectorEnv` takes tasks: int64 [n, WORDS + FACTS]."""
        return torch.cat(self.arrays(levels), 1)

    def arrays(self, levels: torch.Tensor) -> Tensors:
        """Levels int64 [n, D] as grids, int64 [n, WORDS], and facts, int64 [n, FACTS]."""
        side, n, device = self._side, len(levels), levels.device
        opened = self._open(levels)
        places = torch.stack((opened.goal, opened.start), 1)  # [n, 2], row * side + column
        goal, agent = (places // side * CANVAS + places % side).unbind(1)
        canvas = torch.full((n, CANVAS, CANVAS), WALL, dtype=torch.uint8, device=device)
        free = ~opened.walls.view(n, side, side)  # [n, side^2] to rows and columns
        canvas[:, :side, :side].masked_fill_(free, NOTHING)
        cells = canvas.flatten(1).scatter(1, goal[:, None], GOAL)
        padded = torch.nn.functional.pad(cells, (0, 8 * WORDS - CANVAS**2))
        key = (self.keys(levels) >> 1) & (2**63 - 1)  # 63 bits, as of a task's hash
        same = torch.zeros_like(goal)
        facts = {
            "agent": agent,
            "direction": levels[:, -1],
            "max_steps": same + self._max_steps,
            "see_through": same + 1,
            "rule": same + list(RULES).index("goal"),
            "first_target": same,
            "second_target": same,
            "view_size": same + VIEW_SIZE,
            "height": same + side,
            "width": same + side,
            "key": key,
        }
        return padded.view(torch.int64), torch.stack([facts[name] for name in FACTS], 1)


def grid_of(maze: MazeTask, max_steps: int) -> MinigridTask:
    """A maze as a level; a direction that the maze does not say is to the right.

    Args:
        maze: Walls, start and goal.
        max_steps: T.
    """
    nothing, wall = TEXTS[NOTHING], TEXTS[WALL]
    layout = maze.layout
    rows = [
        [nothing if layout.is_free((row, column)) else wall for column in range(layout.width)]
        for row in range(layout.height)
    ]
    rows[maze.goal[0]][maze.goal[1]] = TEXTS[GOAL]
    return MinigridTask(
        grid="\n".join("".join(row) for row in rows),
        agent=(maze.start[1], maze.start[0]),
        direction=maze.direction or 0,
        mission=MISSION,
        max_steps=max_steps,
        see_through=True,
        view_size=VIEW_SIZE,
    )


def maze_of(task: MinigridTask) -> MazeTask:
    """The inverse of `grid_of`.

    Raises:
        ValueError: If the grid has no goal, or comes in pieces.
    """
    goals = (task.codes == GOAL).nonzero()
    if not len(goals[0]):
        raise ValueError(f"level {task.task_id} has no goal")
    layout = Layout.from_walls(task.codes == WALL)
    x, y = task.agent
    goal = int(goals[0][0]), int(goals[1][0])
    return MazeTask(layout, goal, (y, x), task.direction)
