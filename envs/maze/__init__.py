"""Grid mazes with hidden goals: layouts, generators, dynamics, exact returns, pictures."""

from . import anchors as oracle
from .drawing import draw
from .env import GridMazeEnv
from .family import MazeFamily
from .files import tasks_from_file
from .generators import pillar_maze
from .identity import layout_hash
from .ladder import LayoutAnchors, layout_anchors
from .layout import Cell, Layout
from .named import named_mazes
from .parts import split_by_layout
from .problems import Maze
from .random_mazes import RandomMazes
from .tasks import MazeTask, maze_tasks
from .tensor import GridMazeVectorEnv

__all__ = [
    "Cell",
    "GridMazeEnv",
    "GridMazeVectorEnv",
    "Layout",
    "LayoutAnchors",
    "MazeFamily",
    "MazeTask",
    "draw",
    "layout_anchors",
    "layout_hash",
    "maze_tasks",
    "named_mazes",
    "oracle",
    "pillar_maze",
    "split_by_layout",
    "tasks_from_file",
]

PROBLEMS = (Maze, RandomMazes)
"""The family as problems; `envs.problems` lists those of all families."""
