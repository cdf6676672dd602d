"""A sign of life: a process that dies, hangs or is cut off ends the job, with a message.

Processes wait for one another in every iteration, as long as a share of the work takes; how long
that is nobody knows beforehand. So waiting is no sign of death. Instead a thread of every process
counts a number up in the store that all of them see, and looks at those of the others: one that
stands still for `SILENCE` is lost, and so is everything where the store itself cannot be reached.
A process that waits cannot be woken by an exception; it ends at once, and what it has saved stands.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from types import TracebackType
from typing import Self

from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]

BEAT = 1.0
"""Seconds between two signs of life."""

SILENCE = 15.0
"""Seconds without one after which a process is lost; `torchrun` takes 30 more to end the rest."""

MEETING = 120.0
"""Seconds that a process has for its first one."""

PARTING = 5.0
"""Seconds that leaving may take."""

LOST = 1
"""Exit status of a process that has lost another."""


class Heartbeat:
    """The thread, while the `with` block lasts.

    Args:
        store: What all processes see, by a connection of its own: one that waits for a key holds
            up all who share it.
        rank: Number of this one.
        count: Number of processes.
        silence: Seconds after which one is lost.
    """

    def __init__(self, store: Store, rank: int, count: int, *, silence: float = SILENCE) -> None:
        self._store = PrefixStore("alive", store)
        self._others = [r for r in range(count) if r != rank]
        self._rank, self._count, self._silence = rank, count, silence
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._store.add(str(self._rank), 1)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join(PARTING)
        if self._thread.is_alive():  # it waits for a store that does not answer
            return
        try:  # who leaves says so: nobody is to wait for its signs
            self._store.add(f"left {self._rank}", 1)
        except RuntimeError:  # the store has gone, with the process that held it
            return

    def _watch(self) -> None:
        seen = dict.fromkeys(self._others, (0, time.monotonic()))
        while not self._over.wait(BEAT):
            try:
                self._store.add(str(self._rank), 1)
                numbers = {r: self._store.add(str(r), 0) for r in seen}
                gone = {r for r in seen if self._store.add(f"left {r}", 0)}
            except RuntimeError as error:
                if not self._over.wait(PARTING):  # all may be leaving
                    end(f"the processes of this job have lost one another ({first_words(error)})")
                return
            now = time.monotonic()
            seen = {
                r: (numbers[r], now if numbers[r] != before else since)
                for r, (before, since) in seen.items()
                if r not in gone
            }
            silent = [
                str(r)
                for r, (number, since) in seen.items()
                if now - since > (self._silence if number else MEETING)
            ]
            if silent and not self._over.is_set():
                end(
                    f"process {', '.join(silent)} of {self._count} (counted from 0) gives no sign "
                    f"of life"
                )


def end(message: str) -> None:
    """End this process, whatever it waits for; files are whole at any moment."""
    print(f"error: {message}; the last checkpoint stands", file=sys.stderr, flush=True)  # noqa: T201
    os._exit(LOST)


def first_words(error: Exception) -> str:
    """The first line of a message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
