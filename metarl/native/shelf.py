"""Built libraries on a shelf: a private folder, each under a name that says all it depends on.

A library is built beside and moved into place, so that a reader never sees half of one, whenever a
build is cut short. Its digest lies beside it, written before: a library that the disk has damaged
is built again. Of several processes that need the same library at once, one builds it while the
others wait; where the file system has no locks each builds it, and the last one's stays.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from metarl.native.compiler import PATIENCE, NativeUnavailableError

SUFFIX, DIGEST = ".so", ".sha256"

KEPT_DAYS = 30.0
"""Days that a library stays on the shelf without being used."""

ROOM = 2**24
"""Bytes that a build needs: where there are fewer, the disk is full."""


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """The file of a library, made if it is not there.

    Args:
        name: The name, which says all that the library depends on.
        make: Writes it to the file it is given.

    Raises:
        NativeUnavailableError: It cannot be made, or there is no place for it.
    """
    reasons = []
    for folder in _places():
        try:
            _check_private(folder)
            return _kept_in(folder, name, make)
        except OSError as error:
            reasons.append(f"{folder}: {error.strerror or error}")
        except NativeUnavailableError as error:
            if not _is_full(folder):
                raise
            reasons.append(f"{folder}: the disk is full ({error})")
    raise NativeUnavailableError(f"no place for built libraries: {'; '.join(reasons)}")


def _places() -> Iterator[Path]:
    """Folders that may hold libraries, the preferred one first."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    yield Path(home) / "metarl" / "native"
    yield Path(tempfile.gettempdir()) / f"metarl-native-{os.getuid()}"


def _check_private(folder: Path) -> None:
    """Make a folder, and check that nobody but this user writes there: its files are executed.

    Raises:
        OSError: It cannot be made, or is not this user's alone.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(None, "no folder")
    if status.st_uid != os.getuid():
        raise PermissionError(None, f"belongs to user {status.st_uid}")
    if status.st_mode & 0o022:
        raise PermissionError(None, "others may write there")


def discard(file: Path) -> None:
    """Take a library from the shelf that cannot be loaded, so that it is built again."""
    for path in (file, file.with_suffix(DIGEST)):
        with suppress(OSError):  # another process has, or the folder is read-only
            path.unlink()


def _kept_in(folder: Path, name: str, make: Callable[[Path], None]) -> Path:
    file = folder / f"{name}{SUFFIX}"
    if not _is_whole(file):
        with _one_at_a_time(folder / f"{name}.lock"):
            if not _is_whole(file):  # nor has another process built it meanwhile
                _tidy(folder)
                _put(file, make)
    for used in (file, file.with_suffix(DIGEST)):
        with suppress(OSError):
            os.utime(used)  # used now
    return file


def _is_whole(file: Path) -> bool:
    """Whether a library is there, with the bytes that were built."""
    try:
        return file.with_suffix(DIGEST).read_text() == _digest(file)
    except (OSError, UnicodeDecodeError):
        return False


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _put(file: Path, make: Callable[[Path], None]) -> None:
    """Build a library, and move it into place when it is on the disk, behind its digest."""
    with tempfile.TemporaryDirectory(prefix="building-", dir=file.parent) as scratch:
        fresh = Path(scratch) / file.name
        make(fresh)
        fresh.with_suffix(DIGEST).write_text(_digest(fresh))
        for path in (file.with_suffix(DIGEST), file):
            beside = fresh.with_suffix(path.suffix)
            _to_disk(beside)  # or a name could be there, after a power failure, without its bytes
            os.replace(beside, path)
    with suppress(OSError):  # some file systems have no such thing for folders
        _to_disk(file.parent)


def _to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """A lock, which ends with its process; none where it takes too long or there are no locks."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=PATIENCE)
    except (Timeout, OSError, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _tidy(folder: Path) -> None:
    """Remove what has not been used for long, and what builds left that were cut short."""
    long_ago = time.time() - KEPT_DAYS * 86_400.0
    for path in folder.iterdir():
        with suppress(OSError):  # another process tidies too
            if path.lstat().st_mtime > long_ago:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def _is_full(folder: Path) -> bool:
    return shutil.disk_usage(folder).free < ROOM
