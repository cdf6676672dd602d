"""Levels of the papers on environment design (UED): mazes as grids of Minigrid."""

from .env import LevelVectorEnv
from .levels import Levels, LevelTasks, grid_of, maze_of
from .problem import UEDMazes

__all__ = ["LevelTasks", "LevelVectorEnv", "Levels", "UEDMazes", "grid_of", "maze_of"]
