"""`search` of the scripts that learn from data: what a trial is worth, and on which tasks."""

import csv
import json

import pytest

from metarl.runs.directory import RunDirectory
from metarl.supervised.omniglot import few_shot
from tests.experiments.omniglot_runs import tiny_archives
from tests.experiments.scripts import alphabets, omniglot, regression

CURVES = (
    *("--iterations", "3", "--meta-batch", "2", "--points", "3", "--query-points", "2"),
    *("--hidden", "3", "--device", "cpu", "--log-every", "1"),
)
CHARACTERS = (
    *("--ways", "3", "--filters", "2", "--meta-batch", "2", "--train-characters", "10"),
    *("--validation-characters", "3", "--validation-tasks", "3", "--validate-every", "2"),
    *("--iterations", "3", "--log-every", "1", "--device", "cpu", "--no-complete"),
)
WHOLE = (
    *("--preset", "fast", "--method", "reptile", "--pretrain", "2", "--test-alphabets", "2"),
    *("--classes", "3", "--held-out", "1", "--meta-batch", "2", "--validation-alphabets", "1"),
    *("--filters", "2", "--test-steps", "2", "--inner-steps", "2", "--images.batch-size", "4"),
    *("--validate-every", "2", "--iterations", "3", "--device", "cpu", "--no-complete"),
)
TWO = ("--trials", "2", "--validations", "2")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_archives(tmp_path_factory.mktemp("omniglot"))


def search(main, folder, *arguments):
    main(["search", "--run-dir", str(folder), *TWO, *arguments])
    with open(folder / "search.csv", newline="") as file:
        return {int(row["trial"]): row for row in csv.DictReader(file)}


def test_curves_by_the_error_on_functions_for_validation_the_less_the_better(tmp_path, capsys):
    dims = ("--search", "inner-lr=log:1e-3:1", "--search", "activation=relu,tanh")
    rows = search(regression, tmp_path / "s", *CURVES, *dims, "--tasks", "4")
    said = capsys.readouterr().out
    best = min(rows, key=lambda number: float(rows[number]["value"]))
    assert f"Best: trial {best}, validation error" in said
    place = tmp_path / "s" / f"trial-{best}"
    judged = ("--split", "validation", "--seed", "20000", "--tasks", "4", "--device", "cpu")
    regression(["evaluate", str(place), *judged])
    summary = json.loads((place / "summary-validation.json").read_text())
    assert float(rows[best]["value"]) == pytest.approx(summary["mse"][-1])


def test_characters_by_the_accuracy_that_training_chooses_by(tmp_path, data, monkeypatch):
    sides = []
    tasks = few_shot.FewShotOmniglot.tasks

    def recorded(self, images, side, device="cpu", num_tasks=None, seed=0):
        sides.extend([side] if num_tasks is not None else [])
        return tasks(self, images, side, device, num_tasks, seed)

    monkeypatch.setattr(few_shot.FewShotOmniglot, "tasks", recorded)
    dims = ("--search", "learner.lr=log:1e-3:1e-1", "--search", "method=maml,anil")
    rows = search(omniglot, tmp_path / "s", *CHARACTERS, "--data", str(data), *dims)
    assert set(sides) == {"validation"}
    for number, row in rows.items():
        run = RunDirectory.open(tmp_path / "s" / f"trial-{number}")
        assert run.config["method"] == row["method"]
        best = run.load_checkpoint()["learner"]["selection"]["best"]
        assert float(row["value"]) == pytest.approx(best["score"])


def test_alphabets_by_the_accuracy_that_training_chooses_by(tmp_path, data):
    dims = ("--search", "learner.lr=log:1e-2:1", "--search", "decay=linear,constant")
    rows = search(alphabets, tmp_path / "s", *WHOLE, "--data", str(data), *dims)
    for number, row in rows.items():
        run = RunDirectory.open(tmp_path / "s" / f"trial-{number}")
        assert run.config["learner"]["decay"] == row["decay"]
        best = run.load_checkpoint()["learner"]["selection"]["best"]
        assert float(row["value"]) == pytest.approx(best["score"])


@pytest.mark.parametrize(
    ("main", "text", "said"),
    [
        (regression, "family=sine,logistic", "that would be other tasks"),
        (omniglot, "ways=3,5", "that would be other tasks"),
        (omniglot, "shots=int:1:2", "that would be other tasks"),
        (omniglot, "network.filters=float:1:2", "filters is a whole number"),
        (alphabets, "pretrain=1,2", "that would be other tasks"),
        (alphabets, "preset=fast,paper", "that would be other tasks"),
    ],
)
def test_other_tasks_are_not_searched(tmp_path, capsys, data, main, text, said):
    of = {regression: CURVES, omniglot: (*CHARACTERS, "--data", str(data))}
    with pytest.raises(SystemExit):
        search(main, tmp_path / "s", *of.get(main, (*WHOLE, "--data", str(data))), "--search", text)
    assert said in capsys.readouterr().err
    assert not list(tmp_path.rglob("trial-*"))


def test_the_number_of_validation_tasks_is_an_option_of_training(tmp_path, capsys, data):
    with pytest.raises(SystemExit):
        dims = ("--search", "lr=1,2", "--tasks", "3", "--data", str(data))
        search(omniglot, tmp_path / "s", *CHARACTERS, *dims)
    assert "as many as --validation-tasks says" in capsys.readouterr().err
