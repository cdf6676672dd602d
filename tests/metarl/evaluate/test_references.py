"""What agents are judged by in mazes of any layouts."""

import numpy as np
import pytest
import torch

from envs.maze.ladder import ANCHORS
from envs.maze.random_mazes import SHOWN, RandomMazes
from metarl.evaluate.references import REFERENCES, Known, References, explained
from metarl.run.trial_report import no_scale, write_layouts
from metarl.runs.files import to_json


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
    assert none["normalised_score"] is None


@pytest.mark.parametrize("floor", [-1.0, 0.0, 3.0])
def test_explorers_that_earn_what_random_actions_do_are_no_scale(floor, tmp_path):
    """In all trials, by maze and by family; where walls cost something, both lose."""
    same = np.full(4, floor)
    known = Known(
        {"random": floor, "explorer": floor},
        ("random", "explorer"),
        layouts=("a", "a", "b", "b"),
        num_layouts=2,
        each={"random": same, "explorer": same},
        mazes=(("one", "a"), ("one", "a"), ("two", "b"), ("two", "b")),
    )
    references, rewards = References(known), np.ones((3, 4))
    found = to_json(references.figures(rewards), "summary")
    assert found["normalised_score"] is None
    assert [m["normalised_score"] for m in found["per_maze"].values()] == [None, None]
    assert [f["normalised_score"] for f in found["per_family"].values()] == [None, None]
    assert found["normalised_score_over_families"] is None
    assert found["success_over_families"] == 1.0
    assert "no score" in no_scale(found)
    write_layouts(tmp_path, {"agent": rewards}, references)
    assert "nan" not in (tmp_path / "layouts.csv").read_text()


def test_every_name_is_explained():
    assert len(explained(REFERENCES).splitlines()) == len(REFERENCES)


def test_named_mazes_are_summed_up_maze_by_maze_and_family_by_family():
    """Agents that solve the corridors alone, 26 of 34 goals, are no good in three of four kinds."""
    mazes = RandomMazes("named", horizon=400)
    tasks = tuple(mazes.every_task)
    known = mazes.known(tasks)
    corridors = np.array([family == "corridors" for family, _ in known.mazes])
    rewards = np.zeros((400, len(tasks)))
    rewards[0] = np.where(corridors, known.each["explorer"], known.each["random"])
    figures = References(known).figures(rewards)
    assert list(figures["per_maze"])[-2:] == ["SmallCorridor", "LargeCorridor"]
    assert sum(maze["num_trials"] for maze in figures["per_maze"].values()) == len(tasks) == 34
    assert len(figures["per_maze"]) == 10
    small = figures["per_maze"]["SmallCorridor"]
    assert small["mean_return"] == pytest.approx(small["explorer_return"])
    assert small["explorer_return"] < small["oracle_return"]
    scores = {name: each["normalised_score"] for name, each in figures["per_family"].items()}
    wanted = {"rooms": 0.0, "labyrinths": 0.0, "mazes": 0.0, "corridors": 1.0}
    assert scores == pytest.approx(wanted)
    assert figures["normalised_score_over_families"] == pytest.approx(0.25)
    found = [each["success"] for each in figures["per_family"].values()]
    assert figures["success_over_families"] == pytest.approx(np.mean(found))
    assert "per_maze" not in References(RandomMazes("dfs", 9).known(tasks[:1])).figures(
        rewards[:, :1]
    )
