"""Claims on folders: a lock for one machine, and signs of life for the others.

The lock of a file (`metarl.runs.files.Lock`) ends with its process, however that ends. Between
machines it holds where the shared file system carries locks from one to the other; on many it does
not (NFS mounted with ``nolock``, Lustre with ``localflock``), and each machine sees its own locks
alone. Therefore the owner also writes into ``.owner`` who it is, with a number that grows every few
seconds. Who finds the words of an owner of another machine watches them: while they change, the
owner is alive; when they have stood still for long enough it is dead, and the folder is taken over.
Nobody's clock is compared with that of another machine.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from metarl.errors import LockedError, RunDirectoryError
from metarl.runs.files import Lock, read_json, write_json

OWNER = ".owner"
"""Name of the file that says who works on a folder."""

BEAT = 5.0
"""Seconds between two signs of life."""

BOOT = Path("/proc/sys/kernel/random/boot_id")
"""What Linux calls the time since it was started."""

SILENCE = 4 * BEAT
"""Seconds without a sign of life after which the owner on another machine is taken for dead."""


class Claim:
    """Claim on a folder, held until `release` or the end of the process.

    Args:
        folder: Where the work is; it must exist.
        silence: Seconds for which an owner of another machine must have given no sign of life.

    Raises:
        LockedError: Another process works there; the message says which, where that is known.
    """

    def __init__(self, folder: Path, silence: float = SILENCE) -> None:
        self._path = folder / OWNER
        try:
            self._lock = Lock(folder)
        except LockedError:
            raise _locked(folder, words_of(self._path)) from None
        try:
            self._wait_for_silence(folder, silence)
        except BaseException:
            self._lock.release()
            raise
        self._stop = threading.Event()
        self._beats = 0
        self._sign()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Give the folder free."""
        self._stop.set()
        self._thread.join()
        self._path.unlink(missing_ok=True)
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def _wait_for_silence(self, folder: Path, silence: float) -> None:
        """Watch an owner of another machine, whose lock might not be seen on this one.

        Raises:
            LockedError: It is alive.
        """
        first = words_of(self._path)
        same = all(first.get(name) == value for name, value in machine().items())
        if not first or (same and self._lock.real):  # whose lock would have been seen
            return
        until = time.monotonic() + silence
        while time.monotonic() < until:
            time.sleep(min(BEAT / 5, silence / 5))
            now = words_of(self._path)
            if not now:  # it has just ended
                return
            if now != first:
                raise _locked(folder, now)

    def _live(self) -> None:
        while not self._stop.wait(BEAT):
            with suppress(OSError):  # a disk that is full for a moment: the next one tells
                self._sign()

    def _sign(self) -> None:
        self._beats += 1
        owner = {**machine(), "process": os.getpid(), "beats": self._beats}
        write_json(self._path, owner)


def machine() -> dict[str, str]:
    """Return what tells this machine from others: its name, and where there is one its boot.

    Names alone may be the same for containers on different machines.
    """
    boot = BOOT.read_text("utf-8").strip() if BOOT.exists() else ""
    return {"machine": socket.gethostname(), "boot": boot}


def words_of(path: Path) -> dict[str, Any]:
    """Return what a file says of an owner; nothing where it is missing or damaged."""
    try:
        return read_json(path)
    except (RunDirectoryError, FileNotFoundError):
        return {}


def _locked(folder: Path, owner: dict[str, Any]) -> LockedError:
    who = f" (process {owner.get('process')} on {owner.get('machine')})" if owner else ""
    return LockedError(f"another process{who} is training {folder}; wait for it, or stop it first")
