"""`python -m experiments.plot`, run as a user runs it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from metarl.run.plot import PlotSettings, main
from metarl.runs.directory import RunDirectory
from tests.metarl.plots.runs_on_disk import trained


def test_the_command_draws_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "pictures" / "curves.png"
    main([str(trained(tmp_path / "a", (0, 1, 2))), "--output", str(output), "--smoothing", "2"])
    assert capsys.readouterr().out == f"drew 3 runs: {output}\n"
    with Image.open(output) as image:
        assert image.size[0] > 1000


def test_it_runs_as_a_module_with_help(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "experiments.plot", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Run directories, or folders that hold seed-0" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{run}", "--metric", "falling", "--log"], "'falling' is not always above 0"),
        (["{run}", "--metric", "regret"], "no metric 'regret'; it has iteration, env_steps"),
        (["{run}", "--metric", "loss"], "no finite value of 'loss'"),
        (["{run}", "--x", "tasks_seen"], "no metric 'tasks_seen'"),
        (["{run}", "--output", "curves.bmp"], "must end in .png, .svg, .pdf"),
        (["{run}", "--smoothing", "0"], "--smoothing must be at least 1, got 0"),
        (["{run}", "--confidence", "95"], "--confidence must lie between 0 and 1, got 95"),
        (["{new}"], "has no metrics yet; train it a little longer"),
        (["{tmp}"], "is not a run"),
        (["{tmp}/nowhere"], "there is no run directory"),
        ([], "name at least one run directory"),
    ],
)
def test_mistakes_end_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    places = {
        "run": trained(tmp_path / "run"),
        "new": RunDirectory.create(tmp_path / "new", {}).path,
        "tmp": tmp_path,
    }
    with pytest.raises(SystemExit) as stop:
        main([argument.format_map(places) for argument in arguments])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_settings_name_their_defaults() -> None:
    settings = PlotSettings((Path("runs/demo"),))
    assert (settings.metric, settings.log, settings.confidence) == (None, False, 0.95)


@pytest.mark.parametrize(
    ("logged", "metric"),
    [
        ({"return": 1.0, "query_loss": 2.0}, "return"),
        ({"query_loss": 2.0, "validation_accuracy": 0.9}, "validation_accuracy"),
        ({"query_loss": 2.0, "validation_accuracy": float("nan")}, "query_loss"),
        ({"support_loss": 1.0, "query_loss": 2.0}, "query_loss"),
        ({"support_loss": 1.0, "last_support_loss": 2.0}, "last_support_loss"),
    ],
)
def test_the_metric_is_the_most_telling_that_all_runs_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: dict[str, float], metric: str
) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(
        "metarl.plots.lines.learning_curves",
        lambda lines, **words: seen.update(words, values=lines[0].values) or Figure(),
    )
    with RunDirectory.create(tmp_path / "run", {"method": "maml"}) as run:
        run.write_metrics(1, logged, wall_seconds=1.0, tasks_seen=25)
    main([str(run.path), "--output", str(tmp_path / "curves.png"), "--log"])
    assert seen["values"].tolist() == [[logged[metric]]]
    assert (seen["xlabel"], seen["log"]) == ("tasks seen", True)


def test_a_place_that_cannot_be_written_to_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as stop:
        main([str(run), "--output", str(tmp_path / "file" / "curves.png")])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error == f"error: {tmp_path}/file is a file, not a folder; name another --output\n"


def test_runs_of_different_tasks_have_no_anchors_which_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(tmp_path / "a")
    with RunDirectory.create(tmp_path / "b", {"method": "rnn"}, anchors={"random": 3.0}) as other:
        other.write_metrics(10, {"return": 1.0}, wall_seconds=1.0, env_steps=7)
    main([str(run), str(other.path), "--output", str(tmp_path / "curves.png")])
    assert "the runs are of different tasks" in capsys.readouterr().err
