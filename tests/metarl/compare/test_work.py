"""One job runner: done once, told where it fails, left to others where it is locked."""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from metarl.compare.processes import work_off
from metarl.compare.work import Job, Script, check_same, failure, finished
from metarl.errors import UserError
from metarl.meta import NonFiniteLossError
from metarl.runs.directory import RunDirectory
from metarl.runs.files import held

DONE = []


@dataclass(frozen=True)
class Training:
    run_dir: Path
    method: str = "toy"
    seeds: tuple[int, ...] = (0,)
    iterations: int = 4
    lr: float = 0.1
    device: str = "cpu"


@dataclass(frozen=True)
class Evaluation:
    run: Path
    tasks: int = 2
    device: str = "cpu"


def train(settings):
    DONE.append(("train", settings.run_dir.name))
    if settings.lr > 1:
        raise NonFiniteLossError("the loss is not finite")
    with RunDirectory.create(settings.run_dir, settings, seed=0):
        pass


def resume(path, settings):
    DONE.append(("resume", path.name))
    RunDirectory.open(path).note_resume(4, changes={"iterations": settings.iterations})


def evaluate(settings):
    DONE.append(("evaluate", settings.run.name))
    RunDirectory.open(settings.run).write_summary({"tasks": settings.tasks})


def settings_of(config):
    return Training(
        Path(config["run_dir"]), config["method"], (0,), config["iterations"], config["lr"]
    )


SCRIPT = Script(train, resume, evaluate, settings_of)


@pytest.fixture(autouse=True)
def _nothing_done():
    DONE.clear()


def job(path, **changes):
    return Job(path, Training(path, **changes), Evaluation(path), SCRIPT)


def test_a_run_is_done_once_and_again_only_where_more_is_asked_for(tmp_path):
    one = job(tmp_path / "a")
    assert not finished(one)
    assert work_off([one]) == {}
    assert DONE == [("train", "a"), ("evaluate", "a")]
    assert finished(one)
    work_off([one])
    assert len(DONE) == 2
    more = job(tmp_path / "a", iterations=9)
    check_same(more)
    work_off([more])
    assert DONE[2:] == [("resume", "a"), ("evaluate", "a")]
    otherwise = replace(more, evaluate=Evaluation(more.path, tasks=3))
    work_off([otherwise, replace(otherwise, evaluate=Evaluation(more.path, 3, "cuda"))])
    assert DONE[4:] == [("resume", "a"), ("evaluate", "a")]  # once: where it ran says nothing


def test_what_came_out_otherwise_since_or_was_damaged_is_evaluated_again(tmp_path):
    one = job(tmp_path / "a")
    work_off([one])
    RunDirectory.open(one.path).write_summary({"tasks": 7})
    assert not finished(one)
    work_off([one])
    assert finished(one)
    (one.path / "evaluated.json").write_text("{")
    assert not finished(one)


def test_what_a_version_without_records_evaluated_is_known_by_the_script(tmp_path):
    one = job(tmp_path / "a")
    work_off([one])
    (one.path / "evaluated.json").unlink()
    assert not finished(one)
    assert finished(replace(one, script=replace(SCRIPT, known=lambda job: job is not None)))


def test_the_split_had_a_former_name(tmp_path):
    @dataclass(frozen=True)
    class OfASplit(Evaluation):
        split: str = "test"

    one = replace(job(tmp_path / "a"), evaluate=OfASplit(tmp_path / "a"))
    work_off([one])
    record = (one.path / "evaluated.json").read_text()
    (one.path / "evaluated.json").write_text(record.replace('"split"', '"side"'))
    assert finished(one)
    assert not finished(replace(one, evaluate=OfASplit(one.path, split="validation")))


def test_one_that_fails_is_told_and_the_others_go_on(tmp_path, capsys):
    failures = work_off([job(tmp_path / "a", lr=9.0), job(tmp_path / "b")])
    assert failures == {tmp_path / "a": "the loss is not finite"}
    assert "error: " in capsys.readouterr().err
    assert finished(job(tmp_path / "b"))


def test_a_run_of_other_settings_is_refused(tmp_path):
    work_off([job(tmp_path / "a")])
    check_same(job(tmp_path / "a", device="cuda"))
    with pytest.raises(UserError, match="trained with another lr"):
        check_same(job(tmp_path / "a", lr=0.2))


HOLDER = """
import sys
from pathlib import Path
from metarl.runs.files import held
with held(Path(sys.argv[1])):
    print("holds", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks")
def test_a_run_that_another_process_works_on_is_left_to_it(tmp_path, capsys):
    one, other = job(tmp_path / "a"), job(tmp_path / "b")
    one.path.mkdir()
    command = [sys.executable, "-W", "ignore", "-c", HOLDER, str(one.path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "holds\n"
        assert work_off([one, other]) == {}
        process.communicate("\n", timeout=60)
    assert DONE == [("train", "b"), ("evaluate", "b")]
    assert "left alone: another process is training" in capsys.readouterr().out
    assert failure(one) is None
    assert finished(one)


def test_a_run_is_locked_while_it_is_worked_on_and_not_afterwards(tmp_path):
    one = job(tmp_path / "a")
    work_off([one])
    code = HOLDER.replace("sys.stdin.readline()", "pass")
    command = [sys.executable, "-W", "ignore", "-c", code, str(one.path)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with held(one.path):
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "LockedError" in refused.stderr
