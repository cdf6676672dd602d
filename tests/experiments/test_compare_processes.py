"""`compare --jobs` in real processes: a child that is killed, signals to all or to the first."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc"),
]

LONG = (
    *("--env", "bandit", "--arms", "2", "--horizon", "3", "--hidden", "3", "--meta-batch", "2"),
    *("--episodes", "2", "--iterations", "40", "--log-every", "1", "--checkpoint-every", "10"),
    *("--evaluate.tasks", "3", "--evaluate.steps", "1", "--device", "cpu", "--seeds", "0"),
    *("--methods", "fomaml", "none", "--override", "fomaml.iterations=1000000", "--jobs", "2"),
)


@pytest.fixture
def process(tmp_path):
    command = [sys.executable, "-W", "ignore", "-m", "experiments.maze_adapt", "compare"]
    with subprocess.Popen(
        [*command, "--run-dir", str(tmp_path / "c"), *LONG],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as started:
        yield started
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)


def training(folder):
    """The process that trains the endless one, once it does."""
    lines = folder / "fomaml" / "seed-0" / "metrics.jsonl"
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if lines.exists() and lines.read_bytes().count(b"\n") > 2:
            break
        time.sleep(0.05)
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        try:
            links = [os.readlink(f"/proc/{entry}/fd/{f}") for f in os.listdir(f"/proc/{entry}/fd")]
        except OSError:
            continue
        if f"{lines.parent}/.lock" in links:
            return int(entry)
    raise AssertionError("nobody trains")


def test_a_child_that_is_killed_is_a_row_and_the_others_are_there(tmp_path, process):
    os.kill(training(tmp_path / "c"), signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "1 failed: fomaml/seed-0" in said
    kept = json.loads((tmp_path / "c" / "comparison.json").read_text())["results"]
    assert [s["method"] for s in kept["methods"]] == ["none"]
    assert "killed by SIGKILL" in kept["failures"]["fomaml/seed-0"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("everybody", [True, False])
def test_all_save_and_stop_whoever_hears_the_signal(tmp_path, process, number, everybody):
    training(tmp_path / "c")
    if everybody and number == signal.SIGINT:  # as a terminal does
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
        if everybody:  # a second one does not wait
            time.sleep(0.01)
            process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "interrupted; go on with" in said
    assert "Traceback" not in said
    kept = tmp_path / "c" / "fomaml" / "seed-0"
    if not (everybody and number == signal.SIGTERM):
        last = json.loads(kept.joinpath("metrics.jsonl").read_bytes().splitlines()[-1])
        from metarl.runs.checkpoint import load

        assert load(kept / "checkpoint.pt")["iteration"] == last["iteration"]


SHORT = [word.replace("1000000", "300") for word in LONG]


def started(folder, *arguments):
    command = [sys.executable, "-W", "ignore", "-m", "experiments.maze_adapt", "compare"]
    return subprocess.Popen(
        [*command, "--run-dir", str(folder), *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_what_a_process_that_was_killed_has_left_goes_on_in_another(tmp_path):
    with started(tmp_path / "c", *SHORT, "--jobs", "1") as process:
        pid = training(tmp_path / "c")
        assert pid == process.pid
        process.kill()
        process.communicate()
    left = tmp_path / "c" / "fomaml" / "seed-0"
    assert json.loads((left / ".owner").read_text())["process"] == pid
    with started(tmp_path / "c", *SHORT) as process:
        said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    config = json.loads((left / "config.json").read_text())
    assert config["iterations"] == 300
    assert "resumed" in config
    assert not (left / ".owner").exists()
    assert "| fomaml | 1 |" in said


def test_two_processes_feed_one_folder_and_do_each_run_once(tmp_path):
    line = (*SHORT, "--jobs", "1", "--seeds", "0", "1")
    with started(tmp_path / "c", *line) as one, started(tmp_path / "c", *line) as two:
        outs = [process.communicate(timeout=200) for process in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0), outs
    trained = [out.count(", fomaml, ") + out.count(", none, ") for out, _ in outs]
    assert sum(trained) == 4
    kept = json.loads((tmp_path / "c" / "comparison.json").read_text())["results"]
    assert [len(summary["seeds"]) for summary in kept["methods"]] == [2, 2]
    for config in (tmp_path / "c").glob("*/seed-*/config.json"):
        assert "resumed" not in json.loads(config.read_text())
