"""Options of `compare` and `sweep` that are refused at once, and which of two counts."""

import pytest

from tests.experiments.scripts import alphabets as alphabets_main
from tests.experiments.test_maze_compare import SMALL, refused


@pytest.fixture
def nothing_is_done(monkeypatch):
    """Training fails where it begins."""

    def train(*_):
        raise AssertionError("trained")

    monkeypatch.setattr("metarl.compare.command.bring", train)
    monkeypatch.setattr("metarl.compare.sweep.work_off", train)


@pytest.mark.usefixtures("nothing_is_done")
@pytest.mark.parametrize("words", [["--config", "X"], ["--config=own.yaml"]])
def test_settings_of_another_run_are_not_for_a_comparison(tmp_path, capsys, words):
    line = ["--run-dir", str(tmp_path / "c"), *SMALL, "--methods", "fomaml", "none"]
    said = refused(capsys, *line, *words)
    assert "--config is not for `compare`" in said
    assert "give its options by their names" in said
    assert not list(tmp_path.iterdir())
    said = refused(capsys, *line, "--override", "fomaml.config=own.yaml")
    assert "--override fomaml.config" in said


@pytest.mark.usefixtures("nothing_is_done")
def test_settings_of_another_run_are_not_for_a_sweep(tmp_path, capsys):
    folder = tmp_path / "s"
    line = ["sweep", "--run-dir", str(folder), "--methods", "none"]
    with pytest.raises(SystemExit) as end:
        alphabets_main([*line, "--", "--config", "own.yaml"])
    assert end.value.code == 2
    assert "--config is not for `sweep`: give its options by their names" in capsys.readouterr().err
    assert not folder.exists()
