"""`compare` and `sweep` whose runs are handed to others: who those are is tested with executors."""

from types import SimpleNamespace

import pytest

from experiments import maze_adapt as script
from metarl.compare import executors
from metarl.meta import NonFiniteLossError
from metarl.runs.directory import RunDirectory
from tests.experiments.omniglot_runs import tiny_archives
from tests.experiments.scripts import alphabets, maze_adapt
from tests.experiments.test_maze_compare import SMALL, patch_script
from tests.experiments.test_search_supervised import WHOLE


@pytest.fixture
def handed_over(monkeypatch):
    """Runs what is handed over at once, in this process; returns the names."""
    names = []

    def submit(unit):
        names.append(unit.name)
        status = unit()
        paths = SimpleNamespace(stderr="its.err")
        return SimpleNamespace(
            done=lambda: True, result=lambda: status, stderr=lambda: "", paths=paths
        )

    monkeypatch.setattr(executors, "_executor", lambda *_: SimpleNamespace(submit=submit))
    return names


@pytest.fixture(autouse=True)
def _no_picture_of_each_run(monkeypatch):
    monkeypatch.setattr("metarl.run.adaptation.draw", lambda *_: None)


def test_a_comparison_hands_over_what_is_not_done_and_reports(tmp_path, handed_over, capsys):
    line = ["compare", "--run-dir", str(tmp_path / "c"), *SMALL, "--seeds", "0"]
    local = ("--executor", "local", "--jobs", "2")
    maze_adapt([*line, "--methods", "none", *local])
    maze_adapt([*line, "--methods", "fomaml", *local])
    assert handed_over == ["none/seed-0", "fomaml/seed-0"]
    assert "| fomaml | 1 | 1 |" in capsys.readouterr().out
    maze_adapt([*line, *local])
    assert len(handed_over) == 2


def test_what_fails_elsewhere_is_a_row_and_the_others_are_there(
    tmp_path, handed_over, capsys, monkeypatch
):
    own = script.COMPARABLE.script.train

    def train(settings):
        if settings.method == "fomaml":
            raise NonFiniteLossError("the loss is not finite")
        return own(settings)

    patch_script(monkeypatch, train=train)
    line = ["compare", "--run-dir", str(tmp_path / "c"), *SMALL, "--seeds", "0"]
    with pytest.raises(SystemExit) as exit_:
        maze_adapt([*line, "--methods", "fomaml", "none", "--executor", "local"])
    assert exit_.value.code == 1
    said = capsys.readouterr()
    assert "| fomaml | failed |" in said.out
    assert "1 failed: fomaml/seed-0" in said.err


def test_a_sweep_hands_over_what_is_not_done_and_reports(tmp_path, handed_over, capsys):
    data = tiny_archives(tmp_path / "images")
    drop = {"--preset", "--method", "--pretrain"}
    words = list(zip(WHOLE[:-1:2], WHOLE[1::2], strict=True))
    options = [word for pair in words if pair[0] not in drop for word in pair]
    place = ("sweep", "--run-dir", str(tmp_path / "s"), "--data", str(data))
    line = [*place, "--methods", "reptile", "none", "--pretrain", "2"]
    more = ["--executor", "local", "--", "--no-complete", *options]
    alphabets([*line, "--only", "none/pretrain-2/seed-0", "--executor", "here", *more[2:]])
    assert not (tmp_path / "s" / "results.csv").exists()
    alphabets([*line, *more])
    assert handed_over == ["reptile/pretrain-2/seed-0"]
    assert (tmp_path / "s" / "results.csv").read_text().count("\n") == 3
    run = RunDirectory.open(tmp_path / "s" / handed_over[0])
    assert run.read_summary()["method"] == "reptile"
    with pytest.raises(SystemExit):
        alphabets([*line, "--only", "none/seed-7", *more])
    assert "--only none/seed-7 is not one of the runs" in capsys.readouterr().err
