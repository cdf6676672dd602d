"""The page over the mazes of `envs`, with the agents of the package and a few tiny runs."""

import pytest

from experiments.__main__ import CONSOLE
from experiments.explore import Mazes
from metarl.explore.page import Page
from metarl.explore.players import Players

TINY = ("--iterations", "1", "--device", "cpu", "--hidden-size", "4", "--horizon", "9")
SMALL = ("--batch-size", "2", "--minibatch-trials", "2")


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Runs of agents that see and do other things than those of the package."""
    place = tmp_path_factory.mktemp("runs")

    def train(name, *words):
        CONSOLE.main(["train", *words, "--run-dir", str(place / name)])

    dfs = ("maze", "--mazes", "dfs", "--size", "9", *TINY, *SMALL)
    train("ahead", *dfs, "--view", "egocentric-5", "--encoder", "onehot")
    train("precise", *dfs, "--core", "linear-attention", "--dtype", "float64")
    train("wide", *dfs, "--view", "5x5", "--position", "--seeds", "0", "1")
    adapt = ("maze_adapt", "--env", "maze", "--size", "7", "--iterations", "1", "--device", "cpu")
    small = ("--horizon", "8", "--meta-batch", "2")
    rl2 = ("--method", "rl2", "--hidden-size", "4", "--core", "associative")
    train("episodes", *adapt, *small, *rl2)
    train("gradient", *adapt, *small, "--method", "maml", "--hidden", "4", "--episodes", "2")
    return place


@pytest.fixture(scope="session")
def arena():
    return Mazes()


@pytest.fixture(scope="session")
def page(arena, tmp_path_factory):
    """With the agents of the package alone."""
    return Page(arena, Players(arena, tmp_path_factory.mktemp("none")))


@pytest.fixture(scope="session")
def page_of_runs(arena, runs):
    return Page(arena, Players(arena, runs))
