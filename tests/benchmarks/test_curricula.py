"""Table of curricula: what is done is left alone, what was cut off goes on, and what is printed."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.curricula import report, train
from metarl.runs.seeds import find_runs

SMALL = ("--env-steps", "131072", "--named", "34", "--levels", "3", "--attempts", "2")


class Calls:
    """What is asked of the scripts, and the files that they would leave."""

    def __init__(self, monkeypatch):
        self.trained, self.tested = [], []
        monkeypatch.setattr(train, "run", self.run)
        monkeypatch.setattr(train, "evaluate", self.evaluate)
        monkeypatch.setattr(
            train, "find_runs", lambda place: [SimpleNamespace(path=place, config={})]
        )

    def run(self, recipe, arguments):
        self.trained.append(arguments)
        option = "--run-dir" if "--run-dir" in arguments else "--resume"
        folder = Path(arguments[arguments.index(option) + 1])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text("{}")

    def evaluate(self, settings, read):
        limit = read.args[0]
        kind = "named" if read.func is train.on_named else "fresh"
        self.tested.append((kind, limit, settings.tasks))
        place = settings.run / f"on-{kind}-{limit}"
        place.mkdir(parents=True)
        (place / "summary.json").write_text("{}")


def test_what_is_done_is_left_alone_and_what_was_cut_off_goes_on(tmp_path, monkeypatch):
    calls = Calls(monkeypatch)
    asked = ["--runs", str(tmp_path), "--methods", "dr", "accel", "--seeds", "4", *SMALL]
    train.main(asked)
    new = [arguments[1] for arguments in calls.trained]
    assert new == ["--mazes", "--mazes"]
    assert [a[a.index("--curriculum") + 1] for a in calls.trained] == ["dr", "accel"]
    assert all(a[a.index("--iterations") + 1] == "2" for a in calls.trained)
    of_one = [(kind, limit, n) for limit in (250, 450) for kind, n in (("named", 34), ("fresh", 6))]
    assert calls.tested == 2 * of_one
    train.main(asked)
    assert len(calls.trained) == 2
    assert len(calls.tested) == 8
    (tmp_path / "accel" / "on-fresh-450" / "summary.json").unlink()
    (tmp_path / "accel" / "on-fresh-450").rmdir()
    train.main(asked)
    assert calls.trained[2:] == [
        ["train", "--resume", str(tmp_path / "accel"), "--iterations", "2"]
    ]
    assert calls.tested[8:] == [("fresh", 450, 6)]


def test_options_behind_two_dashes_are_those_of_every_training(tmp_path, monkeypatch):
    calls = Calls(monkeypatch)
    more = ("--", "--hidden-size", "8")
    train.main(["--runs", str(tmp_path), "--methods", "sfl", "--seeds", "0", *SMALL, *more])
    assert calls.trained[0][-2:] == ["--hidden-size", "8"]


def test_fresh_levels_are_the_same_for_all_and_can_be_solved():
    some, more = train.fresh_levels(250, 3), train.fresh_levels(450, 3)
    assert [task.grid for task in some] == [task.grid for task in more]
    assert {task.max_steps for task in more} == {450}


def lines(method, solved, seeds=(0, 1, 2), limit=250):
    """Lines of a method, which solves each maze so often with its seeds."""
    mazes = (*report.EIGHT, *report.CORRIDORS, report.FRESH, "worst 1 %", "worst 5 %", "worst 10 %")
    return [
        {
            **{"method": method, "seed": str(seed), "limit": str(limit), "maze": maze},
            **{"solved": str(solved[seed]), "env_steps": "18000000"},
            **{"learned_from": "9000000", "cpu_seconds": "300"},
        }
        for seed in seeds
        for maze in mazes
    ]


def test_table_has_means_intervals_and_effort():
    rows = [*lines("dr", (0.2, 0.3, 0.4)), *lines("explorer", (1.0,), seeds=(0,))]
    text = report.table(rows, 250)
    assert "| 250 steps | dr | explorer |" in text
    assert "| Labyrinth2 | .30 | 1.00 |" in text
    # two degrees of freedom: .1 * 4.303 / sqrt(3) = .248
    assert "| **mean of the eight** | .30 (.05–.55) | 1.00 |" in text
    assert "| the same, seed by seed | .20 / .30 / .40 | 1.00 |" in text
    assert "| IQM of the eight | .30 (.20–.40) | 1.00 |" in text
    assert "| M of them learned from | 9.0 | 9.0 |" in text
    assert "| CPU minutes | 5.0 | 5.0 |" in text


def test_the_nine_are_those_of_the_paper_on_accel():
    assert len(report.NINE) == 9
    assert "LabyrinthFlipped" not in report.NINE


def test_lines_that_lack_a_metric_are_not_learned_from():
    metrics = {"env_steps": np.array([10, 20, 30])}
    assert np.isnan(report.column(metrics, "grad_norm")).all()


@pytest.mark.slow
def test_a_small_table_is_trained_tested_and_drawn(tmp_path, monkeypatch, capsys):
    """Two curricula of three iterations, with the files that are written beside the report."""
    monkeypatch.setattr(report, "HERE", tmp_path)
    asked = ("--runs", str(tmp_path / "runs"), "--methods", "dr", "robust-plr", "--seeds", "0", "1")
    more = ("--hidden-size", "4", "--batch-size", "4", "--minibatch-trials", "2")
    train.main([*asked, *SMALL, "--", *more, "--trial-steps", "16"])
    assert len(find_runs(tmp_path / "runs" / "dr")) == 2
    monkeypatch.setattr("sys.argv", ["report", str(tmp_path / "runs")])
    capsys.readouterr()
    report.main()
    first = capsys.readouterr().out
    assert "| 450 steps | dr | robust-plr | explorer | right hand | left hand |" in first
    assert "| Labyrinth | " in first
    assert (tmp_path / "curves.png").stat().st_size > 1000
    monkeypatch.setattr("sys.argv", ["report"])
    report.main()
    assert capsys.readouterr().out == first
