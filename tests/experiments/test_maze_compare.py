"""`compare`, run as a user runs it on a bandit, and its numbers on results made by hand."""

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from experiments import maze_adapt as script
from metarl.compare import work
from metarl.compare.command import asked_for, keep
from metarl.compare.settings import stored_in
from metarl.compare.work import cpu_seconds
from metarl.errors import UserError
from metarl.meta import NonFiniteLossError
from metarl.run.recipe import by_option
from metarl.runs.directory import RunDirectory
from metarl.runs.files import write_json
from metarl.train.trainer import Trainer
from tests.experiments.scripts import alphabets
from tests.experiments.scripts import maze_adapt as main

SMALL = (
    *("--env", "bandit", "--arms", "2", "--horizon", "3", "--hidden", "3", "--meta-batch", "2"),
    *("--episodes", "2", "--iterations", "4", "--log-every", "2", "--checkpoint-every", "2"),
    *("--evaluate.tasks", "3", "--evaluate.steps", "1", "--device", "cpu"),
)


def compare(folder, *arguments):
    main(["compare", "--run-dir", str(folder), *arguments])
    return json.loads((folder / "comparison.json").read_text())


def refused(capsys, *arguments, status=2):
    with pytest.raises(SystemExit) as exit_:
        main(["compare", *arguments])
    assert exit_.value.code == status
    return " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.fixture(scope="module", autouse=True)
def _no_picture_of_each_run():
    """Those are tested with `evaluate`, and take the longest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metarl.run.adaptation.draw", lambda *_: None)
        yield


def patch_script(patch, **functions):
    """Give the script other functions."""
    other = replace(script.COMPARABLE, script=replace(script.COMPARABLE.script, **functions))
    patch.setattr(script, "COMPARABLE", other)


@pytest.fixture
def count(monkeypatch):
    """How often something was trained and evaluated since the last look."""
    done = []

    def counted(name, function):
        return lambda *given: done.append(name) or function(*given)

    own = script.COMPARABLE.script
    patch_script(
        monkeypatch,
        train=counted("train", own.train),
        resume=counted("train", own.resume),
        evaluate=counted("evaluate", own.evaluate),
    )

    def look():
        seen = done.count("train"), done.count("evaluate")
        done.clear()
        return seen

    return look


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare") / "bandit"
    own = ("--override", "reptile.order=serial", "--override", "none.evaluate.steps=2")
    compare(folder, *SMALL, "--methods", "fomaml", "reptile", "none", "--seeds", "0", "1", *own)
    return folder


def test_without_words_it_says_what_it_would_do_and_does_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    said = refused(capsys)
    assert "experiments.maze_adapt compare --methods maml fomaml anil none` trains 12 runs" in said
    assert ", 3 seeds each, of 6000 iterations together" in said
    assert not list(tmp_path.iterdir())


def test_it_leaves_runs_numbers_tables_and_a_picture(compared):
    kept = json.loads((compared / "comparison.json").read_text())
    assert kept["comparison"]["methods"] == ["fomaml", "reptile", "none"]
    assert kept["settings"]["reptile"]["learner"]["order"] == "serial"
    assert {kept["settings"][m]["agent"]["hidden"][0] for m in kept["settings"]} == {3}
    results = kept["results"]
    assert (results["reference"], results["missing"], results["failures"]) == (
        "none",
        [],
        {},
    )
    for summary in results["methods"]:
        method = summary["method"]
        summaries = [
            RunDirectory.open(compared / method / f"seed-{seed}").read_summary() for seed in (0, 1)
        ]
        means = [one["return_mean"] for one in summaries]
        assert summary["return_mean"] == pytest.approx(np.mean(means, 0))
        assert summary["seeds"] == [0, 1]
        assert len(summary["above_start"]) == (3 if method == "none" else 2)
        steps = {"fomaml": 4 * 4, "reptile": 3 * 4, "none": 0}[method]
        assert summary["env_steps"] == steps * 2 * 2 * 3
        assert summary["cpu_seconds"] > 0
    with open(compared / "comparison.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(r["method"], r["k"]) for r in lines][:3] == [
        ("fomaml", "0"),
        ("fomaml", "1"),
        ("reptile", "0"),
    ]
    assert float(lines[1]["return_mean"]) == results["methods"][0]["return_mean"][1]
    text = (compared / "comparison.md").read_text()
    assert "above none" in text
    assert "| reptile | 2 | 1 | 2 |" in text
    with Image.open(compared / "comparison.png") as image:
        assert min(image.size) > 500


def test_what_is_done_is_left_alone_and_what_is_new_is_added(compared, count):
    kept = (compared / "comparison.json").read_bytes()
    compare(compared)
    assert count() == (0, 0)
    assert (compared / "comparison.json").read_bytes() == kept
    more = compare(compared, "--methods", "anil", "--seeds", "0")
    assert count() == (2, 2)  # anil gets both seeds
    assert [s["method"] for s in more["results"]["methods"]] == [
        "fomaml",
        "reptile",
        "none",
        "anil",
    ]
    assert more["settings"]["anil"]["agent"]["hidden"] == [3]
    compare(compared, *SMALL, "--evaluate.seed", "5")
    assert count() == (8, 8)  # each run is opened, found trained, and evaluated anew
    assert cpu_seconds(compared / "anil" / "seed-0" / "cost.json") < 60


def test_a_run_that_was_evaluated_otherwise_since_is_evaluated_again(compared, count):
    compare(compared)
    count()
    main(["evaluate", str(compared / "none" / "seed-1"), "--tasks", "2", "--device", "cpu"])
    compare(compared)
    assert count() == (1, 1)


def test_an_interrupted_comparison_goes_on_from_its_checkpoint(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "cut"
    arguments = (*SMALL, "--methods", "fomaml", "none", "--seeds", "3")
    update, calls = Trainer.step, []

    def interrupted(self, tasks, penalty=None):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return update(self, tasks, penalty)

    monkeypatch.setattr(Trainer, "step", interrupted)
    said = refused(capsys, "--run-dir", str(folder), *arguments, status=130)
    assert "saved at iteration 3; go on with" in said
    assert f"compare --run-dir {folder}" in said
    compare(folder)
    assert len(calls) == 4 + 4  # no iteration twice
    whole = compare(tmp_path / "whole", *arguments)
    cut = json.loads((folder / "comparison.json").read_text())
    for one, other in zip(cut["results"]["methods"], whole["results"]["methods"], strict=True):
        assert {**one, "cpu_seconds": 0} == {**other, "cpu_seconds": 0}


def test_a_comparison_goes_on_to_more_iterations_as_one_that_was_made_for_them(tmp_path, capsys):
    arguments = (*SMALL, "--methods", "maml", "none", "--seeds", "0")
    constant = ("--decay", "constant")
    long = compare(tmp_path / "whole", *arguments, *constant, "--iterations", "6")
    folder = tmp_path / "cut"
    compare(folder, *arguments, *constant)
    found = compare(folder, "--iterations", "6")
    for one, other in zip(long["results"]["methods"], found["results"]["methods"], strict=True):
        assert {**one, "cpu_seconds": 0} == {**other, "cpu_seconds": 0}
    assert found["settings"]["maml"]["iterations"] == 6
    config = json.loads((folder / "maml" / "seed-0" / "config.json").read_text())
    assert [entry["changed_from"] for entry in config["resumed"]] == [{"iterations": 4}]
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    said = refused(capsys, "--run-dir", str(folder), "--iterations", "5")
    assert "maml/seed-0 has done 6 iterations already, it cannot end at 5" in said
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    both = compare(folder, "--methods", "fomaml", "--seeds", "1")
    assert [m["iterations"] for m in both["results"]["methods"]] == [[6, 6]] * 3


def test_an_interruption_before_anything_is_kept_names_no_folder(tmp_path, monkeypatch, capsys):
    """Which by itself would compare the usual methods."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("metarl.compare.command.keep", interrupted)
    said = refused(capsys, "--run-dir", str(tmp_path / "c"), *SMALL, status=130)
    assert said == "error: interrupted; the same command begins again"


def test_a_kill_before_the_first_iteration_or_the_evaluation_loses_nothing(tmp_path, monkeypatch):
    arguments = (*SMALL, "--methods", "none", "--seeds", "0")
    whole = compare(tmp_path / "whole", *arguments)
    folder = tmp_path / "cut"
    for place in ("train", "evaluate"):

        def killed(*_, **__):
            raise SystemError("killed")

        with monkeypatch.context() as patch:
            if place == "evaluate":
                patch_script(patch, evaluate=killed)
            else:
                patch.setattr("metarl.methods.learning.train_in_turn", killed)
            with pytest.raises(SystemError):
                compare(folder, *arguments)
        assert (folder / "none" / "seed-0" / "config.json").exists()
    assert (
        compare(folder)["results"]["methods"][0]["return_mean"]
        == (whole["results"]["methods"][0]["return_mean"])
    )


def test_a_method_that_diverges_does_not_stop_the_others(tmp_path, monkeypatch, capsys):
    bring = work.bring_to_its_end

    def diverging(job):
        if job.train.method == "fomaml":
            raise NonFiniteLossError("iteration 1")
        bring(job)

    monkeypatch.setattr(work, "bring_to_its_end", diverging)
    arguments = (*SMALL, "--methods", "fomaml", "none", "--seeds", "0")
    said = refused(capsys, "--run-dir", str(tmp_path / "c"), *arguments, status=1)
    assert "error: 1 failed: fomaml/seed-0, see above" in said
    kept = json.loads((tmp_path / "c" / "comparison.json").read_text())["results"]
    assert kept["missing"] == ["fomaml/seed-0"]
    assert kept["failures"] == {"fomaml/seed-0": "iteration 1"}
    assert [s["method"] for s in kept["methods"]] == ["none"]
    assert "\n| fomaml | failed | – |" in (tmp_path / "c" / "comparison.md").read_text()
    assert "\nfomaml,0,," in (tmp_path / "c" / "comparison.csv").read_text()


@pytest.mark.parametrize(
    "error",
    [
        UserError("the weights are not finite"),
        OSError(5, "Input/output error"),
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        ValueError("Expected parameter logits to satisfy the constraint"),
        torch.linalg.LinAlgError("singular"),
    ],
)
@pytest.mark.parametrize("place", ["train", "evaluate"])
def test_one_that_fails_in_any_foreseeable_way_is_a_row_and_the_next_is_trained(
    tmp_path, monkeypatch, capsys, error, place
):
    do = getattr(script.COMPARABLE.script, place)

    def failing(settings):
        run = settings.run_dir if place == "train" else settings.run
        if run.parent.name == "fomaml":
            raise error
        return do(settings)

    patch_script(monkeypatch, **{place: failing})
    arguments = (*SMALL, "--methods", "fomaml", "none", "--seeds", "0")
    refused(capsys, "--run-dir", str(tmp_path / "c"), *arguments, status=1)
    kept = json.loads((tmp_path / "c" / "comparison.json").read_text())["results"]
    assert [s["method"] for s in kept["methods"]] == ["none"]
    (why,) = kept["failures"].values()
    assert why == (str(error) or "MemoryError")


def test_where_all_fail_the_reasons_are_said(tmp_path, monkeypatch, capsys):
    def failing(settings):
        raise MemoryError

    patch_script(monkeypatch, train=failing)
    arguments = (*SMALL, "--methods", "fomaml", "none", "--seeds", "0")
    said = refused(capsys, "--run-dir", str(tmp_path / "c"), *arguments)
    assert "has been evaluated: fomaml/seed-0: MemoryError; none/seed-0: MemoryError" in said


@pytest.mark.parametrize("spelt", ["--run_dir {}", "--run_dir={}", "--run-dir=x --run-dir {}"])
def test_the_folder_is_the_one_that_the_parser_takes_however_it_is_spelt(
    compared, capsys, count, spelt
):
    kept = (compared / "comparison.json").read_bytes()
    methods = json.loads(kept)["comparison"]["methods"]
    main(["compare", *spelt.format(compared).split(), "--methods", "none"])
    assert count() == (0, 0)
    assert (
        json.loads((compared / "comparison.json").read_bytes())["comparison"]["methods"] == methods
    )


ADDING = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.experiments.scripts import maze_adapt as main
from metarl.compare import command
report = command.report
def slow(*arguments):
    print("holds", flush=True)
    sys.stdin.readline()
    return report(*arguments)
command.report = slow
main(["compare", *sys.argv[1:]])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_what_another_process_adds_is_refused_meanwhile_and_kept_afterwards(tmp_path, capsys):
    folder = ("--run-dir", str(tmp_path / "c"))
    arguments = (*folder, *SMALL, "--seeds", "0", "--methods")
    command = [sys.executable, "-W", "ignore", "-c", ADDING, *arguments, "fomaml"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    read, first = [], True

    def reads(*given):
        """Another process adds a method between the first look into the folder and the lock."""
        nonlocal first
        found = asked_for(*given)
        if first:
            first = False
            other = subprocess.Popen(command, stderr=subprocess.DEVNULL, **pipes)
            while "holds" not in other.stdout.readline():
                pass
            assert "another process is training" in refused(capsys, *arguments, "none")
            other.communicate("\n", timeout=60)
        read.append(found[1].methods)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metarl.compare.command.asked_for", reads)
        main(["compare", *arguments, "none"])
    assert read[-1] == ("fomaml", "none")
    kept = json.loads((tmp_path / "c" / "comparison.json").read_text())["results"]
    assert [s["method"] for s in kept["methods"]] == ["fomaml", "none"]


@pytest.mark.slow
def test_two_processes_do_what_one_does(tmp_path):
    arguments = (*SMALL, "--methods", "fomaml", "none", "--seeds", "0")
    one, two = (
        compare(tmp_path / jobs, *arguments, "--jobs", jobs)["results"]["methods"]
        for jobs in ("1", "2")
    )
    for summary in (*one, *two):
        summary.pop("cpu_seconds")
    assert one == two


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--override", "maml.innr-lr=1"], "there is no innr_lr, but method, "),
        (["--override", "maml.loss=1"], "name one of gamma, gae_lambda"),
        (["--override", "maml.lr"], "must be METHOD.OPTION=VALUE"),
        (["--override", "mamel.inner-lr=1"], "mamel is no method"),
        (["--override", "reptile.inner-lr=1"], "reptile is not among --methods; add it"),
        (["--override", "maml.seeds=1"], "seeds is the whole comparison's"),
        (["--override", "maml.evaluate.step=1"], "there is no step, but seed, tasks, steps"),
        (["--override", "maml.inner-lr=fast"], "--inner-lr"),
        (["--override", "maml.order=serial"], "there is no order"),
        (["--override", "none.horizon=7"], "maml has horizon 10, none 7"),
        (["--order", "serial"], "--order: none of maml, none has it"),
        (["--sise", "7"], "--sise"),
        (["--methods", "mamel"], "'mamel' is not one of"),
        (["--size", "7"], "--size"),
        (["--resume", "x"], "--resume is not for `compare`"),
        (["--seeds", "1", "1"], "--seeds must be different"),
        (["--jobs", "0"], "--jobs must be at least 1"),
        (["--evaluate.tasks", "0"], "--evaluate.tasks must be at least 1"),
        (["--reference", "reptile"], "--reference reptile is not among --methods"),
        (["--report-only"], "there is no comparison in"),
    ],
)
def test_bad_input_is_refused_before_work_starts(arguments, message, capsys, tmp_path):
    folder = tmp_path / "new"
    always = ("--run-dir", str(folder), "--env", "bandit", "--methods", "maml", "none")
    assert message in refused(capsys, *always, *arguments)
    assert not folder.exists()


def test_other_settings_and_foreign_folders_are_refused(compared, tmp_path, capsys):
    place = ("--run-dir", str(compared))
    kept = (compared / "comparison.json").read_bytes()
    assert "seed-0 has done 4 iterations" in refused(capsys, *place, "--iterations", "3")
    own = ("--override", "fomaml.inner-lr=9")
    assert "seed-0 was trained with another learner" in refused(capsys, *place, *own)
    assert "compares on --env bandit" in refused(capsys, *place, "--env", "mdp")
    assert (compared / "comparison.json").read_bytes() == kept
    (tmp_path / "notes.txt").write_text("mine")
    assert "something else than a comparison" in refused(capsys, "--run-dir", str(tmp_path))


def test_options_are_taken_apart_with_their_values():
    words = ("--hidden", "3", "4", "--loss.gamma=0.9", "--no-report", "--x.y-z", "-1")
    assert list(by_option(words)) == [
        ("hidden", ["--hidden", "3", "4"]),
        ("loss", ["--loss.gamma=0.9"]),
        ("report", ["--no-report"]),
        ("x", ["--x.y-z", "-1"]),
    ]


@pytest.mark.parametrize("option", ["--evaluate.split", "--evaluate.side"])
def test_the_split_of_the_tasks_has_a_former_name(option, tmp_path):
    settings, comparison = asked_for(
        script.COMPARABLE, "compare", tmp_path / "new", [option, "validation"]
    )
    assert settings.evaluate.split == comparison.evaluate.split == "validation"
    keep(tmp_path, comparison, {})
    kept = json.loads((tmp_path / "comparison.json").read_text())
    former = kept["comparison"]["evaluate"]
    former["side"] = former.pop("split")
    write_json(tmp_path / "comparison.json", kept)
    assert stored_in(tmp_path, script.COMPARABLE.usual.evaluate) == comparison


def test_the_environment_has_a_former_place(compared, tmp_path):
    kept = json.loads((compared / "comparison.json").read_text())
    options = kept["comparison"]["options"]
    assert options[:2] == ["--env", "bandit"]
    kept["comparison"] |= {"env": "bandit", "options": options[2:]}
    write_json(tmp_path / "comparison.json", kept)
    usual = script.COMPARABLE.usual.evaluate
    assert stored_in(tmp_path, usual) == stored_in(compared, usual)


def test_a_sweep_without_words_does_nothing_either(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        alphabets(["sweep"])
    said = capsys.readouterr().err
    assert "experiments.alphabets sweep --methods warp-leap leap reptile ft none` trains 5 " in said
    assert not list(tmp_path.iterdir())
