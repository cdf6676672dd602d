"""Work handed to other processes, or to SLURM: here with programs that stand for SLURM's own."""

import os
import signal
import stat
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
import submitit

from metarl.compare import executors
from metarl.compare.executors import SlurmSettings, Unit, check_executor, launch, minutes_of
from metarl.errors import UserError
from metarl.runs.interruption import Interruption

SCRIPT = "experiments.regression"
TINY = (
    *("--iterations", "2", "--meta-batch", "2", "--points", "2", "--query-points", "2"),
    *("--hidden", "2", "--device", "cpu", "--log-every", "1"),
)


def trains(folder, *more):
    words = ("train", "--run-dir", str(folder), *TINY, *more)
    return Unit(SCRIPT, words, folder.name)


@pytest.mark.parametrize(
    ("time", "minutes"),
    [("90", 90), ("1:30:00", 90), ("0:01", 1), ("0:00:01", 1), ("2-00:00:00", 2880)],
)
def test_limits_of_time(time, minutes):
    assert minutes_of(time) == minutes


@pytest.mark.parametrize("time", ["", "0", "-5", "soon", "1:75:00", "1-", "0:00:00", "1h"])
def test_what_is_no_limit_of_time(time):
    with pytest.raises(UserError, match="must be minutes"):
        SlurmSettings(time=time)


@pytest.mark.parametrize(
    ("name", "value"), [("cpus", 0), ("gpus", -1), ("array", 0), ("memory", 0.0)]
)
def test_what_cannot_be_asked_for(name, value):
    with pytest.raises(UserError, match=f"--slurm.{name} must be"):
        SlurmSettings(**{name: value})


def test_what_is_not_there_is_said_before_any_work(monkeypatch):
    monkeypatch.setenv("PATH", "")
    check_executor("here")
    check_executor("local")
    with pytest.raises(UserError, match="there is no sbatch here"):
        check_executor("slurm")
    monkeypatch.setitem(sys.modules, "submitit", None)
    check_executor("here")
    with pytest.raises(UserError, match=r"pip install 'metarl-maze\[slurm\]'"):
        check_executor("local")


class InThisProcess:
    """Runs a unit when it is handed over."""

    def submit(self, unit):
        return Done(unit())


class Done:
    job_id = "7"

    def __init__(self, status):
        self._status = status
        self.paths = SimpleNamespace(stderr=Path("7.err"))

    def done(self):
        return True

    def result(self):
        if self._status == "killed":
            raise submitit.core.utils.FailedJobError("killed")
        return self._status

    def stderr(self):
        return "a warning\nerror: no memory\n" if self._status == 1 else None


def test_units_are_command_lines_and_what_fails_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(executors, "_executor", lambda *_: InThisProcess())
    units = [trains(tmp_path / "a"), trains(tmp_path / "b", "--points", "0")]
    found = launch(units, "local", SlurmSettings(), tmp_path, 2)
    assert (tmp_path / "a" / "checkpoint.pt").exists()
    assert found == {"b": "its job ended with status 2"}
    assert executors._failed_of(Done(1)) == "no memory"
    assert executors._failed_of(Done("killed")) == "its job ended without a result; see 7.err"
    assert executors._failed_of(Done(0)) is None


def test_arrays_are_no_longer_than_a_cluster_takes():
    units = [Unit(SCRIPT, (), f"{n}") for n in range(5)]
    assert [[unit.name for unit in part] for part in executors.batched(units, 2)] == [
        *(["0", "1"], ["2", "3"], ["4"]),
    ]
    assert list(executors.batched([], 2)) == []
    assert launch([], "slurm", SlurmSettings(), Path("nowhere"), 1) == {}


# ------------------------------------------------------------------------- limits of time


@pytest.fixture
def of_submitit():
    """What submitit does when a job will end."""
    told = []
    before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGUSR2)}
    signal.signal(signal.SIGTERM, lambda *_: told.append("ignored"))
    signal.signal(signal.SIGUSR2, lambda *_: told.append("put back"))
    yield told
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_a_training_saves_before_its_job_is_put_back(of_submitit):
    with executors._saved_before_it_is_put_back() as put_back:
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGUSR2)
            assert interruption.asked
            assert of_submitit == []
        put_back()
        assert of_submitit == ["put back"]
    os.kill(os.getpid(), signal.SIGUSR2)
    assert of_submitit == ["put back"] * 2


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_what_has_nothing_to_save_is_put_back_at_once(of_submitit):
    with executors._saved_before_it_is_put_back() as put_back:
        os.kill(os.getpid(), signal.SIGUSR2)
        assert of_submitit == ["put back"]
    with executors._saved_before_it_is_put_back() as put_back:
        put_back()  # nobody said that it will end
    assert of_submitit == ["put back"]


# ------------------------------------------------------------------------ real processes


@pytest.mark.slow
def test_processes_here(tmp_path):
    units = [trains(tmp_path / "a"), trains(tmp_path / "b", "--points", "0")]
    found = launch(units, "local", SlurmSettings(), tmp_path, 1)
    assert (tmp_path / "a" / "checkpoint.pt").exists()
    assert found == {"b": "--points must be at least 1, got 0"}


SBATCH = """
import os, re, subprocess, sys
text = open(sys.argv[1]).read()
open(os.environ["SEEN"], "w").write(text)
last = re.search(r"--array=0-([0-9]+)%", text)
for task in range(int(last[1]) + 1) if last else [None]:
    more = {"SLURM_JOB_ID": f"{70 + (task or 0)}", "SLURM_PROCID": "0"}
    if task is not None:
        more |= {"SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": str(task)}
    with open(os.devnull, "w") as nothing:
        subprocess.Popen(
            ["bash", sys.argv[1]], env={**os.environ, **more}, stdout=nothing, stderr=nothing
        )
print("Submitted batch job 70")
"""
SRUN = """
import os, sys
words = sys.argv[1:]
while words[0].startswith("-"):
    word = words.pop(0)
    if word in ("--output", "--error"):
        path = words.pop(0)
        for a, b in (("%A", "70"), ("%a", os.environ.get("SLURM_ARRAY_TASK_ID", "")), ("%t", "0")):
            path = path.replace(a, b)
        file = os.open(path.replace("%j", "70"), os.O_WRONLY | os.O_CREAT, 0o644)
        os.dup2(file, 1 if word == "--output" else 2)
os.execvp(words[0], words)
"""
SACCT = 'print("JobID|State|NodeList")\n'


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Programs that do as SLURM's would, on this machine; returns what sbatch has read."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT)):
        path = programs / name
        path.write_text(f"#!{sys.executable}\n{textwrap.dedent(text)}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    monkeypatch.setattr(executors, "PAUSE", 0.2)
    return tmp_path / "seen"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SLURM")
def test_an_array_of_jobs_of_slurm(tmp_path, slurm, capsys):
    check_executor("slurm")
    units = [trains(tmp_path / "a"), trains(tmp_path / "b", "--points", "0")]
    how = SlurmSettings("short", "2:00:00", cpus=2, gpus=1, memory=4, array=1, setup=("true",))
    found = launch(units, "slurm", how, tmp_path, 1)
    assert (tmp_path / "a" / "checkpoint.pt").exists()
    assert found == {"b": "--points must be at least 1, got 0"}
    asked = slurm.read_text()
    for line in (
        *("--partition=short", "--time=120", "--cpus-per-task=2", "--gpus-per-node=1"),
        *("--mem=4GB", "--array=0-1%1", "--signal=USR2@", "--job-name=metarl"),
    ):
        assert line in asked
    assert "\ntrue\n" in asked
    assert "handed to SLURM: 2 jobs, from 70_0 on" in capsys.readouterr().out
