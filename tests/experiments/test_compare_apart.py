"""`compare --report-only` of runs that were trained apart; `--only` trains them apart."""

import json
import shutil

import pytest

from metarl.compare import plan
from metarl.runs.directory import RunDirectory
from tests.experiments.scripts import maze_adapt as main
from tests.experiments.test_maze_compare import SMALL, compare, refused


@pytest.fixture(scope="module", autouse=True)
def _no_picture_of_each_run():
    """Those are tested with `evaluate`, and take the longest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metarl.run.adaptation.draw", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    """Two folders, as of two machines."""
    folder = tmp_path_factory.mktemp("machines")
    compare(folder / "one", *SMALL, "--methods", "fomaml", "--seeds", "0", "1")
    compare(folder / "two", *SMALL, "--methods", "none", "--seeds", "0")
    return folder


@pytest.fixture
def together(machines, tmp_path):
    folder = tmp_path / "c"
    for name in ("one", "two"):
        kept = shutil.ignore_patterns("comparison.*")
        shutil.copytree(machines / name, folder, ignore=kept, dirs_exist_ok=True)
    return folder


def report(folder, capsys, *more):
    main(["compare", "--run-dir", str(folder), "--report-only", *more])
    return capsys.readouterr().out


def test_runs_that_were_copied_together_are_compared_and_missing_ones_named(together, capsys):
    said = report(together, capsys)
    assert "| fomaml | 2 | 1 |" in said
    assert "| none | 1 | 1 |" in said
    assert "Not there: none/seed-1." in said
    assert not (together / "comparison.json").exists()  # how they were made is not known
    assert "comparison.json" not in said
    said = report(together, capsys, "--methods", "anil", "--seeds", "2")
    assert "Not there: fomaml/seed-2, none/seed-1, none/seed-2, anil/seed-0" in said


def test_whose_comparison_it_was_is_kept(machines, together, capsys):
    shutil.copy(machines / "one" / "comparison.json", together)
    report(together, capsys)
    kept = json.loads((together / "comparison.json").read_text())
    assert kept["comparison"]["methods"] == ["fomaml", "none"]
    assert kept["results"]["missing"] == ["none/seed-1"]
    assert kept["comparison"]["options"][:4] == ["--env", "bandit", "--arms", "2"]


def test_training_goes_on_where_runs_were_copied_together(together, capsys):
    found = compare(together, *SMALL, "--methods", "fomaml", "none", "--seeds", "0", "1")
    assert found["results"]["missing"] == []
    assert "fomaml" not in capsys.readouterr().out.partition("#")[0]


def changed(folder, name, **values):
    path = folder / name / "config.json"
    config = json.loads(path.read_text())
    for where, value in values.items():
        here = config
        *groups, last = where.split("__")
        for group in groups:
            here = here[group]
        here[last] = value
    path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        (
            "fomaml/seed-1",
            {"learner__inner_lr": 0.25},
            "learner.inner_lr is 0.5 in fomaml/seed-0, 0.25 in fomaml/seed-1",
        ),
        ("fomaml/seed-1", {"iterations": 5}, "iterations is 4 in fomaml/seed-0, 5 in"),
        ("none/seed-0", {"environment__arms": 3}, "environment.arms is 2 in fomaml/seed-0, 3 in"),
        ("fomaml/seed-1", {"method": "none"}, "learner"),
    ],
)
def test_mixed_settings_are_refused_by_their_names(together, capsys, name, values, said):
    changed(together, name, **values)
    assert said in refused(capsys, "--run-dir", str(together), "--report-only")


def test_options_that_no_method_has_are_refused_beside_a_report_too(together, capsys):
    for option in (["--json"], ["--leraning-rate", "1"]):
        said = refused(capsys, "--run-dir", str(together), "--report-only", *option)
        assert f"{option[0]}: none of fomaml, none has it" in said
    report(together, capsys, "--iterations", "4")  # which those runs have


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--evaluate.seed", "7"], "evaluate.seed is 10000 in fomaml/seed-0, 7 now"),
        (["--evaluate.tasks", "5"], "evaluate.tasks is 3 in fomaml/seed-0, 5 now"),
        (["--evaluate.steps=2"], "evaluate.steps is 1 in fomaml/seed-0, 2 now"),
        (["--iterations", "5"], "iterations is 4 in fomaml/seed-0, 5 now"),
        (["--inner-lr", "0.25"], "learner.inner_lr is 0.5 in fomaml/seed-0, 0.25 now"),
        (["--override", "fomaml.inner_lr=0.25"], "learner.inner_lr is 0.5 in fomaml/seed-0"),
        (["--override=none.evaluate.steps=2"], "evaluate.steps is 1 in none/seed-0, 2 now"),
        (["--override", "anil.inner-lr=2"], "--override anil.inner-lr=2"),
    ],
)
def test_a_report_of_other_settings_than_the_runs_have_is_refused(together, capsys, words, said):
    told = refused(capsys, "--run-dir", str(together), "--report-only", *words)
    assert said in told
    assert not (together / "comparison.md").exists()


def test_a_report_of_the_settings_that_the_runs_have_is_made(together, capsys):
    own = ("--override", "fomaml.inner-lr=0.5", "--override", "fomaml.evaluate.steps=1")
    same = ("--evaluate.tasks", "3", "--evaluate.side", "test", "--evaluate.seed", "10000")
    said = report(together, capsys, *same, *own, "--log-every", "2", "--hidden", "3")
    assert "Unseen tasks: 3, of the split test, the same for all." in said
    (together / "none" / "seed-0" / "evaluated.json").unlink()  # as of `evaluate`
    report(together, capsys, *same)
    said = refused(capsys, "--run-dir", str(together), "--report-only", "--evaluate.tasks", "5")
    assert "evaluate.tasks is 3 in" in said
    said = refused(
        capsys, "--run-dir", str(together), "--report-only", "--evaluate.chunk-size", "2"
    )
    assert "evaluate.chunk_size is None in fomaml/seed-0, 2 now" in said


def test_a_folder_says_by_what_its_runs_are_judged(machines, together, capsys):
    shutil.copy(machines / "one" / "comparison.json", together)
    for name in ("fomaml/seed-0", "fomaml/seed-1", "none/seed-0"):
        again = ["evaluate", str(together / name), "--tasks", "3", "--steps", "1"]
        main([*again, "--seed", "7", "--device", "cpu"])
    capsys.readouterr()
    said = refused(capsys, "--run-dir", str(together), "--report-only")
    assert "evaluate.seed is 7 in fomaml/seed-0, 10000 in the comparison" in said
    assert "leave out --report-only" in said


def test_runs_that_were_evaluated_differently_are_refused(together, capsys):
    again = ["evaluate", str(together / "none" / "seed-0"), "--tasks", "3", "--steps", "1"]
    main([*again, "--seed", "7", "--device", "cpu"])
    said = refused(capsys, "--run-dir", str(together), "--report-only")
    assert "were evaluated differently: seed is 10000 in fomaml/seed-0, 7 in none/seed-0" in said


def test_one_that_was_not_evaluated_at_its_end_is_named_with_the_remedy(together, capsys):
    run = together / "fomaml" / "seed-1"
    (run / "summary.json").unlink()
    said = report(together, capsys)
    assert f"fomaml/seed-1: it is not evaluated: evaluate {run}" in said
    assert "| fomaml | 1 | 1 |" in said
    main(["train", "--resume", str(run), "--iterations", "5"])
    main(["evaluate", str(run), "--tasks", "3", "--steps", "1", "--device", "cpu"])
    capsys.readouterr()
    changed(together, "fomaml/seed-1", iterations=4)
    said = report(together, capsys)
    assert "it was evaluated after 5 of 4 iterations" in said


def test_one_that_was_trained_and_evaluated_by_hand_counts(together, capsys):
    path = together / "anil" / "seed-0"
    small = [word for word in SMALL if "evaluate" not in word][: SMALL.index("--evaluate.tasks")]
    main(["train", "--method", "anil", *small, "--device", "cpu", "--run-dir", str(path)])
    main(["evaluate", str(path), "--tasks", "3", "--steps", "1", "--device", "cpu"])
    capsys.readouterr()
    assert "| anil | 1 | 1 |" in report(together, capsys)


def test_only_some_runs_are_done_and_nothing_reported(tmp_path, capsys):
    folder = tmp_path / "c"
    line = ["--run-dir", str(folder), *SMALL, "--methods", "fomaml", "none", "--seeds", "0"]
    main(["compare", *line, "--only", "none/seed-0"])
    assert RunDirectory.open(folder / "none" / "seed-0").read_summary()["method"] == "none"
    assert not (folder / "fomaml").exists()
    assert not (folder / "comparison.md").exists()
    said = refused(capsys, *line, "--only", "none/seed-7")
    assert "--only none/seed-7 is not one of the runs: fomaml/seed-0, none/seed-0" in said


def test_one_of_many_runs_looks_at_that_run_alone(machines, monkeypatch):
    looked = []
    own = plan.check_same
    monkeypatch.setattr(plan, "check_same", lambda job: looked.append(job.path) or own(job))
    place = machines / "one"
    main(["compare", "--run-dir", str(place), "--only", "fomaml/seed-1"])
    assert looked == [place / "fomaml" / "seed-1"]


def test_a_folder_without_runs_is_said(tmp_path, capsys):
    (tmp_path / "maml").mkdir()
    said = refused(capsys, "--run-dir", str(tmp_path), "--report-only")
    assert "holds something else than a comparison" in said


def test_validation_tasks_are_compared_beside_those_of_the_test(tmp_path, capsys):
    folder, line = tmp_path / "c", [*SMALL, "--methods", "none", "--seeds", "0"]
    compare(folder, *line)
    test = (folder / "none" / "seed-0" / "summary.json").read_bytes()
    compare(folder, "--evaluate.split", "validation")
    assert "of the split validation" in (folder / "comparison.md").read_text()
    assert (folder / "none" / "seed-0" / "summary.json").read_bytes() == test
    assert (folder / "none" / "seed-0" / "adaptation-validation.json").exists()
    line = ["--run-dir", str(folder), "--report-only", "--evaluate.split", "test"]
    said = refused(capsys, *line)
    assert "evaluate.split is 'test' in none/seed-0, 'validation' in the comparison" in said
