"""Ctrl-C and polite kills as a loop wants them: asked for at any moment, heeded at a safe one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Whether somebody asked this process to stop, while the `with` block lasts.

    The first signal is noted, and the loop stops when it has saved. A further one raises
    `KeyboardInterrupt`, but in `computing` alone: raised amid the writing of a file, or in the lock
    of somebody's queue, it would leave threads behind that wait for each other.

    A signal that is ignored, as Ctrl-C is by a script's background jobs, stays ignored. Outside of
    the main thread, where Python takes no signals, nothing is noted.

    Example:
        >>> with Interruption() as interruption:
        ...     while not interruption.asked:
        ...         with interruption.computing():
        ...             step()
        ...         save()
    """

    def __init__(self) -> None:
        self.asked = False
        self._may_raise = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            heeded = [s for s in SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._receive) for number in heeded}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Work that may be broken off: it leaves nothing half-written."""
        self._may_raise = True
        try:
            yield
        finally:
            self._may_raise = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        may_raise, self._may_raise = self._may_raise, False  # once, not again on the way out
        if self.asked and may_raise:
            raise KeyboardInterrupt
        self._may_raise = may_raise
        self.asked = True
