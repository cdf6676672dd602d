"""Whatever the bytes of a file are, its reader returns or says what is wrong, in one line."""

import json
from pathlib import Path

import pytest
import torch

from metarl.errors import CheckpointError, RunDirectoryError, UserError, understood
from metarl.runs import checkpoint
from metarl.runs.directory import RunDirectory
from metarl.runs.files import read_json
from metarl.runs.metrics import MetricsLog
from tests.damage import as_bytes, damaged_bytes, damaged_values


def outcome(read, path: Path, data: bytes) -> bool:
    """Whether the file was understood; if not, the one error names it in one line."""
    path.write_bytes(data)
    try:
        read()
    except UserError as error:
        message = str(error)
    else:
        return True
    assert str(path.parent) in message
    assert len(message.splitlines()) == 1
    assert len(message) < 700
    return False


def test_the_border_passes_what_is_named_already_and_interrupts() -> None:
    for passed in (CheckpointError("x"), KeyboardInterrupt()):
        with pytest.raises(type(passed)) as caught, understood("f", "is not x", "mend it"):
            raise passed
        assert caught.value is passed
    named = r"^f is not x \(RecursionError\); mend it$"
    with pytest.raises(RunDirectoryError, match=named), understood("f", "is not x", "mend it"):
        raise RecursionError
    with pytest.raises(RunDirectoryError) as long, understood("f", "is not x", "mend it"):
        raise MemoryError("a" * 5000 + "\n" + "b" * 10)
    assert len(str(long.value)) < 250


def test_damaged_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    moments = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
    checkpoint.save(path, {"iteration": 3, "learner": {"w": torch.ones(30), "o": moments}})
    whole = path.read_bytes()
    understood_ones = [
        outcome(lambda: checkpoint.load(path), path, data) for data in damaged_bytes(whole, 400)
    ]
    assert sum(understood_ones) < 40  # padding between the members has no checksum
    path.write_bytes(whole)
    assert checkpoint.load(path)["iteration"] == 3


@pytest.mark.parametrize("state", [3, None, [], {}, {"iteration": "3"}, {"iteration": True}])
def test_a_state_without_a_count_of_iterations_is_refused(tmp_path: Path, state: object) -> None:
    path = tmp_path / "checkpoint.pt"
    content = {"format": checkpoint.FORMAT, "version": checkpoint.VERSION, "state": state}
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="is not a checkpoint of a run"):
        checkpoint.load(path)


def test_damaged_json(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", {"x": [1, 2.5, None, "ä"]}, seed=3)
    path = run.path / "config.json"
    whole = path.read_bytes()
    for data in damaged_bytes(whole, 300):
        outcome(lambda: read_json(path), path, data)

    def opened() -> None:
        again = RunDirectory.open(run.path)
        assert again.seed >= 0
        again.note_resume(1)

    content = json.loads(whole) | {"anchors": {"random": 1.0}, "resumed": [{"iteration": 1}]}
    for value in damaged_values(content, 300):
        outcome(opened, path, as_bytes(value))


def test_damaged_metrics(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    for iteration in (1, 2, 3):
        log.append({"iteration": iteration, "env_steps": 10 * iteration, "return": 0.5 / iteration})
    whole = path.read_bytes()

    def read() -> None:
        for values in MetricsLog(path).columns().values():
            assert values.dtype in (float, int)
        MetricsLog(path).truncate(1)

    for data in damaged_bytes(whole, 300):
        outcome(read, path, data)
    rows = [json.loads(line) for line in whole.splitlines()]
    for value in damaged_values(rows, 300):
        outcome(read, path, b"\n".join(as_bytes(row) for row in value) + b"\n")
