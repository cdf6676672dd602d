"""The scripts as functions of their command line, for tests over all of them."""

from functools import partial

from experiments.alphabets import RECIPE as ALPHABETS
from experiments.maze import RECIPE as MAZE
from experiments.maze_adapt import RECIPE as MAZE_ADAPT
from experiments.omniglot import RECIPE as OMNIGLOT
from experiments.regression import RECIPE as REGRESSION
from metarl.run import main

maze = partial(main, MAZE)
maze_adapt = partial(main, MAZE_ADAPT)
regression = partial(main, REGRESSION)
omniglot = partial(main, OMNIGLOT)
alphabets = partial(main, ALPHABETS)
