"""Several processes learn what one learns: launched by `torchrun`, on one machine or two."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from experiments.maze_adapt import TrainSettings
from metarl.errors import DeviceError, ProcessLostError, UserError
from metarl.methods.ppo import PPOSettings
from metarl.runs.seeds import find_runs
from metarl.train.distributed import heartbeat, launch
from tests.experiments.omniglot_runs import tiny_archives
from tests.metarl.train import shared_jobs

ROOT = Path(__file__).parents[3]
USUAL = (
    *("maml", "reptile", "leap", "warp", "adapt-maml", "adapt-rl2", "adapt-rl2-ppo"),
    *("warp-rnn", "mazes", "curriculum", "omniglot"),
)
RARE = tuple(name for name in shared_jobs.LINES if name not in USUAL)


def torchrun(*words, module="tests.metarl.train.shared_jobs", how=("--standalone",), **kwargs):
    """Start `torchrun`; returns the process."""
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", *how, "-m", module]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen(
        [*command, *map(str, words)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **kwargs,
    )


def ended(process, patience=240):
    try:
        output, _ = process.communicate(timeout=patience)
    finally:
        process.kill()
    return process.returncode, output


def run_by(count, folder, data, names):
    how = ("--standalone", "--nproc-per-node", str(count))
    status, output = ended(torchrun(folder, data, *names, how=how))
    assert status == 0, output


@pytest.fixture
def data(tmp_path):
    return tiny_archives(tmp_path)


def tensors(state, name=""):
    if isinstance(state, dict):
        for key, value in state.items():
            yield from tensors(value, f"{name}.{key}")
    elif isinstance(state, torch.Tensor):
        yield name, state
    elif isinstance(state, int | float):
        yield name, torch.tensor(state, dtype=torch.float64)


def states(place):
    """What every run of a place has saved and written, by name; times left out."""
    for run in find_runs(place):
        state = {n: v for n, v in run.load_checkpoint().items() if n != "wall_seconds"}
        yield from ((f"{run.seed}{n}", t) for n, t in tensors(state))
        for name, column in run.read_metrics().items():
            if name != "wall_seconds":
                yield f"{run.seed} metrics {name}", torch.from_numpy(column)


def assert_equal(one, other, tolerance):
    one, other = dict(states(one)), dict(states(other))
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value.dtype == other[name].dtype, name
        if tolerance == 0:
            assert torch.equal(value, other[name]), name
        else:
            torch.testing.assert_close(
                value.double(),
                other[name].double(),
                rtol=0,
                atol=tolerance,
                equal_nan=True,
                msg=lambda text, name=name: f"{name}: {text}",
            )


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def run_by_two_machines(folder, data, names):
    """Two launches of one process each, which meet by themselves."""
    port = free_port()
    meeting = ("--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}")
    nodes = [
        torchrun(
            folder,
            data,
            *names,
            how=("--nnodes", "2", "--node-rank", str(n), "--nproc-per-node", "1", *meeting),
        )
        for n in (0, 1)
    ]
    for node in nodes:
        status, output = ended(node)
        assert status == 0, output


def test_processes_learn_what_one_learns(tmp_path, data, subtests):
    """One test: what is launched once is looked at from all sides."""
    one, two, three, apart = (tmp_path / name for name in ("one", "two", "three", "apart"))
    shared_jobs.run(one, str(data), [*USUAL, "at_once", "in_python"])
    run_by(
        2,
        two,
        data,
        [*USUAL, "half", "collectives", "weighted", "refused", "in_python", "interrupted"],
    )
    three.mkdir()
    (three / "resumed").symlink_to(two / "resumed")
    run_by(3, three, data, [*USUAL, "rest", "collectives", "weighted"])
    on_two_machines = ("maml", "warp-rnn", "mazes")
    run_by_two_machines(apart, data, on_two_machines)
    for name in USUAL:
        with subtests.test(f"{name}: two and three processes"):
            assert_equal(one / name, two / name, 1e-9)
            assert_equal(one / name, three / name, 1e-9)
    with subtests.test("an experiment from Python"):
        assert_equal(one / "in_python", two / "in_python", 1e-4)  # in single precision
    for name in on_two_machines:
        with subtests.test(f"{name}: two machines, to the bit"):
            assert_equal(two / name, apart / name, 0)
    with subtests.test("a run that two processes began goes on with three"):
        assert_equal(one / "resumed", three / "resumed", 1e-9)
        (run,) = find_runs(three / "resumed")
        assert run.config["provenance"]["processes"] == 2
        assert [entry["provenance"]["processes"] for entry in run.config["resumed"]] == [3]
    with subtests.test("a signal to one process stops all at the same iteration"):
        said = {(two / f"stopped-{rank}").read_text() for rank in (0, 1)}
        (run,) = find_runs(two / "interrupted")
        assert said == {f"saved at iteration {run.load_checkpoint()['iteration']}"}


def children_of(pid):
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(condition, patience=180):
    until = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.2)


def test_a_process_that_is_killed_ends_the_job_in_words_and_the_run_goes_on(tmp_path):
    run = tmp_path / "run"
    words = (
        f"train --size 9 --batch-size 4 --iterations 100000 --checkpoint-every 5 --run-dir {run}"
    )
    how = ("--standalone", "--nproc-per-node", "2")
    # torchrun asks the other one to end before that one has said why it does
    process = torchrun(*words.split(), module="tests.metarl.train.slow_to_leave", how=how)
    wait_for(lambda: (run / "checkpoint.previous.pt").exists())
    killed = time.monotonic()
    os.kill(children_of(process.pid)[-1], signal.SIGKILL)
    status, output = ended(process, patience=60)
    assert status != 0
    assert time.monotonic() - killed < 60
    assert "another process of this job has ended" in output
    assert f"-m experiments.maze train --resume {run}" in output
    (found,) = find_runs(run)
    done = found.load_checkpoint()["iteration"]
    recipe = shared_jobs.import_module("experiments.maze").RECIPE
    words = ["--resume", str(run), "--iterations", str(done + 2)]
    shared_jobs.train(recipe, shared_jobs.parse_training(recipe, "train", words), words)
    assert found.load_checkpoint()["iteration"] == done + 2


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_rarer_methods_learn_in_several_processes_what_they_learn_in_one(tmp_path, data, count):
    shared_jobs.run(tmp_path / "alone", str(data), list(RARE))
    run_by(count, tmp_path / "several", data, RARE)
    for name in RARE:
        assert_equal(tmp_path / "alone" / name, tmp_path / "several" / name, 1e-9)


@pytest.mark.slow
def test_the_same_number_of_processes_gives_the_same_bits(tmp_path, data):
    for time_ in ("first", "second"):
        run_by(2, tmp_path / time_, data, USUAL)
    for name in USUAL:
        assert_equal(tmp_path / "first" / name, tmp_path / "second" / name, 0)


# Without processes --------------------------------------------------------------------------


@pytest.fixture
def store():
    return dist.TCPStore("127.0.0.1", free_port(), is_master=True, wait_for_workers=False)


@pytest.fixture
def last_words(monkeypatch):
    said = []
    monkeypatch.setattr(heartbeat, "end", said.append)
    monkeypatch.setattr(heartbeat, "BEAT", 0.02)
    return said


def test_a_process_without_a_sign_of_life_is_named(store, last_words):
    dist.PrefixStore("alive", store).add("1", 1)  # one sign, and no other
    with heartbeat.Heartbeat(store, 0, 2, silence=0.3):
        wait_for(lambda: last_words, 20)
    assert "process 1 of 2" in last_words[0]


def test_a_process_that_has_left_is_not_waited_for(store, last_words):
    with heartbeat.Heartbeat(store, 1, 2, silence=0.3):
        pass
    with heartbeat.Heartbeat(store, 0, 2, silence=0.3):
        time.sleep(0.6)
    assert not last_words


def test_what_sb3_computes_has_the_precision_of_sb3():
    with pytest.raises(UserError, match="--dtype float64: ppo computes as SB3 does"):
        TrainSettings(method="ppo", learner=PPOSettings(), dtype="float64")


def test_an_error_has_time_to_be_said():
    before = signal.getsignal(signal.SIGTERM)
    try:
        with launch.time_for_last_words():
            assert signal.getsignal(signal.SIGTERM) is not before
        assert signal.getsignal(signal.SIGTERM) is before  # nothing is left to say
        with pytest.raises(ProcessLostError), launch.time_for_last_words():
            raise ProcessLostError("it has gone")
        assert signal.getsignal(signal.SIGTERM) is not before
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with launch.time_for_last_words():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_every_process_needs_a_device_of_its_own(torchrun, monkeypatch):
    torchrun()
    launch.check_device("cpu")
    launch.check_device("auto")
    with pytest.raises(DeviceError, match="cuda:1 is one GPU"):
        launch.check_device("cuda:1")
    with pytest.raises(DeviceError, match="mps"):
        launch.check_device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DeviceError, match="finds 1 GPUs"):
        launch.check_device("cuda")
