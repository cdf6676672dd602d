"""VariBAD's grid with a hidden goal; exact returns of explorers."""

from .env import GridNavi, GridNaviEnv, GridNaviVectorEnv
from .tasks import GridNaviReturns, GridNaviTask, grid_navi_reference_returns, grid_navi_tasks

__all__ = [
    "GridNaviEnv",
    "GridNaviReturns",
    "GridNaviTask",
    "GridNaviVectorEnv",
    "grid_navi_reference_returns",
    "grid_navi_tasks",
]

PROBLEMS = (GridNavi,)
"""The family as problems; `envs.problems` lists those of all families."""
