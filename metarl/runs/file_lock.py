"""One process at a time: a lock on a file, which the system drops when its owner dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from metarl.errors import RunDirectoryError


class Lock:
    """A lock on a folder that is held until `release`, or until the process ends, however it ends.

    Within one process it is one lock, however many times it is taken: it keeps processes apart.

    Args:
        folder: Where the lock file goes, ``.lock``; it must exist.

    Raises:
        RunDirectoryError: Another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._lock: FileLock | None = FileLock(
            folder.resolve() / ".lock", is_singleton=True, thread_local=False, mode=0o644
        )
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise RunDirectoryError(
                f"another process is training {folder}; wait for it, or stop it first"
            ) from None
        except (OSError, NotImplementedError):  # a file system without locks: nothing is locked
            self._lock = None

    def release(self) -> None:
        """Let another process have it."""
        if self._lock is not None:
            self._lock.release()
        self._lock = None


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """A lock on a folder while the `with` block lasts.

    Raises:
        RunDirectoryError: Another process holds it.
    """
    lock = Lock(folder)
    try:
        yield
    finally:
        lock.release()
