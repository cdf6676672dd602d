import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from experiments.plot import PlotSettings, common_anchors, curves, group_runs, main
from experiments.references import explained
from metarl.runs.directory import RunDirectory, create_runs, find_runs

ANCHORS = {"random": 2.0, "explore_then_exploit": 30.0}


def _train(path: Path, seeds: tuple[int, ...] = (0,), num_lines: int = 5, **config: Any) -> Path:
    """A run with metrics `return` = iteration + seed, as if it had been trained."""
    settings = {"method": "warp", "preset": "default", "iterations": 99, **config}
    for run in create_runs(path, seeds, settings, anchors=ANCHORS):
        with run:
            for iteration in range(10, 10 * num_lines + 1, 10):
                run.write_metrics(
                    iteration,
                    {
                        "return": iteration + run.config["seed"],
                        "loss": float("nan"),
                        "falling": -iteration,
                    },
                    wall_seconds=1.0,
                    env_steps=iteration * 6000,
                )
    return path


def test_runs_are_grouped_by_method_and_preset_over_seeds(tmp_path: Path) -> None:
    paths = [
        _train(tmp_path / "a", (0, 1)),
        _train(tmp_path / "b", (2,), iterations=7, run_dir="elsewhere"),
        _train(tmp_path / "c", method="rnn"),
        _train(tmp_path / "d", preset="paper"),
    ]
    groups = group_runs([run for path in paths for run in find_runs(path)])
    assert {label: [r.config["seed"] for r in runs] for label, runs in groups.items()} == {
        "warp": [0, 1, 2],
        "rnn": [0],
        "warp (paper)": [0],
    }


def test_runs_with_other_settings_are_never_averaged(tmp_path: Path) -> None:
    paths = [
        _train(tmp_path / str(lr), size=13, learner={"fast": {"lr": lr}}) for lr in (0.001, 0.003)
    ]
    groups = group_runs([run for path in paths for run in find_runs(path)])
    assert list(groups) == ["warp, learner.fast.lr=0.001", "warp, learner.fast.lr=0.003"]


def test_how_tasks_were_stacked_makes_no_other_line(tmp_path: Path) -> None:
    paths = [
        _train(tmp_path / str(size), (seed,), learner={"execution": {"chunk_size": size}})
        for seed, size in enumerate(("auto", 8, None))
    ]
    groups = group_runs([run for path in paths for run in find_runs(path)])
    assert {label: len(runs) for label, runs in groups.items()} == {"warp": 3}


@pytest.mark.parametrize(("decay", "num_lines"), [("constant", 1), ("linear", 2)])
def test_under_a_schedule_longer_runs_are_another_method(
    tmp_path: Path, decay: str, num_lines: int
) -> None:
    paths = [
        _train(tmp_path / str(n), (n,), iterations=n, schedule={"decay": decay}) for n in (7, 99)
    ]
    groups = group_runs([run for path in paths for run in find_runs(path)])
    assert len(groups) == num_lines
    assert ("warp, iterations=99" in groups) is (num_lines == 2)


def test_curves_are_cut_to_the_iterations_that_all_seeds_have(tmp_path: Path) -> None:
    runs = [
        RunDirectory.open(_train(tmp_path / "a", (0,), num_lines=5)),
        RunDirectory.open(_train(tmp_path / "b", (1,), num_lines=3)),
    ]
    line = curves("warp", runs, "env_steps", "return")
    assert line.x.tolist() == [60_000, 120_000, 180_000]
    np.testing.assert_array_equal(line.values, [[10, 20, 30], [11, 21, 31]])


def test_anchors_come_from_the_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDirectory.open(_train(tmp_path / "a"))
    assert common_anchors([run]) == {"random actions": 2.0, "explore then exploit": 30.0}
    other = RunDirectory.create(tmp_path / "b", {}, anchors={"random": 3.0})
    maze = RunDirectory.create(tmp_path / "d", {}, anchors={"ceiling": 3.0, "localising": 2.0})
    names = ["explore, then exploit", "best known with these inputs"]
    assert list(common_anchors([maze])) == names
    assert all(name in explained(("random", "localising", "ceiling")) for name in names)
    without = RunDirectory.create(tmp_path / "c", {})
    assert common_anchors([without]) == {}
    assert common_anchors([without, run]) == common_anchors([run])
    capsys.readouterr()
    assert common_anchors([run, other]) == {}
    assert "the runs are of different tasks" in capsys.readouterr().err


def test_the_command_draws_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "pictures" / "curves.png"
    main([str(_train(tmp_path / "a", (0, 1, 2))), "--output", str(output), "--smoothing", "2"])
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
        "run": _train(tmp_path / "run"),
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
        "experiments.plot.learning_curves",
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
    run = _train(tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as stop:
        main([str(run), "--output", str(tmp_path / "file" / "curves.png")])
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith("error: ")
