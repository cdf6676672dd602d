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

For all of them:

    task_values         Task, TaskSet, TaskFamily: tasks that are not mazes
    task_environment    TaskEnv, what the small environments share
    task_vector_environment  TaskVectorEnv, what their tensor twins share
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

from envs import oracle
from envs.generators import pillar_maze
from envs.grid_maze import GridMazeEnv
from envs.grid_maze_vector import GridMazeVectorEnv
from envs.layout import Cell, Layout
from envs.point_navigation import PointNavigationEnv
from envs.point_navigation_tasks import (
    PointReturns,
    PointTask,
    PointTasks,
    point_reference_returns,
)
from envs.point_navigation_vector import PointNavigationVectorEnv
from envs.rendering import draw
from envs.task_values import TaskSet
from envs.tasks import MazeTask, TaskDistribution, TaskSplits
from envs.wrappers import MetaObservation, Trial, VectorMetaObservation, VectorTrial

__all__ = [
    "Cell",
    "GridMazeEnv",
    "GridMazeVectorEnv",
    "Layout",
    "MazeTask",
    "MetaObservation",
    "PointNavigationEnv",
    "PointNavigationVectorEnv",
    "PointReturns",
    "PointTask",
    "PointTasks",
    "TaskDistribution",
    "TaskSet",
    "TaskSplits",
    "Trial",
    "VectorMetaObservation",
    "VectorTrial",
    "draw",
    "oracle",
    "pillar_maze",
    "point_reference_returns",
]

# No max_episode_steps here: the environments truncate at their own `horizon`, and a TimeLimit on
# top would count a second time (and be handed to the vector entry point as an unknown argument).
for _name, _module in (
    ("GridMaze", "grid_maze"),
    ("PointNavigation", "point_navigation"),
):
    gymnasium.register(
        id=f"metarl/{_name}-v0",
        entry_point=f"envs.{_module}:{_name}Env",
        vector_entry_point=f"envs.{_module}_vector:{_name}VectorEnv",
    )
