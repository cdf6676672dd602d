"""Minigrid: its ids as task distributions, played by Minigrid and by a tensor twin."""

from .env import MinigridEnv
from .problem import Minigrid
from .returns import MinigridAnchors, minigrid_anchors
from .task_set import MinigridTasks, minigrid_tasks
from .tasks import MinigridTask
from .tensor import MinigridVectorEnv

__all__ = [
    "MinigridAnchors",
    "MinigridEnv",
    "MinigridTask",
    "MinigridTasks",
    "MinigridVectorEnv",
    "minigrid_anchors",
    "minigrid_tasks",
]

PROBLEMS = (Minigrid,)
"""The family as problems; `envs.problems` lists those of all families."""
