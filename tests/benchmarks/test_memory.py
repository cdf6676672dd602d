"""Benchmarks of memories: what is done is left alone, command lines are read, the rooms' table."""

import json
from pathlib import Path

import pytest

from benchmarks.memory import rooms, train
from envs.problems import DarkRoom, KeyToDoor
from experiments.maze_adapt import RECIPE
from metarl.run.command_line import parse_training


def trained(monkeypatch, place, options=("train", "--iterations", "3")):
    """What the scripts are asked for."""
    asked = []

    def run(recipe, arguments):
        asked.append(list(arguments))
        place.mkdir(exist_ok=True)
        (place / "config.json").write_text("{}")
        if arguments[0] == "evaluate":
            (place / "summary.json").write_text("{}")

    monkeypatch.setattr(train, "run", run)
    train.trained(RECIPE, list(options), place, 7)
    return asked


def test_what_is_done_is_left_alone_and_what_was_cut_off_goes_on(tmp_path, monkeypatch):
    place = tmp_path / "run"
    first = trained(monkeypatch, place)
    assert first[0] == ["train", "--iterations", "3", "--run-dir", str(place)]
    assert first[1] == ["evaluate", str(place), "--tasks", "7", "--device", "cpu"]
    assert trained(monkeypatch, place) == []
    (place / "summary.json").unlink()
    again = trained(monkeypatch, place)
    assert again[0] == ["train", "--resume", str(place), "--iterations", "3"]


@pytest.mark.parametrize("core", rooms.CORES, ids=lambda core: core.name)
@pytest.mark.parametrize("room", rooms.ROOMS, ids=lambda room: room.name)
def test_command_lines_are_of_the_rooms_that_they_name(room, core):
    _, *line = rooms.options(room, core, 0, 60.0)
    settings = parse_training(RECIPE, "train", line)
    problem = settings.environment
    assert type(problem) is (KeyToDoor if room.name.startswith("key") else DarkRoom)
    assert problem.horizon == room.steps
    assert settings.agent.core == core.name


def test_table_of_rooms(tmp_path):
    place = tmp_path / "run"
    place.mkdir()
    summary = {"return_mean": [1.0, 8.0], "iteration": 10, "num_tasks": 14}
    summary |= {"floor_return": 0.4, "oracle_return": 16.0}
    (place / "summary.json").write_text(json.dumps(summary))
    rows = [rooms.row(rooms.ROOMS[0], "lstm", seed, Path(place), 61.4) for seed in (0, 1)]
    assert rows[0]["env_steps"] == 10 * 256 * 10 * 20
    words = {name: str(value) for name, value in rows[0].items()}
    line = rooms.table([words, words]).splitlines()[-1]
    assert line == "| dark-room-9 | lstm | 2 | 0.5 | 61 | 1.00 | 8.00 | 0.40 | 16.00 | 0.50 |"
