"""`compare` of every script: the same command line, folders, tables and promises."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from experiments import alphabets, maze_adapt, omniglot, regression
from experiments.maze import COMPARABLE as MAZES
from experiments.maze import RECIPE as MAZE
from metarl.compare.plan import Comparable
from metarl.run import main
from metarl.runs.directory import RunDirectory
from tests.experiments.omniglot_runs import tiny_archives


@dataclass(frozen=True)
class Case:
    """How a script is compared on tiny settings.

    Attributes:
        recipe: The script.
        comparable: What it compares.
        options: Of `compare`.
        methods: Two, of which the second is the reference.
        other_tasks: An option with which the tasks are others.
        value: Mean value of the first run in the end, of what `evaluate` has summed up.
    """

    recipe: object
    comparable: Comparable
    options: tuple[str, ...]
    methods: tuple[str, str]
    other_tasks: tuple[str, str]
    value: object

    @property
    def name(self):
        return self.recipe.name.removeprefix("experiments.")


COMMON = ("--iterations", "2", "--log-every", "1", "--device", "cpu")
CASES = [
    Case(
        MAZE,
        MAZES,
        (
            *("--mazes", "dfs", "--size", "9", "--batch-size", "4", "--minibatch-trials", "2"),
            *("--hidden-size", "4", "--horizon", "9", "--evaluate.tasks", "6"),
        ),
        ("gru", "rnn"),
        ("--size", "11"),
        lambda summary: summary["mean_return"],
    ),
    Case(
        maze_adapt.RECIPE,
        maze_adapt.COMPARABLE,
        (
            *("--env", "bandit", "--arms", "2", "--horizon", "3", "--hidden", "3"),
            *("--meta-batch", "2", "--episodes", "2", "--evaluate.tasks", "6"),
        ),
        ("fomaml", "none"),
        ("--env", "mdp"),
        lambda summary: summary["return_mean"][-1],
    ),
    Case(
        regression.RECIPE,
        regression.COMPARABLE,
        (
            *("--family", "sine-phase", "--meta-batch", "2", "--hidden", "3"),
            *("--evaluate.tasks", "6", "--evaluate.steps", "2"),
        ),
        ("maml", "none"),
        ("--family", "sine"),
        lambda summary: summary["mse"][-1],
    ),
    Case(
        omniglot.RECIPE,
        omniglot.COMPARABLE,
        (
            *("--ways", "3", "--filters", "2", "--meta-batch", "2", "--train-characters", "10"),
            *("--validation-characters", "3", "--validation-tasks", "3", "--no-complete"),
            *("--evaluate.tasks", "6"),
        ),
        ("fomaml", "none"),
        ("--ways", "4"),
        lambda summary: summary["transductive_accuracy"],
    ),
    Case(
        alphabets.RECIPE,
        alphabets.COMPARABLE,
        (
            *("--preset", "fast", "--pretrain", "2", "--test-alphabets", "2", "--classes", "3"),
            *("--held-out", "1", "--meta-batch", "2", "--validation-alphabets", "1"),
            *("--filters", "2", "--test-steps", "4", "--inner-steps", "2", "--no-complete"),
            *("--images.batch-size", "4", "--evaluate.every", "2"),
        ),
        ("reptile", "none"),
        ("--preset", "default"),
        lambda summary: summary["non_transductive_accuracy"],
    ),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_archives(tmp_path_factory.mktemp("omniglot"))


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def compared(request, tmp_path_factory, data):
    """A script, its folder, and the words that compare two methods with two seeds."""
    case, folder = request.param, tmp_path_factory.mktemp("compare") / request.param.name
    own = ("--data", str(data)) if case.recipe in (omniglot.RECIPE, alphabets.RECIPE) else ()
    line = ("--run-dir", str(folder), *case.options, *own, *COMMON)
    with pytest.MonkeyPatch.context() as patch:  # the pictures of each run take the longest
        patch.setattr("metarl.run.adaptation.draw", lambda *_: None)
        patch.setattr("metarl.run.trials.draw_within_trial", lambda *_: None)
        patch.setattr("metarl.plots.adaptation.draw_fits", lambda *_: None)
        patch.setattr("metarl.plots.adaptation.draw_classification", lambda *_: None)
        main(case.recipe, ["compare", *line, "--methods", *case.methods, "--seeds", "0", "1"])
        yield case, folder, line


def read(folder):
    return json.loads((folder / "comparison.json").read_text())


def test_runs_lie_where_they_should_and_their_numbers_are_those_of_evaluate(compared):
    case, folder, _ = compared
    results, measure = read(folder)["results"], case.comparable.measure
    assert [s["method"] for s in results["methods"]] == list(case.methods)
    assert (results["missing"], results["failures"]) == ([], {})
    assert results["reference"] == case.methods[1]
    for summary in results["methods"]:
        runs = [folder / summary["method"] / f"seed-{seed}" for seed in (0, 1)]
        values = [case.value(RunDirectory.open(run).read_summary()) for run in runs]
        assert summary[f"{measure.name}_mean"][-1] == pytest.approx(np.mean(values))
        ends = [summary["profile"]["share"][end] for end in (0, -1)]
        assert min(ends) == ends[measure.higher_is_better] == 0  # nothing is better than the best
        assert summary[measure.counter] > 0 or summary["method"] == "none"
    first, reference = results["methods"]
    assert 0 <= first["better_than_reference"]["estimate"] <= 1
    assert reference["better_than_reference"] is None
    with open(folder / "comparison.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} == set(case.methods)
    assert float(rows[0][f"{measure.name}_mean"]) == first[f"{measure.name}_mean"][0]
    assert f"better than {case.methods[1]}" in (folder / "comparison.md").read_text()
    assert (folder / "comparison.png").stat().st_size > 1000


def test_all_seeds_and_methods_have_the_same_tasks(compared):
    _, folder, _ = compared
    found = [json.loads(path.read_text()) for path in folder.rglob("adaptation.json")]
    assert len(found) == 4
    assert len({tuple(one["task_ids"]) for one in found}) == 1


def test_what_is_done_is_not_done_again_and_is_summed_up(compared, capsys, monkeypatch):
    case, folder, line = compared
    kept = (folder / "comparison.json").read_bytes()

    def never(*_, **__):
        raise AssertionError("done again")

    monkeypatch.setattr("metarl.compare.work.train", never)
    main(case.recipe, ["compare", *line])
    main(case.recipe, ["compare", "--run-dir", str(folder)])
    main(case.recipe, ["compare", "--run-dir", str(folder), "--report-only"])
    assert (folder / "comparison.json").read_bytes() == kept
    (folder / "comparison.json").unlink()  # as of runs that were copied together
    main(case.recipe, ["compare", "--run-dir", str(folder), "--report-only"])
    said = capsys.readouterr().out
    assert all(f"| {method} | 2 |" in said for method in case.methods)
    (folder / "comparison.json").write_bytes(kept)


def refused(case, capsys, *arguments):
    with pytest.raises(SystemExit) as exit_:
        main(case.recipe, ["compare", *arguments])
    assert exit_.value.code == 2
    return " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_other_tasks_are_refused_and_unknown_methods_and_options(compared, capsys):
    case, folder, line = compared
    kept = (folder / "comparison.json").read_bytes()
    other, value = case.other_tasks
    said = refused(case, capsys, *line, *case.other_tasks)
    assert f"compares on {other} " in said or "was trained with another" in said
    said = refused(case, capsys, *line, "--override", f"{case.methods[0]}.{other[2:]}={value}")
    assert "the whole comparison's" in said or "all are compared on the same tasks" in said
    assert "'mamel' is not one of" in refused(case, capsys, *line, "--methods", "mamel")
    assert "--evaluate.seed must" in refused(case, capsys, *line, "--evaluate.seed", "-1")
    assert "--runs" in refused(case, capsys, *line, "--runs", "3")
    assert (folder / "comparison.json").read_bytes() == kept


def test_a_method_has_settings_of_its_own(compared, tmp_path):
    case, _, line = compared
    first, second = case.methods
    place = ("--run-dir", str(tmp_path / "c"), "--seeds", "3", "--only", f"{second}/seed-3")
    own = ("--override", f"{second}.log-every=2")
    main(case.recipe, ["compare", *line, *place, "--methods", first, second, *own])
    run = RunDirectory.open(tmp_path / "c" / second / "seed-3")
    assert run.config["log_every"] == 2
    assert not (tmp_path / "c" / first).exists()
    assert Path(run.path / "adaptation.json").exists()
