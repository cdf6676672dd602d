"""Gymnasium environments with hidden tasks: mazes, and small ones with known optima.

One folder per family, with its tasks and exact anchors (`tasks`), and the single environment with
its tensor twin (`env`); `envs.families` lists them:

    maze          grid mazes with hidden goals, "metarl/GridMaze-v0": layouts, generators, dynamics,
                  anchors (exact returns), tours of the explorer, pictures
    minigrid      Minigrid's ids as task distributions, "metarl/Minigrid-v0": played by Minigrid
                  itself, and by a tensor twin
    bandit        RL^2's Bernoulli bandits, "metarl/Bandit-v0"; Thompson sampling, UCB1, Gittins
    mdp           RL^2's random Markov decision processes, "metarl/TabularMDP-v0"; PSRL, planning
    grid_navi     VariBAD's grid with a hidden goal, "metarl/GridNavi-v0"
    dark_room     Dark Room and Dark Key-to-Door, without walls, "metarl/DarkRoom-v0"
    point         MAML's point in the plane, "metarl/PointNavigation-v0"

    base          what all of them share: tasks as values, the two environment bases, randomness
    wrappers      MetaObservation, the inputs of a meta-learner; Trial, several episodes on one task

Importing this package registers its environments with Gymnasium:

    >>> import gymnasium, envs
    >>> env = gymnasium.make("metarl/GridMaze-v0", size=13, horizon=200)
    >>> mazes = gymnasium.make_vec("metarl/GridMaze-v0", num_envs=4096)
"""

import gymnasium

from . import bandit, dark_room, grid_navi, maze, mdp, minigrid, point, wrappers
from .bandit import *
from .base.tasks import TaskSet
from .dark_room import *
from .families import FAMILIES
from .grid_navi import *
from .maze import *
from .mdp import *
from .minigrid import *
from .point import *
from .wrappers import *

__all__ = ["TaskSet"]
__all__ += bandit.__all__ + grid_navi.__all__ + maze.__all__ + mdp.__all__ + point.__all__
__all__ += dark_room.__all__ + minigrid.__all__ + wrappers.__all__

# No max_episode_steps here: an environment has a horizon of its own (see `base.clock`). Entry
# points say `__name__`: this package may have been imported under another name (`metarl.envs`).
for _folder, _name in FAMILIES.items():
    if f"metarl/{_name}-v0" not in gymnasium.registry:
        gymnasium.register(
            id=f"metarl/{_name}-v0",
            entry_point=f"{__name__}.{_folder}:{_name}Env",
            vector_entry_point=f"{__name__}.vector_entry_points:{_folder}",
        )
