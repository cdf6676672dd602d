"""Gymnasium environments with hidden tasks: mazes, and small ones with known optima.

One folder per family, with its tasks and exact anchors (`tasks`), the single environment (`env`)
and its tensor twin (`tensor`):

    maze          grid mazes with hidden goals, "metarl/GridMaze-v0": layouts, generators, dynamics,
                  anchors (exact returns), tours of the explorer, pictures
    bandit        RL^2's Bernoulli bandits, "metarl/Bandit-v0"; Thompson sampling, UCB1, Gittins
    mdp           RL^2's random Markov decision processes, "metarl/TabularMDP-v0"; PSRL, planning
    grid_navi     VariBAD's grid with a hidden goal, "metarl/GridNavi-v0"
    point         MAML's point in the plane, "metarl/PointNavigation-v0"

    base          what all of them share: tasks as values, the two environment bases, randomness
    wrappers      MetaObservation, the inputs of a meta-learner; Trial, several episodes on one task

Importing this package registers its environments with Gymnasium:

    >>> import gymnasium, envs
    >>> env = gymnasium.make("metarl/GridMaze-v0", size=13, horizon=200)
    >>> mazes = gymnasium.make_vec("metarl/GridMaze-v0", num_envs=4096)
"""

import gymnasium

from .bandit import algorithms as bandit_algorithms
from .bandit.env import BanditEnv
from .bandit.tasks import (
    BanditReturns,
    BanditTask,
    BanditTasks,
    bandit_reference_returns,
    bayes_optimal_return,
)
from .bandit.tensor import BanditVectorEnv
from .base.tasks import TaskSet
from .grid_navi.env import GridNaviEnv
from .grid_navi.tasks import (
    GridNaviReturns,
    GridNaviTask,
    grid_navi_reference_returns,
    grid_navi_tasks,
)
from .grid_navi.tensor import GridNaviVectorEnv
from .maze import anchors as oracle
from .maze.drawing import draw
from .maze.env import GridMazeEnv
from .maze.generators import pillar_maze
from .maze.layout import Cell, Layout
from .maze.tasks import MazeTask, TaskDistribution, TaskSplits
from .maze.tensor import GridMazeVectorEnv
from .mdp import algorithms as mdp_algorithms
from .mdp.env import TabularMDPEnv
from .mdp.tasks import MDPReturns, MDPTask, MDPTasks, mdp_reference_returns
from .mdp.tensor import TabularMDPVectorEnv
from .point.env import PointNavigationEnv
from .point.tasks import PointReturns, PointTask, PointTasks, point_reference_returns
from .point.tensor import PointNavigationVectorEnv
from .wrappers import MetaObservation, Trial, VectorMetaObservation, VectorTrial

__all__ = [
    "BanditEnv",
    "BanditReturns",
    "BanditTask",
    "BanditTasks",
    "BanditVectorEnv",
    "Cell",
    "GridMazeEnv",
    "GridMazeVectorEnv",
    "GridNaviEnv",
    "GridNaviReturns",
    "GridNaviTask",
    "GridNaviVectorEnv",
    "Layout",
    "MDPReturns",
    "MDPTask",
    "MDPTasks",
    "MazeTask",
    "MetaObservation",
    "PointNavigationEnv",
    "PointNavigationVectorEnv",
    "PointReturns",
    "PointTask",
    "PointTasks",
    "TabularMDPEnv",
    "TabularMDPVectorEnv",
    "TaskDistribution",
    "TaskSet",
    "TaskSplits",
    "Trial",
    "VectorMetaObservation",
    "VectorTrial",
    "bandit_algorithms",
    "bandit_reference_returns",
    "bayes_optimal_return",
    "draw",
    "grid_navi_reference_returns",
    "grid_navi_tasks",
    "mdp_algorithms",
    "mdp_reference_returns",
    "oracle",
    "pillar_maze",
    "point_reference_returns",
]

# No max_episode_steps here: an environment has a horizon of its own (see `clock`). Entry points say
# `__name__`, for this package may have been imported under another name (`metarl.envs`).
for _name, _folder in (
    ("GridMaze", "maze"),
    ("PointNavigation", "point"),
    ("GridNavi", "grid_navi"),
    ("Bandit", "bandit"),
    ("TabularMDP", "mdp"),
):
    if f"metarl/{_name}-v0" not in gymnasium.registry:
        gymnasium.register(
            id=f"metarl/{_name}-v0",
            entry_point=f"{__name__}.{_folder}.env:{_name}Env",
            vector_entry_point=f"{__name__}.vector_entry_points:{_folder}",
        )
