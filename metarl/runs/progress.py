"""Progress of a long piece of work: a bar on a terminal, plain lines in a log file or CI.

Both go to standard error, so that standard output stays free for results.
"""

import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress


class Progress:
    """Shows iterations, the metrics that matter and an estimate of the time left.

    Example:
        >>> with Progress(500, "warp", start=resumed_iteration) as progress:
        ...     for iteration in range(resumed_iteration + 1, 501):
        ...         progress.update(iteration, {"return": 12.3})

    Args:
        total: Iterations when all is done.
        description: What is going on, in a word or two.
        start: Iterations done before, by the run that is resumed; left out of the estimate.
        interval: Seconds between two plain lines. The first and the last iteration always get one.
        stream: Where to write; standard error unless told.
    """

    def __init__(
        self,
        total: int,
        description: str,
        *,
        start: int = 0,
        interval: float = 15.0,
        stream: TextIO | None = None,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._display = (
            _Bar(total, description, start, self._stream)
            if _is_terminal(self._stream)
            else _Lines(total, description, start, self._stream, interval)
        )

    def update(self, iteration: int, metrics: Mapping[str, float] | None = None) -> None:
        """Say that `iteration` iterations are done; cheap enough to call after every one."""
        self._display.update(iteration, metrics or {})

    def __enter__(self) -> Self:
        self._display.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._display.end()


class _Bar:
    """A bar of rich that redraws itself ten times a second."""

    def __init__(self, total: int, description: str, start: int, stream: TextIO) -> None:
        self._rich = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[metrics]}"),
            TimeElapsedColumn(),
            TextColumn("elapsed,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=Console(file=stream),
            expand=True,
        )
        self._task = self._rich.add_task(description, total=total, completed=start, metrics="")

    def begin(self) -> None:
        self._rich.start()

    def update(self, iteration: int, metrics: Mapping[str, float]) -> None:
        self._rich.update(self._task, completed=iteration, metrics=_format_metrics(metrics))

    def end(self) -> None:
        self._rich.stop()


class _Lines:
    """A line at the first iteration, at the last, and whenever `interval` seconds have passed."""

    def __init__(
        self, total: int, description: str, start: int, stream: TextIO, interval: float
    ) -> None:
        self._total, self._description, self._start = total, description, start
        self._stream, self._interval = stream, interval
        self._pending: tuple[int, str] | None = None  # an iteration without a line yet

    def begin(self) -> None:
        self._began = time.monotonic()
        self._last_line = float("-inf")

    def update(self, iteration: int, metrics: Mapping[str, float]) -> None:
        self._pending = (iteration, _format_metrics(metrics))
        if iteration >= self._total or time.monotonic() - self._last_line >= self._interval:
            self._write()

    def end(self) -> None:
        if self._pending is not None:
            self._write()

    def _write(self) -> None:
        assert self._pending is not None
        iteration, metrics = self._pending
        self._pending = None
        self._last_line = time.monotonic()
        elapsed = self._last_line - self._began
        done = max(iteration - self._start, 1)
        parts = [
            f"{self._description}: {iteration}/{self._total}"
            f" ({100 * iteration / max(self._total, 1):.0f} %)",
            metrics,
            f"{format_seconds(elapsed)} elapsed",
        ]
        if iteration < self._total:
            remaining = elapsed / done * (self._total - iteration)
            parts.append(f"about {format_seconds(remaining)} left")
        print(", ".join(part for part in parts if part), file=self._stream, flush=True)


def format_seconds(seconds: float) -> str:
    """Write a duration the way people say it: `42 s`, `3 min 05 s`, `2 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _format_metrics(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {float(value):.4g}" for name, value in metrics.items())


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")
