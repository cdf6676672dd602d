"""Problems: each family with its tasks on three sides, its environments, its returns at best.

    from envs.problems import Point
    from metarl.experiment import Experiment

    Experiment(Point(horizon=50)).train("runs/point")

Tasks to choose settings by (validation) and to report on (test) are never trained on: where tasks
can be told apart they are split by their hash (mazes, GridNavi, and the plane of the point, cell by
cell); bandits and decision processes are drawn from a continuum, and those of each side by a
generator of its own. A problem has the attributes of `metarl.rl.Problem`, and its fields are flags
of `experiments.maze_adapt`. Each stands in the folder of its family.
"""

from __future__ import annotations

from importlib import import_module

from .bandit.env import Bandit
from .base.problem import Parted
from .dark_room.env import DarkRoom, KeyToDoor
from .families import FAMILIES
from .grid_navi.env import GridNavi
from .maze.problems import HiddenGoals, Maze, PublishedMaze
from .maze.random_mazes import RandomMazes
from .mdp.env import MDP
from .minigrid.problem import Minigrid
from .point.env import Point
from .ued.problem import UEDMazes

__all__ = [
    "MDP",
    "PROBLEMS",
    "Bandit",
    "DarkRoom",
    "GridNavi",
    "HiddenGoals",
    "KeyToDoor",
    "Maze",
    "Minigrid",
    "Point",
    "PublishedMaze",
    "RandomMazes",
    "UEDMazes",
]

PROBLEMS: dict[str, type[Parted]] = {
    problem.name: problem
    for folder in FAMILIES
    for problem in import_module(f".{folder}", __package__).PROBLEMS
}
"""Problems by name, as the folders of `FAMILIES` offer them."""
