"""Checkpoints: everything needed to go on, written atomically, read without executing code.

A checkpoint is a file of `torch.save` that holds a format tag, a version and the state: nested
dicts, lists and tuples of tensors, numbers, strings, booleans and None. Generators go in as their
states: `torch.Generator.get_state()` is a tensor, `numpy_rng.bit_generator.state` a dict of ints.

Beside `checkpoint.pt` stands its predecessor, `checkpoint.previous.pt`. Seeds that train together
write one after the other; if they are killed between two writes, `rewind_to_common` brings them
all back to the newest iteration that every one of them has.
"""

import io
import math
import os
import shlex
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metarl.errors import CheckpointError, understood
from metarl.runs.files import commit_temporary, sync_folder, temporary_path, write_temporary

FORMAT = "metarl checkpoint"
VERSION = 1

State = dict[str, Any]


def save(path: Path | str, state: Mapping[str, Any]) -> None:
    """Write a checkpoint; the one before it becomes `checkpoint.previous.pt`.

    At every moment, whatever kills the process or fills the disk, `path` is a whole checkpoint: the
    old one or the new one. Tensors are written from the CPU, so that they load on any machine, and
    a view (one seed of a stacked tensor) is written without the rest of its storage.

    Args:
        path: The file, by habit `RUN/checkpoint.pt`; its folder must exist.
        state: What to keep. `state["iteration"]` is the number of iterations done.

    Raises:
        TypeError: A value is of a type that `load` would refuse; the message says where it is.
        ValueError: `state["iteration"]` is missing or no count.
        OSError: The file could not be written. The checkpoint before it is untouched.
    """
    path = Path(path)
    iteration = _check_iteration(state)
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "version": VERSION, "state": _plain(state, "state")}, buffer)
    try:
        write_temporary(path, buffer.getvalue())
        if path.exists():
            _keep_as_previous(path)
        commit_temporary(path)
    except OSError as error:
        raise OSError(
            error.errno,
            f"could not write the checkpoint of iteration {iteration} ({error.strerror}); "
            "the one before it is untouched: make room, then resume",
            str(path),
        ) from error


def load(path: Path | str, device: torch.device | str = "cpu") -> State:
    """Read a checkpoint. Nothing in the file can execute code (`weights_only=True`).

    Args:
        path: The file.
        device: Where its tensors shall live. Generator states must stay on the CPU.

    Returns:
        The state as it was saved; mappings come back as plain dicts.

    Raises:
        CheckpointError: The file is missing, truncated, corrupt, foreign or of a later version.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            f"there is no checkpoint {path}; has the run got as far as its first one?"
        )
    data = path.read_bytes()
    remedy = _remedy_for_damage(path)
    with understood(path, "is not a whole checkpoint", remedy, CheckpointError):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            damaged = archive.testzip()  # every byte against its checksum
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged} does not match its checksum")
    foreign = (
        "was not opened, because a file that holds more than tensors and plain values can execute "
        f"code; use one that metarl.runs.checkpoint.save wrote, or, where this one did, {remedy}"
    )
    with understood(path, "is not a checkpoint of metarl", foreign, CheckpointError):
        content = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} was not written by metarl (no tag {FORMAT!r}); name a run's checkpoint.pt"
        )
    if content.get("version") != VERSION:
        raise CheckpointError(
            f"{path} is of version {content.get('version')!r}, this metarl reads version {VERSION};"
            " use the metarl that wrote it (config.json names it)"
        )
    with understood(path, "is not a checkpoint of a run", remedy, CheckpointError):
        state: State = dict(content["state"])
        _check_iteration(state)
    return state


def not_finite(value: object, where: str) -> str | None:
    """The first tensor or number, in nested dicts, lists and tuples, that is NaN or infinite.

    Returns:
        Where it is, such as ``learner['params']['w']``; None where all are finite.
    """
    if isinstance(value, Mapping):
        items = [(item, f"{where}[{key!r}]") for key, item in value.items()]
    elif isinstance(value, list | tuple):
        items = [(item, f"{where}[{i}]") for i, item in enumerate(value)]
    elif isinstance(value, Tensor):
        return None if bool(value.isfinite().all()) else where
    else:
        return where if isinstance(value, float) and not math.isfinite(value) else None
    return next((found for one in items if (found := not_finite(*one)) is not None), None)


def learned(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the learner of a checkpoint: the best, where validation chose; else as it ended.

    Raises:
        KeyError: There is none (call it in `RunDirectory.fits_settings`).
    """
    last: Mapping[str, Any] = state["learner"]
    best = last.get("selection", {}).get("best")
    return last if best is None else best["learner"]


def previous_path(path: Path | str) -> Path:
    """Path of a checkpoint's predecessor: `checkpoint.pt` → `checkpoint.previous.pt`."""
    path = Path(path)
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _remedy_for_damage(path: Path) -> str:
    """Remedy for a damaged checkpoint, as things are."""
    newer = path.with_name(path.name.replace(".previous", ""))
    if newer != path:
        return f"delete it, {newer.name} does not need it"
    if (previous := previous_path(path)).is_file():
        return f"go back to the one before it: {shlex.join(('cp', str(previous), str(path)))}"
    return "there is none before it: put a copy in its place, or train again"


def rewind_to_common(paths: Sequence[Path | str]) -> int:
    """Bring the checkpoints of several seeds to the newest iteration that all of them have.

    Where a seed is ahead, its `checkpoint.previous.pt` takes the place of its `checkpoint.pt`. To
    be killed in the middle of this is harmless; calling it again finishes it.

    Args:
        paths: The `checkpoint.pt` of each seed.

    Returns:
        The iteration that every checkpoint now holds.

    Raises:
        CheckpointError: A checkpoint is missing or damaged, or there is no common iteration.
    """
    if not paths:
        raise ValueError("no checkpoints were given")
    available: list[dict[int, Path]] = []  # for each seed: iteration -> file
    for path in map(Path, paths):
        # The newer one last: it counts where both are of one iteration.
        files = [*([previous_path(path)] if previous_path(path).is_file() else []), path]
        available.append({int(load(file)["iteration"]): file for file in files})
    common = set.intersection(*(set(files) for files in available))
    if not common:
        held = ", ".join(f"{path}: {sorted(a)}" for path, a in zip(paths, available, strict=True))
        raise CheckpointError(
            f"the seeds have no iteration in common ({held}); resume them one at a time"
        )
    newest = max(common)
    for path, held_by in zip(map(Path, paths), available, strict=True):
        if held_by[newest] != path:
            os.replace(held_by[newest], path)
            sync_folder(path.parent)
    return newest


def _check_iteration(state: Mapping[str, Any]) -> int:
    """The number of iterations done.

    Raises:
        ValueError: It is missing or no count.
    """
    iteration = state.get("iteration")
    if type(iteration) is not int or iteration < 0:
        raise ValueError(f"state['iteration'] must be a count of iterations, got {iteration!r}")
    return iteration


def _keep_as_previous(path: Path) -> None:
    """Give the checkpoint a second name; `path` itself stays in place throughout."""
    previous = previous_path(path)
    staging = temporary_path(previous)
    staging.unlink(missing_ok=True)
    try:
        os.link(path, staging)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, staging)
    os.replace(staging, previous)
    staging.unlink(missing_ok=True)  # replace() leaves it where both names are one file already


def _plain(value: object, where: str) -> object:
    """Copy `value` into what `weights_only=True` reads back; refuse the rest, saying where."""
    if isinstance(value, Tensor):
        tensor = value.detach().cpu()
        if tensor.untyped_storage().nbytes() != tensor.numel() * tensor.element_size():
            tensor = tensor.clone(memory_format=torch.contiguous_format)
        return tensor
    if isinstance(value, Mapping):
        for key in value:
            if type(key) not in (str, int):
                raise TypeError(f"{where} has the key {key!r}; keys must be str or int")
        return {key: _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(
        f"{where} is a {type(value).__name__}, which a checkpoint cannot hold; "
        "use tensors, int, float, str, bool, None, and dicts, lists and tuples of them"
    )
