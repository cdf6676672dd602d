"""`search`, run as a user runs it on a bandit: storages, interruptions, failures, reports."""

import csv
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch

from experiments import maze, maze_adapt
from experiments.__main__ import main as console
from metarl.errors import CheckpointError, UserError
from metarl.meta import NonFiniteLossError
from metarl.run import adaptation
from metarl.runs.directory import RunDirectory
from metarl.runs.seeds import find_runs
from metarl.search import trials
from metarl.search.storage import open_study, without_password
from tests.experiments.scripts import maze as maze_main
from tests.experiments.scripts import maze_adapt as main
from tests.experiments.scripts import regression

SMALL = (
    *("--env", "bandit", "--arms", "2", "--horizon", "3", "--hidden", "3", "--meta-batch", "2"),
    *("--episodes", "2", "--iterations", "3", "--log-every", "1", "--device", "cpu"),
)
SEARCH = ("--tasks", "4", "--validations", "2", "--search", "learner.lr=log:1e-4:1e-1")


def search(folder, *arguments):
    main(["search", "--run-dir", str(folder), *arguments])


def refused(capsys, folder, *arguments, status=2):
    with pytest.raises(SystemExit) as exit_:
        search(folder, *arguments)
    assert exit_.value.code == status
    return capsys.readouterr().err.strip().splitlines()[-1]


def study_in(folder, url=None):
    kept = json.loads((folder / "search.json").read_text())
    return open_study(folder, url, kept["study"], "maximize", None)


def table(folder):
    with open(folder / "search.csv", newline="") as file:
        return {int(row["trial"]): row for row in csv.DictReader(file)}


def test_trials_are_runs_and_the_command_it_prints_trains_the_best_one_again(tmp_path, capsys):
    schedule = ("--decay", "cosine", "--checkpoint-every", "2")
    search(tmp_path / "s", *SMALL, *SEARCH, *schedule, "--trials", "3", "--seeds", "0", "1")
    said = capsys.readouterr().out
    rows = table(tmp_path / "s")
    assert sorted(rows) == [0, 1, 2]
    assert {row["state"] for row in rows.values()} == {"complete"}
    best = max(rows, key=lambda number: float(rows[number]["value"]))
    assert f"Best: trial {best}, validation return {float(rows[best]['value']):.6g}" in said
    assert (tmp_path / "s" / "search.md").read_text().split() == said.split("# Search")[
        1
    ].partition("written:")[0].join(["# Search", ""]).split()
    (command,) = re.findall(r"^python -m experiments.maze_adapt (.*)", said, re.MULTILINE)
    main(shlex.split(command))
    for seed in (0, 1):
        trained = RunDirectory.open(tmp_path / "s" / "best" / f"seed-{seed}")
        trial = RunDirectory.open(tmp_path / "s" / f"trial-{best}" / f"seed-{seed}")
        assert trained.config["learner"] == trial.config["learner"]
        one, other = trained.load_checkpoint(), trial.load_checkpoint()
        assert one["iteration"] == other["iteration"] == 3
        for name, value in one["learner"]["params"].items():
            assert torch.equal(value, other["learner"]["params"][name])
        columns = trained.read_metrics(), trial.read_metrics()
        assert np.array_equal(columns[0]["return"], columns[1]["return"])
    values = [
        adaptation.validation_return(
            run, maze_adapt.RECIPE.settings_of(run.config), 4, 20000, "cpu"
        )
        for run in find_runs(tmp_path / "s" / f"trial-{best}")
    ]
    assert float(rows[best]["value"]) == pytest.approx(np.mean(values))


def test_what_is_done_is_left_alone_and_more_may_be_asked_for(tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/trials.db"
    search(tmp_path / "s", *SMALL, *SEARCH, "--trials", "1", "--storage", url)
    first = table(tmp_path / "s")[0]
    search(tmp_path / "s", "--trials", "2")  # all else is kept
    rows = table(tmp_path / "s")
    assert rows[0] == first
    assert len(rows) == 2
    assert not (tmp_path / "s" / "journal.log").exists()
    capsys.readouterr()
    before = sorted(tmp_path.rglob("*"))
    search(tmp_path / "s", "--report")
    search(tmp_path / "elsewhere", "--report", "--storage", url, "--study", "maze_adapt:s")
    assert capsys.readouterr().out.count("Best: trial ") == 2
    assert sorted(tmp_path.rglob("*")) == before
    said = refused(capsys, tmp_path / "s", "--storage", "sqlite:///other.db")
    assert "name another --run-dir" in said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--search", "lr=log:1e-3:1e-1"), "search: ['learner.lr=log:1e-4:1e-1'] there"),
        (("--seeds", "0", "1"), "seeds: [0] there, [0, 1] now"),
        (("--tasks", "5"), "tasks: 4 there, 5 now"),
        (("--iterations", "5"), "options: "),
        (("--study", "other"), "is of the search maze_adapt:s"),
    ],
)
def test_another_search_is_refused_and_what_differs_is_said(kept, capsys, more, said):
    assert said in refused(capsys, kept, *more)
    assert len(study_in(kept).trials) == 1


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "s"
    search(folder, *SMALL, *SEARCH, "--trials", "1")
    return folder


def test_another_recipe_does_not_report_a_search(kept, capsys):
    with pytest.raises(SystemExit) as end:
        regression(["search", "--run-dir", str(kept), "--report"])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert "is a search of maze_adapt, not of regression" in said
    assert f"`python -m experiments.maze_adapt search --run-dir {kept} --report`" in said
    url = f"sqlite:///{kept}/shared.db"
    elsewhere = ["search", "--run-dir", f"{kept}-2", "--report", "--storage", url]
    study = study_in(kept)
    optuna.copy_study(
        from_study_name=study.study_name,
        from_storage=study._storage,
        to_storage=url,
        to_study_name="other",
    )
    with pytest.raises(SystemExit):
        regression([*elsewhere, "--study", "other"])
    assert "the search other is a search of maze_adapt, not of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "--search says what to look for"),
        (("--search", "lr=log:0:1"), "begins above 0"),
        (("--search", "arms=2,3"), "that would be other tasks"),
        (("--search", "horizon=int:2:3"), "that would be other tasks"),
        (("--search", "env=maze,bandit"), "that would be other tasks"),
        (("--search", "iterations=int:2:3"), "all trials have the same --iterations"),
        (("--search", "seeds=0,1"), "a trial trains all --seeds"),
        (("--search", "run-dir=a,b"), "says where or how"),
        (("--search", "inner-rule=sgd,nonsense"), "does not take --inner-rule nonsense"),
        (("--search", "inner-steps=0,1"), "--inner-steps must be at least 1"),
        (("--search", "inner-steps=int:-3:2"), "--inner-steps must be at least 1"),
        (("--search", "method=maml,nonsense"), "nonsense"),
        (("--search", "lr=1,2", "--search", "learner.lr=3,4"), "--search lr is given twice"),
        (("--search", "lr=1,2", "--lr", "3"), "--lr is searched; drop it"),
        (("--search", "lr=1,2", "--nonsense", "3"), "does not take"),
        (("--search", "lr=1,2", "--resume", "x"), "it is the whole search's"),
        (("--search", "lr=1,2", "--trials", "0"), "--trials must be at least 1"),
        (("--search", "lr=1,2", "--validations", "0"), "--validations must be at least 1"),
        (("--search", "lr=1,2", "--tasks", "0"), "--tasks must be at least 1"),
        (("--search", "lr=1,2", "--seeds", "1", "1"), "--seeds must be different"),
        (("--search", "lr=1,2", "--storage", "nonsense"), "Could not parse"),
        (("--search", "lr=1,2", "--storage", "sqlite:////no/where/x.db"), "cannot be opened"),
        (("--report",), "there is no search in"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(tmp_path, capsys, more, said):
    assert said in refused(capsys, tmp_path / "s", *SMALL, *more)
    assert not list(tmp_path.rglob("trial-*"))


def test_a_folder_of_something_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert "something else than a search" in refused(capsys, tmp_path, *SMALL, *SEARCH)


def test_a_password_is_neither_told_nor_kept(tmp_path, capsys):
    url = "nosuch://me:secret@localhost/trials"
    said = refused(capsys, tmp_path / "s", *SMALL, *SEARCH, "--storage", url)
    assert "nosuch://me:***@localhost/trials cannot be opened" in said
    assert "secret" not in said
    assert without_password(url) == "nosuch://me:***@localhost/trials"
    with pytest.raises(UserError, match="the password is not kept; give --storage again"):
        open_study(tmp_path, without_password(url), "s", "maximize", None)


def test_the_command_is_that_of_whoever_asked(kept, capsys):
    console(["search", "maze_adapt", "--run-dir", str(kept), "--report"])
    assert "\nmetarl train maze_adapt --env bandit --arms 2 " in capsys.readouterr().out


# ------------------------------------------------------------------------ interruptions


@pytest.fixture
def judged(monkeypatch):
    """Judges by a function of the settings and of how often it was asked."""

    def replace(function):
        calls = []

        def judge(run, settings, tasks, seed, device):
            calls.append((run.path.parts, settings.learner.lr))
            return function(settings, len(calls))

        other = trials.Searchable(maze_adapt.RECIPE, judge, tasks=maze_adapt.SEARCHABLE.tasks)
        monkeypatch.setattr(maze_adapt, "SEARCHABLE", other)
        return calls

    return replace


def by_lr(settings, _):
    return -abs(math.log(settings.learner.lr / 1e-2))


@pytest.mark.parametrize("interrupted_at", [1, 2, 3, 4])
def test_an_interrupted_search_goes_on_as_one_that_was_not(
    tmp_path, judged, capsys, interrupted_at
):
    judged(by_lr)
    search(tmp_path / "whole", *SMALL, *SEARCH, "--trials", "2")

    def interrupted(settings, call):
        if call == interrupted_at:
            raise KeyboardInterrupt
        return by_lr(settings, call)

    judged(interrupted)
    said = refused(capsys, tmp_path / "s", *SMALL, *SEARCH, "--trials", "2", status=130)
    assert said.endswith(f"search --run-dir {tmp_path / 's'}")
    search(tmp_path / "s", "--trials", "2")
    whole, other = table(tmp_path / "whole"), table(tmp_path / "s")
    assert whole == other
    for number in (0, 1):
        one = RunDirectory.open(tmp_path / "whole" / f"trial-{number}").load_checkpoint()
        two = RunDirectory.open(tmp_path / "s" / f"trial-{number}").load_checkpoint()
        for name, value in one["learner"]["params"].items():
            assert torch.equal(value, two["learner"]["params"][name])


def test_one_that_was_killed_before_it_had_a_folder_or_settings_goes_on(tmp_path, judged):
    judged(by_lr)
    search(tmp_path / "whole", *SMALL, *SEARCH, "--trials", "2")
    search(tmp_path / "s", *SMALL, *SEARCH, "--trials", "1")
    study_in(tmp_path / "s").ask()
    search(tmp_path / "s", "--trials", "2")
    assert table(tmp_path / "s") == table(tmp_path / "whole")


def test_half_a_line_in_the_journal_is_taken_away(kept, tmp_path):
    journal = tmp_path / "journal.log"
    whole = (kept / "journal.log").read_bytes()
    journal.write_bytes(whole + b'{"op_code":5,"work')
    study = open_study(tmp_path, None, "maze_adapt:s", "maximize", None)
    study.set_user_attr("a", 1)
    assert open_study(tmp_path, None, "maze_adapt:s", "maximize", None).user_attrs["a"] == 1
    assert journal.read_bytes().startswith(whole + b'{"op_code"')


def test_a_run_that_cannot_go_on_is_a_failed_trial_and_done_again(tmp_path, judged):
    def interrupted(settings, call):
        if call == 2:
            raise KeyboardInterrupt
        return by_lr(settings, call)

    judged(interrupted)
    with pytest.raises(SystemExit):
        search(tmp_path / "s", *SMALL, *SEARCH, "--trials", "2")
    for path in (tmp_path / "s" / "trial-0").glob("*checkpoint*"):
        path.write_bytes(b"damaged")
    judged(by_lr)
    search(tmp_path / "s", "--trials", "2")
    rows = table(tmp_path / "s")
    assert [rows[n]["state"] for n in sorted(rows)] == ["failed", "complete", "complete"]
    assert rows[0]["lr"] == rows[1]["lr"] != rows[2]["lr"]


# ------------------------------------------------------------------------------ failures


def test_one_that_diverges_is_given_up_and_the_search_goes_on(tmp_path, judged, capsys):
    def diverging(settings, call):
        if call == 1:
            return math.nan
        if call == 2:
            raise NonFiniteLossError("the loss is not finite")
        return by_lr(settings, call)

    judged(diverging)
    search(tmp_path / "s", *SMALL, *SEARCH, "--trials", "3")
    rows = table(tmp_path / "s")
    assert [rows[n]["state"] for n in range(3)] == ["given up", "given up", "complete"]
    assert "diverged: its value is nan" in rows[0]["why"]
    assert "the loss is not finite" in rows[1]["why"]
    assert "Best: trial 2" in capsys.readouterr().out


def test_one_that_fails_is_told_and_many_in_a_row_end_the_search(tmp_path, judged, capsys):
    def failing(settings, call):
        if call != 2:
            raise RuntimeError(f"singular {call}")
        raise CheckpointError("damaged")  # of a new run: nothing to be done again

    judged(failing)
    said = refused(capsys, tmp_path / "s", *SMALL, *SEARCH, "--trials", "9")
    assert said == "error: 5 trials in a row failed, the last of: singular 5"
    study = study_in(tmp_path / "s")
    assert {trial.state.name for trial in study.trials} == {"FAIL"}
    search(tmp_path / "s", "--report")
    assert "No trial is complete" in capsys.readouterr().out


@pytest.mark.parametrize("pruner", ["median", "hyperband", "none"])
def test_what_is_worse_than_others_is_given_up_early(tmp_path, judged, monkeypatch, pruner):
    def train(recipe, path, settings, rung):  # nothing, as far as that
        if not path.joinpath("config.json").exists():
            with RunDirectory.create(path, settings, recipe=recipe.name, seed=0):
                pass

    monkeypatch.setattr(trials, "_train", train)
    calls = judged(lambda settings, call: -float(call))  # ever worse
    more = ("--validations", "3", "--trials", "8", "--pruner", pruner, "--sampler", "random")
    search(tmp_path / "s", *SMALL, *SEARCH, *more)
    rows = table(tmp_path / "s")
    early = [row for row in rows.values() if row["state"] == "given up"]
    assert bool(early) == (pruner != "none")
    assert (len(calls) < 24) == (pruner != "none")
    for row in early:
        assert int(row["iterations"]) < 3


def test_one_that_is_given_up_is_a_run_that_can_go_on(tmp_path, judged, monkeypatch):
    judged(by_lr)
    monkeypatch.setattr(optuna.trial.Trial, "should_prune", lambda trial: True)
    search(tmp_path / "s", *SMALL, *SEARCH, "--trials", "1")
    run = RunDirectory.open(tmp_path / "s" / "trial-0")
    assert run.config["iterations"] == 3
    assert run.load_checkpoint()["iteration"] == 2
    main(["train", "--resume", str(run.path)])
    assert run.load_checkpoint()["iteration"] == 3


def test_test_tasks_are_never_looked_at(tmp_path, monkeypatch):
    drawn = []

    def recorded(problem, split, *rest):
        drawn.append(split)
        return unseen(problem, split, *rest)

    unseen = adaptation.unseen_tasks
    monkeypatch.setattr(adaptation, "unseen_tasks", recorded)
    search(tmp_path / "s", *SMALL, *SEARCH, "--trials", "1")
    assert drawn == ["validation", "validation"]


def test_agents_of_mazes_are_judged_on_mazes_for_validation(tmp_path, monkeypatch):
    source = []

    from metarl.run import trials as played

    play = played.play_episodes
    monkeypatch.setattr(
        played, "play_episodes", lambda *a: source.extend(a[4]["tasks"]) or play(*a)
    )
    small = (
        "--mazes",
        "dfs",
        "--size",
        "9",
        "--horizon",
        "4",
        "--hidden-size",
        "4",
        "--minibatch-trials",
        "2",
    )
    more = ("--batch-size", "2", "--iterations", "2", "--log-every", "1", "--trials", "2")
    dims = ("--search", "core=gru,rnn", "--search", "lr=log:1e-3:1e-2", "--tasks", "3")
    line = ["search", "--run-dir", str(tmp_path / "s"), *small, *more, *dims]
    maze_main([*line, "--device", "cpu", "--validations", "1"])
    assert len(source) == 6
    validation = maze.defaults(mazes="dfs", size="9").environment.validation
    assert all(validation.contains(task) for task in source)
    rows = table(tmp_path / "s")
    cores = {RunDirectory.open(tmp_path / "s" / f"trial-{n}").config["core"] for n in rows}
    assert cores <= {"gru", "rnn"}


# -------------------------------------------------------------------- several processes

LONG = (*SMALL, *SEARCH, "--trials", "4")


def started(folder, *arguments):
    command = [sys.executable, "-W", "ignore", "-m", "experiments.maze_adapt", "search"]
    return subprocess.Popen(
        [*command, "--run-dir", str(folder), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_two_processes_do_one_search_together(tmp_path, storage):
    where = () if storage == "journal" else ("--storage", f"sqlite:///{tmp_path}/trials.db")
    with (
        started(tmp_path / "s", *LONG, *where) as one,
        started(tmp_path / "s", *LONG, *where) as two,
    ):
        outs = [process.communicate(timeout=120) for process in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0), outs
    begun = [re.findall(r"^trial (\d+): --lr", out, re.MULTILINE) for out, _ in outs]
    assert sorted(int(n) for found in begun for n in found) == [0, 1, 2, 3]
    search(tmp_path / "s", "--report")
    url = f"sqlite:///{tmp_path}/trials.db" if where else None
    assert {t.state.name for t in study_in(tmp_path / "s", url).trials} == {"COMPLETE"}


@pytest.mark.slow
def test_workers_that_an_executor_started(tmp_path, capsys):
    search(tmp_path / "s", *LONG, "--executor", "local", "--workers", "2")
    assert "Trials: 4 complete." in capsys.readouterr().out
    assert sorted(table(tmp_path / "s")) == [0, 1, 2, 3]


def test_what_workers_need_is_said_before_any_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    said = refused(capsys, tmp_path / "s", *LONG, "--executor", "slurm", "--workers", "2")
    assert "there is no sbatch here" in said
    said = refused(capsys, tmp_path / "s", *LONG, "--workers", "2")
    assert "--workers 2 needs --executor local or slurm" in said
    assert not (tmp_path / "s").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_the_trial_of_a_process_that_was_killed_goes_on_in_another(tmp_path):
    long = ("--iterations", "400", "--checkpoint-every", "5", "--validations", "1", "--trials", "1")
    with started(tmp_path / "s", *LONG, *long) as process:
        lines = tmp_path / "s" / "trial-0" / "metrics.jsonl"
        until = time.monotonic() + 60
        while time.monotonic() < until and not (
            lines.exists() and lines.read_bytes().count(b"\n") > 20
        ):
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert [t.state for t in study_in(tmp_path / "s").trials] == [optuna.trial.TrialState.RUNNING]
    search(tmp_path / "s", *LONG, *long)
    (row,) = table(tmp_path / "s").values()
    assert row["state"] == "complete"
    resumed = RunDirectory.open(tmp_path / "s" / "trial-0").config["resumed"]
    assert resumed[0]["iteration"] >= 15
