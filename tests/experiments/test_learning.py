"""Learning itself, in a maze small enough for a test: and a broken twin that does not learn."""

from dataclasses import replace

import numpy as np
import pytest

from envs import pillar_maze
from envs.maze import anchors as oracle
from envs.problems import HiddenGoals
from experiments.maze import RECIPE, defaults
from metarl.rl import tasks
from metarl.run import train

HORIZON = 40


def final_return(path, method):
    settings = replace(
        defaults("default", method),
        run_dir=path,
        environment=HiddenGoals(size=5, horizon=HORIZON),
        iterations=500,
        batch_size=30,
        hidden_size=32,
        device="cpu",
    )
    (run,) = train(RECIPE, settings)
    return float(np.mean(run.read_metrics()["return"][-5:]))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["warp", "lstm"])
def test_an_agent_learns_and_its_twin_with_shuffled_credit_does_not(tmp_path, monkeypatch, method):
    random = oracle.random_return(pillar_maze(5), horizon=HORIZON)
    learned = final_return(tmp_path / "whole", method)
    true = tasks.generalised_advantages

    def shuffled(*args):
        """Every maze gets the advantages of its neighbour."""
        return true(*args).roll(1, -1)

    monkeypatch.setattr(tasks, "generalised_advantages", shuffled)
    twin = final_return(tmp_path / "twin", method)
    assert learned > 1.5 * random
    assert twin < 1.1 * random
