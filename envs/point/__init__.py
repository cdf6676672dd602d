"""MAML's point in the plane with a hidden goal; exact returns."""

from .env import Point, PointNavigationEnv, PointNavigationVectorEnv
from .tasks import PointReturns, PointTask, PointTasks, point_reference_returns

__all__ = [
    "PointNavigationEnv",
    "PointNavigationVectorEnv",
    "PointReturns",
    "PointTask",
    "PointTasks",
    "point_reference_returns",
]

PROBLEMS = (Point,)
"""The family as problems; `envs.problems` lists those of all families."""
