"""What agents are judged by in mazes of any layouts."""

import numpy as np
import pytest
import torch

from envs.maze.ladder import ANCHORS
from envs.maze.random_mazes import SHOWN, RandomMazes
from metarl.evaluate.references import REFERENCES, References, explained
from metarl.run.trials import write_layouts


@pytest.mark.parametrize("view", ["3x3", "egocentric-5"])
def test_every_anchor_is_in_the_summary_in_words_and_by_layout(tmp_path, view):
    maze = RandomMazes("dfs", size=9, view=view, horizon=30)
    tasks = maze.test.sample(12, torch.Generator().manual_seed(0))
    references = References(maze.known(tasks))
    rewards = np.zeros((30, 12))
    rewards[9] = 1.0
    figures = references.figures(rewards)
    known = maze.ladder(tasks).means()
    assert {name: figures[f"{name}_return"] for name in ANCHORS} == {n: known[n] for n in ANCHORS}
    assert figures["random_return"] < figures["explorer_return"] < figures["oracle_return"]
    said = references.beside(figures)
    assert all(f"{REFERENCES[name]} " in said for name in ANCHORS)
    curves = references.curves
    assert list(curves) == [REFERENCES[name] for name in SHOWN]
    for name in SHOWN:
        assert curves[REFERENCES[name]].sum() == pytest.approx(known[name])
        assert REFERENCES[name] in references.note
    write_layouts(tmp_path, {"agent": rewards}, references)
    table = tmp_path / "layouts.csv"
    assert {f"{name}_return" for name in ANCHORS} <= set(
        table.read_text().split("\n")[0].split(",")
    )


def test_mazes_too_wide_for_the_episode_are_no_share_of_anything():
    maze = RandomMazes("dfs", size=9, horizon=2)
    tasks = maze.test.sample(60, torch.Generator().manual_seed(0))
    near, far = [], []
    for task in tasks:
        moves = task.layout.distances_from(task.start)[task.goal_number]
        (near if moves <= 2 else far).append(task)
    both = References(maze.known([near[0], *far[:11]])).figures(np.zeros((2, 12)))
    assert both["cvar_share_of_explorer_10"] == 0.0
    none = References(maze.known(far[:12])).figures(np.zeros((2, 12)))
    assert none["cvar_share_of_explorer_10"] is None
    assert np.isnan(none["normalised_score"])


def test_every_name_is_explained():
    assert len(explained(REFERENCES).splitlines()) == len(REFERENCES)
