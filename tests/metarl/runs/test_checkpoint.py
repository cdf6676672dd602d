import os
import pickle
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metarl.errors import CheckpointError
from metarl.runs import checkpoint, files


def _state(iteration: int, size: int = 3) -> dict[str, Any]:
    return {"iteration": iteration, "weights": torch.full((size,), float(iteration))}


def _iteration(path: Path) -> int:
    return int(checkpoint.load(path)["iteration"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.pt"


def test_everything_a_training_loop_has_comes_back_bit_for_bit(path: Path) -> None:
    model = torch.nn.Linear(3, 2)
    optimiser = torch.optim.Adam(model.parameters())
    model(torch.ones(3)).sum().backward()
    optimiser.step()
    generator = torch.Generator().manual_seed(5)
    rng = np.random.default_rng(5)
    state = {
        "iteration": 7,
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "generator": generator.get_state(),
        "numpy": rng.bit_generator.state,  # holds integers of 128 bits
        "mixed": [1, 2.5, "x", None, True, (0.9, 0.999)],
        "ordered": OrderedDict(a=1),
    }
    checkpoint.save(path, state)
    loaded = checkpoint.load(path)

    for name, value in model.state_dict().items():
        assert torch.equal(loaded["model"][name], value)
    fresh = torch.optim.Adam(model.parameters())
    fresh.load_state_dict(loaded["optimiser"])
    assert str(fresh.state_dict()) == str(optimiser.state_dict())
    again = torch.Generator()
    again.set_state(loaded["generator"])
    assert torch.equal(torch.rand(4, generator=again), torch.rand(4, generator=generator))
    rng_again = np.random.default_rng()
    rng_again.bit_generator.state = loaded["numpy"]
    assert rng_again.random() == rng.random()
    assert loaded["mixed"] == state["mixed"]
    assert loaded["ordered"] == {"a": 1}


def test_a_view_is_written_without_the_rest_of_its_storage(path: Path) -> None:
    stacked = torch.rand(100, 1000)  # 100 seeds
    checkpoint.save(path, {"iteration": 0, "weights": stacked[3], "transposed": stacked[:2].T})
    assert path.stat().st_size < 30_000
    loaded = checkpoint.load(path)
    assert torch.equal(loaded["weights"], stacked[3])
    assert torch.equal(loaded["transposed"], stacked[:2].T)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": [np.float64(1.0)]}, r"state\['x'\]\['a'\]\[0\] is a float64"),
        (Path("x"), r"state\['x'\] is a PosixPath"),
        ({(1, 2): 3}, r"state\['x'\] has the key \(1, 2\)"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(path: Path, value: object, where: str) -> None:
    with pytest.raises(TypeError, match=where):
        checkpoint.save(path, {"iteration": 0, "x": value})
    assert not path.exists()


@pytest.mark.parametrize("iteration", [None, -1, 1.0, True])
def test_the_iteration_is_a_count(path: Path, iteration: object) -> None:
    with pytest.raises(ValueError, match=f"got {iteration!r}"):
        checkpoint.save(path, {"iteration": iteration})


def test_the_predecessor_is_kept(path: Path) -> None:
    previous = checkpoint.previous_path(path)
    assert previous.name == "checkpoint.previous.pt"
    checkpoint.save(path, _state(1))
    assert not previous.exists()
    for iteration in (2, 3):
        checkpoint.save(path, _state(iteration))
        assert (_iteration(path), _iteration(previous)) == (iteration, iteration - 1)
    assert {p.name for p in path.parent.iterdir()} == {path.name, previous.name}


def test_the_predecessor_is_kept_without_hard_links(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError("this file system has no hard links")

    monkeypatch.setattr(os, "link", no_links)
    for iteration in (1, 2):
        checkpoint.save(path, _state(iteration))
    assert (_iteration(path), _iteration(checkpoint.previous_path(path))) == (2, 1)


@contextmanager
def _largest_file(num_bytes: int) -> Iterator[None]:
    """Let writing fail for real once a file has grown to `num_bytes`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_destroys_nothing(path: Path) -> None:
    checkpoint.save(path, _state(1, size=10_000))
    checkpoint.save(path, _state(2, size=10_000))
    with _largest_file(20_000), pytest.raises(OSError, match=r"iteration 3.*untouched"):
        checkpoint.save(path, _state(3, size=10_000))
    assert (_iteration(path), _iteration(checkpoint.previous_path(path))) == (2, 1)
    assert len(list(path.parent.iterdir())) == 2, "the half-written file is cleaned up"
    checkpoint.save(path, _state(4, size=10_000))
    assert _iteration(path) == 4


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_dying_at_any_step_leaves_a_whole_checkpoint(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    class Died(BaseException):
        """Like kill -9: no handler of errors runs."""

    checkpoint.save(path, _state(1))
    checkpoint.save(path, _state(2))
    calls = 0

    def dying(name: str) -> None:
        original = getattr(os, name)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == call:
                raise Died
            return original(*args, **kwargs)

        monkeypatch.setattr(os, name, wrapper)

    for name in ("fsync", "link", "replace"):
        dying(name)
    with pytest.raises(Died):
        checkpoint.save(path, _state(3))
    monkeypatch.undo()

    assert _iteration(path) == 2
    assert _iteration(checkpoint.previous_path(path)) in (1, 2)
    checkpoint.save(path, _state(3))
    assert (_iteration(path), _iteration(checkpoint.previous_path(path))) == (3, 2)


def test_kill_9_while_writing_leaves_a_whole_checkpoint(path: Path) -> None:
    program = """
import sys, torch
from metarl import checkpoint
iteration = 0
while True:
    weights = torch.full((200_000,), float(iteration))
    checkpoint.save(sys.argv[1], {"iteration": iteration, "weights": weights})
    iteration += 1
"""
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", program, str(path)])
        path.unlink(missing_ok=True)
        while not path.exists():
            time.sleep(0.01)
        time.sleep(0.05 + 0.1 * float(np.random.default_rng().random()))
        process.send_signal(signal.SIGKILL)
        process.wait()
        state = checkpoint.load(path)
        assert torch.equal(state["weights"], torch.full((200_000,), float(state["iteration"])))


class _Malicious:
    """Unpickling this makes a file: what `rm -rf` would look like in a hostile checkpoint."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.victim,))


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_malicious_file_executes_nothing(path: Path, tmp_path: Path, writer: str) -> None:
    victim = tmp_path / "victim"
    content = {"format": checkpoint.FORMAT, "state": _Malicious(victim)}
    if writer == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError, match=str(path)):
        checkpoint.load(path)
    assert not victim.exists()

    if writer == "torch":  # the negative control: the payload is a live one
        torch.load(path, weights_only=False)
        assert victim.exists()


def test_truncated_files_are_refused(path: Path) -> None:
    checkpoint.save(path, _state(1))
    whole = path.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(
            CheckpointError, match=r"not a whole checkpoint .*train again"
        ) as caught:
            checkpoint.load(path)
        assert "cp " not in str(caught.value)


def test_the_way_out_of_a_damaged_checkpoint_is_printed_and_works(path: Path) -> None:
    checkpoint.save(path, _state(1))
    checkpoint.save(path, _state(2))
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    previous = checkpoint.previous_path(path)
    with pytest.raises(CheckpointError, match=r"go back to the one before it: cp ") as caught:
        checkpoint.load(path)
    subprocess.run(shlex.split(str(caught.value).partition("before it: ")[2]), check=True)
    assert checkpoint.rewind_to_common([path]) == 1

    path.write_bytes(whole)
    previous.write_bytes(whole[:100])
    with pytest.raises(CheckpointError, match=r"previous\.pt .*delete it, checkpoint\.pt does not"):
        checkpoint.rewind_to_common([path])
    previous.unlink()
    assert checkpoint.rewind_to_common([path]) == 2


def test_a_flipped_bit_is_noticed(path: Path) -> None:
    checkpoint.save(path, _state(1, size=1000))
    content = bytearray(path.read_bytes())
    position = content.index(torch.full((1000,), 1.0).numpy().tobytes()) + 2000
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="checksum"):
        checkpoint.load(path)


def test_foreign_missing_and_later_files_are_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*checkpoint\.pt"):
        checkpoint.load(path)
    torch.save({"iteration": 1}, path)
    with pytest.raises(CheckpointError, match="not written by metarl"):
        checkpoint.load(path)
    torch.save(torch.zeros(2), path)
    with pytest.raises(CheckpointError, match="not written by metarl"):
        checkpoint.load(path)
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(CheckpointError, match="not a checkpoint of metarl"):
        checkpoint.load(path)
    torch.save({"format": checkpoint.FORMAT, "version": 2, "state": {}}, path)
    with pytest.raises(CheckpointError, match="version 2, this metarl reads version 1"):
        checkpoint.load(path)
    with zipfile_with_a_text(tmp_path / "other.pt") as other, pytest.raises(CheckpointError):
        checkpoint.load(other)


@contextmanager
def zipfile_with_a_text(path: Path) -> Iterator[Path]:
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    yield path


def _seed_folders(root: Path, iterations: list[list[int]]) -> list[Path]:
    paths = []
    for seed, saved in enumerate(iterations):
        path = root / f"seed-{seed}" / "checkpoint.pt"
        path.parent.mkdir(parents=True)
        for iteration in saved:
            checkpoint.save(path, _state(iteration))
        paths.append(path)
    return paths


@pytest.mark.parametrize(
    ("iterations", "expected"),
    [
        ([[10, 20], [10, 20]], 20),  # killed while computing
        ([[10, 20, 30], [10, 20]], 20),  # killed between two writes
        ([[10, 20], [10]], 10),
        ([[10, 20, 30]], 30),
    ],
)
def test_seeds_rewind_to_the_newest_common_iteration(
    tmp_path: Path, iterations: list[list[int]], expected: int
) -> None:
    paths = _seed_folders(tmp_path, iterations)
    assert checkpoint.rewind_to_common(paths) == expected
    assert [_iteration(path) for path in paths] == [expected] * len(paths)
    assert checkpoint.rewind_to_common(paths) == expected, "once more changes nothing"


def test_of_two_of_one_iteration_the_newer_counts(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    for loss in (1.0, 2.0):
        checkpoint.save(path, {"iteration": 10, "loss": loss})
    assert checkpoint.rewind_to_common([path]) == 10
    assert checkpoint.load(path)["loss"] == 2.0


def test_being_killed_again_after_a_rewind_can_be_resumed(tmp_path: Path) -> None:
    paths = _seed_folders(tmp_path, [[10, 20, 30], [10, 20]])
    assert checkpoint.rewind_to_common(paths) == 20
    checkpoint.save(paths[0], _state(30))  # killed between the same two writes
    assert checkpoint.rewind_to_common(paths) == 20


def test_being_killed_while_rewinding_leaves_whole_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        """Like kill -9: no handler of errors runs."""

    def die(*_: object) -> None:
        raise Died

    paths = _seed_folders(tmp_path, [[10, 20, 30], [10, 20]])
    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(Died):
        checkpoint.rewind_to_common(paths)
    monkeypatch.undo()
    assert [_iteration(path) for path in paths] == [30, 20]
    assert checkpoint.rewind_to_common(paths) == 20


def test_the_predecessor_half_kept_is_no_obstacle(tmp_path: Path) -> None:
    # Killed after the first seed kept its predecessor, before its new file took the name.
    paths = _seed_folders(tmp_path, [[10, 20], [10, 20]])
    previous = checkpoint.previous_path(paths[0])
    previous.unlink()
    os.link(paths[0], previous)
    assert checkpoint.rewind_to_common(paths) == 20
    assert [_iteration(path) for path in paths] == [20, 20]


def test_seeds_without_a_common_iteration_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no iteration in common.*one at a time"):
        checkpoint.rewind_to_common(_seed_folders(tmp_path, [[10], [20]]))


def test_atomic_write_leaves_the_old_file_on_an_error(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    files.write_bytes(path, b"old")
    with _largest_file(1000), pytest.raises(OSError, match="File too large"):
        files.write_bytes(path, b"x" * 2000)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]
    files.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
