"""Files that are whole or not there: atomic writes, strict JSON, a lock between processes.

The bytes of a file go to a temporary file in the same folder, reach the disk (`fsync`), and take
the name in one step (`os.replace`): whatever happens in between (a crash, kill -9, a full disk), a
reader sees the old file or the new one, never a part of one.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from metarl.errors import LockedError, RunDirectoryError, understood


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically and durably.

    Args:
        path: The file; its folder must exist. What stood there before stays until the last step.
        data: All its bytes.

    Raises:
        OSError: The data could not be written (a full disk, no permission). `path` is as before.
    """
    write_temporary(path, data)
    commit_temporary(path)


def write_temporary(path: Path, data: bytes) -> None:
    """Bring `data` onto the disk beside `path`, under a temporary name; first half of the work."""
    temporary = temporary_path(path)
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            sync_file(file.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def commit_temporary(path: Path) -> None:
    """Give the temporary file the name `path`, and make that durable; second half of the work."""
    os.replace(temporary_path(path), path)
    sync_folder(path.parent)


def temporary_path(path: Path) -> Path:
    """Path where the bytes of `path` wait. One name per file, so that leftovers do not pile up."""
    return path.with_name(f".{path.name}.tmp")


def sync_file(descriptor: int) -> None:
    """Wait until what was written to an open file has reached the disk."""
    os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable. Windows has no such call and needs none."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def to_json(value: object, where: str) -> Any:
    """Turn settings and results into what JSON can hold; NaN and infinity become None.

    Args:
        value: Numbers, strings, arrays of numpy or torch, paths, devices, dataclasses, and mappings
            and sequences of them.
        where: What to call the value in an error.

    Raises:
        TypeError: The value, or something in it, is nothing of the above.
    """
    if hasattr(value, "tolist"):  # arrays and scalars of numpy and torch
        value = value.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {str(key): to_json(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [to_json(item, where) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    torch = sys.modules.get("torch")  # where nobody has imported it, nothing is of its kinds
    if isinstance(value, Path) or (torch and isinstance(value, torch.device | torch.dtype)):
        return str(value)
    raise TypeError(f"{where} is a {type(value).__name__}, which JSON cannot hold")


def write_json(path: Path, content: object) -> None:
    """Write JSON values to a file, atomically, indented."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, text.encode() + b"\n")


def strict_json(data: bytes) -> Any:
    """The value that JSON text holds; JSON has no NaN and no infinity, whatever others write.

    Raises:
        ValueError: It is no JSON (`RecursionError`, `UnicodeError`, ...: call it in `understood`).
    """
    return json.loads(data, parse_constant=_finite, parse_float=_finite, object_pairs_hook=once)


def once(entries: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Entries by their names, of which none is there twice.

    Raises:
        ValueError: One is: which of them counts, readers do not agree on.
    """
    found = dict(entries)
    if len(found) < len(entries):
        names = [name for name, _ in entries]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice} is there twice")
    return found


def _finite(word: str) -> float:
    if not math.isfinite(value := float(word)):
        raise ValueError(f"{word[:20]} is no number of JSON")
    return value


def read_json(path: Path) -> dict[str, Any]:
    """Read the object that a file holds.

    Raises:
        RunDirectoryError: The file holds no JSON object.
        OSError: It cannot be read.
    """
    data = path.read_bytes()
    with understood(path, "is not valid JSON", "restore it"):
        content = strict_json(data)
    if not isinstance(content, dict):
        raise RunDirectoryError(f"{path} does not hold a JSON object; restore it")
    return content


class Lock:
    """A lock on a folder that is held until `release`, or until the process ends, however it ends.

    Within one process it is one lock, however many times it is taken: it keeps processes apart.

    Attributes:
        real: Whether anything is locked; not so on a file system without locks.

    Args:
        folder: Where the lock file goes, ``.lock``; it must exist.
        patience: Seconds to wait for another process.

    Raises:
        LockedError: Another process holds it.
    """

    def __init__(self, folder: Path, patience: float = 0.0) -> None:
        self._lock: FileLock | None = FileLock(
            folder.resolve() / ".lock", is_singleton=True, thread_local=False, mode=0o644
        )
        try:
            self._lock.acquire(timeout=patience)
        except Timeout:
            raise LockedError(
                f"another process is training {folder}; wait for it, or stop it first"
            ) from None
        except (OSError, NotImplementedError):  # a file system without locks: nothing is locked
            self._lock = None
        self.real = self._lock is not None

    def release(self) -> None:
        """Let another process have it."""
        if self._lock is not None:
            self._lock.release()
        self._lock = None


@contextmanager
def held(folder: Path, patience: float = 0.0) -> Iterator[None]:
    """A lock on a folder while the `with` block lasts.

    Args:
        folder: Where the lock file goes; it must exist.
        patience: Seconds to wait for another process.

    Raises:
        LockedError: Another process holds it.
    """
    lock = Lock(folder, patience)
    try:
        yield
    finally:
        lock.release()
