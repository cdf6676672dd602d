"""Options of `compare` and `sweep` that are refused at once, and which of two counts."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from experiments import maze_adapt
from experiments import regression as regression_recipe
from metarl.compare.command import keep
from metarl.compare.settings import CompareSettings, Comparison, merged, stored_in
from metarl.compare.sweep import SweepSettings
from metarl.compare.work import PLACES, differences
from metarl.errors import UserError
from metarl.plots.runs import group_runs
from tests.experiments.scripts import alphabets as alphabets_main
from tests.experiments.scripts import regression
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


@pytest.mark.usefixtures("nothing_is_done")
@pytest.mark.parametrize("option", ["seed=7", "tasks=5", "split=validation", "split=test"])
def test_a_method_has_no_tasks_of_its_own(tmp_path, capsys, option):
    line = ["--run-dir", str(tmp_path / "c"), *SMALL, "--methods", "fomaml", "none"]
    said = refused(capsys, *line, "--override", f"none.evaluate.{option}")
    name = option.partition("=")[0]
    assert f"--override none.evaluate.{name}: {name} is the whole comparison's" in said
    assert f"--evaluate.{name}" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("nothing_is_done")
@pytest.mark.parametrize("option", ["points", "test_points", "test-points"])
def test_functions_are_shown_alike_to_every_method(tmp_path, capsys, option):
    own = f"none.evaluate.{option}=5"
    with pytest.raises(SystemExit):
        regression(["compare", "--run-dir", str(tmp_path / "c"), "--override", own])
    assert "is the whole comparison's" in capsys.readouterr().err


def joined(stored, *, override=(), rest=()):
    before = Comparison(("fomaml",), (0,), *stored)
    asked = CompareSettings(methods=("fomaml",), seeds=(0,), override=override)
    return merged(before, asked, rest)


def test_of_two_values_for_one_method_the_last_counts():
    stored = (), ("fomaml.inner-lr=0.1", "fomaml.inner-lr=0.2")
    found = joined(stored, override=("fomaml.inner_lr=0.1",))
    assert found.override == ("fomaml.inner_lr=0.1",)
    stored = (), ("fomaml.inner-lr=0.1", "fomaml.steps=3")
    found = joined(stored, override=("fomaml.inner-lr=0.2", "fomaml.inner-lr=0.1"))
    assert found.override == ("fomaml.steps=3", "fomaml.inner-lr=0.1")


def test_of_two_values_for_all_methods_the_last_counts_however_it_is_written():
    stored = ("--meta-batch", "2", "--meta_batch", "3"), ()
    assert joined(stored, rest=("--meta-batch", "2")).options[-2:] == ("--meta-batch", "2")
    stored = ("--cuda-graph", "--no-cuda-graph"), ()
    assert joined(stored, rest=("--cuda-graph",)).options[-1] == "--cuda-graph"
    assert joined(stored, rest=("--no-cuda-graph",)).options == stored[0]
    stored = ("--loss.gamma", "0.5", "--loss.lambda", "1"), ()
    assert joined(stored, rest=("--loss.gamma", "0.5")).options == stored[0]


def test_where_settings_come_from_and_metrics_go_is_no_difference():
    one = {"lr": 0.1, "config": "runs/a", "log": ["tensorboard"], "film_every": 5}
    other = {"lr": 0.1, "config": None, "log": [], "film_every": None}
    assert not differences(one, other, PLACES)
    runs = [SimpleNamespace(config={"method": "maml", **c}) for c in (one, other)]
    assert list(group_runs(runs)) == ["maml"]


def test_runs_of_a_report_are_not_chosen():
    for kind, more in ((CompareSettings, {}), (SweepSettings, {"run_dir": Path("x")})):
        with pytest.raises(UserError, match=r"--only.*--report-only.*drop"):
            kind(methods=("none",), report_only=True, only=("none/seed-0",), **more)


def test_whose_comparison_it_is_is_kept(tmp_path):
    usual = maze_adapt.COMPARABLE.usual
    comparison = Comparison(usual.methods, usual.seeds, (), (), usual.evaluate)
    keep(tmp_path, comparison, {}, recipe="experiments.maze_adapt")
    keep(tmp_path, comparison, {}, results={})
    path = tmp_path / "comparison.json"
    kept = json.loads(path.read_text())
    assert kept["recipe"] == "experiments.maze_adapt"
    assert stored_in(tmp_path, usual.evaluate, "experiments.maze_adapt") == comparison
    other = "experiments.regression"
    command = f"metarl compare maze_adapt --run-dir {tmp_path}"
    with pytest.raises(UserError, match=f"a comparison of maze_adapt.*`{command}`"):
        stored_in(tmp_path, regression_recipe.COMPARABLE.usual.evaluate, other)
    del kept["recipe"]  # as of an earlier version
    path.write_text(json.dumps(kept))
    assert stored_in(tmp_path, usual.evaluate, "experiments.maze_adapt") == comparison


def test_another_recipe_is_told_whose_comparison_it_is(tmp_path, capsys):
    usual = maze_adapt.COMPARABLE.usual
    comparison = Comparison(usual.methods, usual.seeds, (), (), usual.evaluate)
    keep(tmp_path, comparison, {}, recipe="experiments.maze_adapt")
    for more in ((), ("--report-only",)):
        with pytest.raises(SystemExit):
            regression(["compare", "--run-dir", str(tmp_path), *more])
        said = capsys.readouterr().err
        assert "holds a comparison of maze_adapt" in said
        assert f"`python -m experiments.maze_adapt compare --run-dir {tmp_path}`" in said
