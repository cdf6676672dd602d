"""Films of what was learned so far, while it is learned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from envs.problems import Bandit, RandomMazes
from metarl.errors import UserError
from metarl.experiment import Experiment
from metarl.methods.agents import TrialsAgent
from metarl.methods.rl2 import RL2Settings
from metarl.runs.directory import RunDirectory
from metarl.runs.seeds import create_runs
from metarl.train.loop import LoopSettings, MetaTraining
from tests.experiments.scripts import maze, maze_adapt, regression
from tests.metarl.runs.test_interruption import Still

SMALL = ("--size", "5", "--horizon", "9", "--batch-size", "2", "--hidden-size", "4")

BANDIT = ("--env", "bandit", "--method", "rl2")


def films(run: Path) -> list[str]:
    return sorted(file.name for file in (run / "films").iterdir())


def test_a_training_films_its_runs_and_logs_the_films(tmp_path: Path) -> None:
    run = tmp_path / "run"
    own = ("--iterations", "4", "--log-every", "2", "--film-every", "2", "--device", "cpu")
    maze(["train", *SMALL, *own, "--run-dir", str(run)])
    assert films(run) == ["000000.gif", "000002.gif", "000004.gif"]
    events = EventAccumulator(str(run))
    events.Reload()
    assert [image.step for image in events.Images("film")] == [0, 36, 72]
    before = (run / "films" / "000002.gif").stat().st_mtime_ns
    maze(["train", "--resume", str(run), "--iterations", "6"])
    assert films(run)[-1] == "000006.gif"
    assert (run / "films" / "000002.gif").stat().st_mtime_ns == before


def test_films_change_nothing_of_what_is_learned(tmp_path: Path) -> None:
    own = ("--iterations", "3", "--log-every", "1", "--device", "cpu")
    for name, more in (("plain", ()), ("filmed", ("--film-every", "1"))):
        maze(["train", *SMALL, *own, *more, "--run-dir", str(tmp_path / name)])
    plain, filmed = (
        RunDirectory.open(tmp_path / name).load_checkpoint()["learner"]["params"]
        for name in ("plain", "filmed")
    )
    assert all(torch.equal(plain[name], filmed[name]) for name in plain)


def test_an_experiment_films_an_unseen_task(tmp_path: Path) -> None:
    mazes = RandomMazes(mazes="dfs", size="9", horizon=20)
    agent = TrialsAgent(hidden_size=4, trial_episodes=1)
    how = {"iterations": 2, "meta_batch": 4, "film_every": 2, "device": "cpu"}
    one = Experiment(mazes, RL2Settings(), agent, **how)
    one.train(tmp_path / "run")
    assert films(tmp_path / "run") == ["000000.gif", "000002.gif"]


def test_what_cannot_be_filmed_is_told_before_anything_starts(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        regression(["train", "--film-every", "2", "--run-dir", str(tmp_path / "run")])
    assert "has nothing to film" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    with pytest.raises(SystemExit):
        maze_adapt(["train", *BANDIT, "--film-every", "2", "--run-dir", str(tmp_path / "run")])
    assert "bandit is not filmed" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    one = Experiment(Bandit(), RL2Settings(), film_every=2)
    with pytest.raises(UserError, match="bandit is not filmed"):
        one.train(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="film_every must be at least 1"):
        LoopSettings(3, film_every=0)


def test_the_time_of_filming_is_not_that_of_training(tmp_path: Path, monkeypatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("metarl.train.loop.time.perf_counter", lambda: clock[0])
    (run,) = create_runs(tmp_path / "run", (0,), {"log": []})

    def filmed(output: Path) -> None:
        clock[0] += 1000.0
        output.write_bytes(b"")

    run.filmed = filmed

    def iterate() -> dict[str, torch.Tensor]:
        clock[0] += 1.0
        return {"loss": torch.zeros(1)}

    settings = LoopSettings(4, log_every=1, film_every=1)
    MetaTraining(Still(), iterate, [run], [{}], 1, settings).run()
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["wall_seconds"] for line in lines] == [1, 2, 3, 4]
    assert films(run.path)[-1] == "000004.gif"
