"""The CPU time of training, kept in a file, so that a resume goes on counting."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from metarl.foreign_bytes import understood
from metarl.runs.files import read_json, write_json


class CpuClock:
    """Adds the CPU seconds of this process, all threads together, to a file while it is entered.

    It writes every few seconds: after kill -9 little is missing, and what has to be done a second
    time counts twice, as it cost twice. It writes into a run directory only, once there is one.

    Args:
        path: The file: `{"cpu_seconds": ...}`.
        every: Seconds between two writes.
    """

    def __init__(self, path: Path, every: float = 5.0) -> None:
        self.path, self.every = path, every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._before = self._started = 0.0

    def __enter__(self) -> Self:
        self._before = cpu_seconds(self.path) or 0.0
        self._started = time.process_time()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._write()

    def _beat(self) -> None:
        while not self._stop.wait(self.every):
            self._write()

    def _write(self) -> None:
        if (self.path.parent / "config.json").exists():
            total = self._before + time.process_time() - self._started
            write_json(self.path, {"cpu_seconds": total})


def cpu_seconds(path: Path) -> float | None:
    """Return the CPU seconds that a file holds; None where it is missing."""
    if not path.exists():
        return None
    content = read_json(path)
    with understood(path, "does not hold cpu_seconds", "delete it: they are counted from 0 then"):
        return float(content["cpu_seconds"])
