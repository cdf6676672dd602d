"""Gymnasium environments with hidden tasks: mazes, and small ones with known optima.

Mazes:

    layout              Layout: walls as an immutable value, ASCII, shortest paths
    generators          pillar_maze, a function from a size to a layout
    tasks               MazeTask, TaskDistribution: sample, enumerate, split, filter
    dynamics            a layout as look-up tables, and the pure transition
    settings            what the environments are made with, checked once
    grid_maze           GridMazeEnv, the single environment, "metarl/GridMaze-v0"
    grid_maze_vector    GridMazeVectorEnv, the same as a tensor program
    oracle              exact returns of the random policy, the explorer and the oracle
    tours               the order in which the explorer searches
    rendering           draw: pictures of a maze
    window              the window of render_mode="human"

Small environments, each as a file of tasks with their exact anchors (`*_tasks`), a single
environment and its tensor twin (`*_vector`):

    point_navigation    MAML's point in the plane, "metarl/PointNavigation-v0"
    grid_navi           VariBAD's grid with a hidden goal, "metarl/GridNavi-v0"
    bandit              RL^2's Bernoulli bandits, "metarl/Bandit-v0"
    bandit_algorithms   Thompson sampling, UCB1 and greedy, to compare with
    tabular_mdp         RL^2's random Markov decision processes, "metarl/TabularMDP-v0"
    mdp_algorithms      PSRL and planning in the mean, to compare with

For all of them:

    task_values         Task, TaskSet, TaskFamily: tasks that are not mazes
    task_environment    TaskEnv, what the small environments share
    task_vector_environment  TaskVectorEnv, what their tensor twins share
    task_checks         what they check at their border
    step_randomness     the random numbers of an episode, drawn or given
    generator_blocks    random draws by one generator or several
    meta_observation    MetaObservation, VectorMetaObservation: the inputs of a meta-learner
    trial               Trial, VectorTrial: several episodes on one task
    wrappers            the four wrappers in one place

Importing this package registers its environments with Gymnasium:

    >>> import gymnasium, envs
    >>> env = gymnasium.make("metarl/GridMaze-v0", size=13, horizon=200)
    >>> mazes = gymnasium.make_vec("metarl/GridMaze-v0", num_envs=4096)
"""

import gymnasium

from . import bandit_algorithms, mdp_algorithms, oracle
from .bandit import BanditEnv
from .bandit_tasks import (
    BanditReturns,
    BanditTask,
    BanditTasks,
    bandit_reference_returns,
    bayes_optimal_return,
)
from .bandit_vector import BanditVectorEnv
from .generators import pillar_maze
from .grid_maze import GridMazeEnv
from .grid_maze_vector import GridMazeVectorEnv
from .grid_navi import GridNaviEnv
from .grid_navi_tasks import (
    GridNaviReturns,
    GridNaviTask,
    grid_navi_reference_returns,
    grid_navi_tasks,
)
from .grid_navi_vector import GridNaviVectorEnv
from .layout import Cell, Layout
from .point_navigation import PointNavigationEnv
from .point_navigation_tasks import (
    PointReturns,
    PointTask,
    PointTasks,
    point_reference_returns,
)
from .point_navigation_vector import PointNavigationVectorEnv
from .rendering import draw
from .tabular_mdp import TabularMDPEnv
from .tabular_mdp_tasks import MDPReturns, MDPTask, MDPTasks, mdp_reference_returns
from .tabular_mdp_vector import TabularMDPVectorEnv
from .task_values import TaskSet
from .tasks import MazeTask, TaskDistribution, TaskSplits
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
for _name, _module in (
    ("GridMaze", "grid_maze"),
    ("PointNavigation", "point_navigation"),
    ("GridNavi", "grid_navi"),
    ("Bandit", "bandit"),
    ("TabularMDP", "tabular_mdp"),
):
    if f"metarl/{_name}-v0" not in gymnasium.registry:
        gymnasium.register(
            id=f"metarl/{_name}-v0",
            entry_point=f"{__name__}.{_module}:{_name}Env",
            vector_entry_point=f"{__name__}.vector_entry_points:{_module}",
        )
