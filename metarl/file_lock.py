"""One process at a time: an advisory lock on a file, which the system drops when its owner dies."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from metarl.errors import RunDirectoryError


class Lock:
    """A lock that is held until `release`, or until the process ends, however it ends."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Let another process have it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


def acquire(path: Path) -> Lock:
    """Lock a file, made if need be; where the system has no file locks nothing is locked.

    Raises:
        RunDirectoryError: Another process holds it.
    """
    if sys.platform == "win32":
        return Lock(None)
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise RunDirectoryError(
            f"another process is training {path.parent}; wait for it, or stop it first"
        ) from None
    except OSError:  # a file system without locks
        os.close(descriptor)
        return Lock(None)
    return Lock(descriptor)
