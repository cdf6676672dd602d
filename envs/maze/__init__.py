"""Grid mazes with hidden goals: layouts, generators, dynamics, exact returns, pictures."""

from . import anchors as oracle
from .drawing import draw
from .env import GridMazeEnv
from .generators import pillar_maze
from .identity import layout_hash
from .layout import Cell, Layout
from .tasks import MazeTask, maze_tasks
from .tensor import GridMazeVectorEnv

__all__ = [
    "Cell",
    "GridMazeEnv",
    "GridMazeVectorEnv",
    "Layout",
    "MazeTask",
    "draw",
    "layout_hash",
    "maze_tasks",
    "oracle",
    "pillar_maze",
]
