"""Mazes, the tasks they produce, and Gymnasium environments over them.

    layout              Layout: walls as an immutable value, ASCII, shortest paths
    generators          pillar_maze, a function from a size to a layout
    tasks               MazeTask, TaskDistribution: sample, enumerate, split, filter
    dynamics            a layout as look-up tables, and the pure transition
    settings            what the environments are made with, checked once
    grid_maze           GridMazeEnv, the single environment, "metarl/GridMaze-v0"
    grid_maze_vector    GridMazeVectorEnv, the same as a tensor program
    generator_blocks    random draws by one generator or several
    meta_observation    MetaObservation, VectorMetaObservation: the inputs of a meta-learner
    trial               Trial, VectorTrial: several episodes on one task
    wrappers            the four wrappers in one place
    oracle              exact returns of the random policy, the explorer and the oracle
    tours               the order in which the explorer searches
    rendering           draw: pictures of a maze
    window              the window of render_mode="human"

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
from envs.rendering import draw
from envs.tasks import MazeTask, TaskDistribution, TaskSplits
from envs.wrappers import MetaObservation, Trial, VectorMetaObservation, VectorTrial

__all__ = [
    "Cell",
    "GridMazeEnv",
    "GridMazeVectorEnv",
    "Layout",
    "MazeTask",
    "MetaObservation",
    "TaskDistribution",
    "TaskSplits",
    "Trial",
    "VectorMetaObservation",
    "VectorTrial",
    "draw",
    "oracle",
    "pillar_maze",
]

# No max_episode_steps here: the environments truncate at their own `horizon`, and a TimeLimit on
# top would count a second time (and be handed to the vector entry point as an unknown argument).
gymnasium.register(
    id="metarl/GridMaze-v0",
    entry_point="envs.grid_maze:GridMazeEnv",
    vector_entry_point="envs.grid_maze_vector:GridMazeVectorEnv",
)
