"""The scripts as functions of their command line, for tests over all of them."""

from functools import partial

from experiments.regression import RECIPE as REGRESSION
from metarl.run import main

regression = partial(main, REGRESSION)
