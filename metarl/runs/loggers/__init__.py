"""Loggers: where the metrics of a run go beside its `metrics.jsonl`.

A run names them in its settings (``--log tensorboard wandb mlflow``); each is a module here, whose
package is imported when it is asked for. `metrics.jsonl` stays the record:

- a logger that begins, or begins again after a resume, is first brought up to it line by line;
- one that fails in the middle (a server is down, a disk full) is left out from there on, which is
  said once; the training goes on, and the next resume makes up for what it missed.

By what a logger finds its run again stands in `loggers.json` beside it: an id, and the last
iteration that was surely written. What the loggers show over is what was counted, environment steps
or tasks.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from metarl.errors import UserError, understood
from metarl.runs.files import read_json, write_json

LoggerName = Literal["tensorboard", "wandb", "mlflow"]

USUAL: tuple[LoggerName, ...] = ("tensorboard",)
"""Loggers of a run that names none, as those before there was the setting."""

NO_SETTINGS = ("anchors", "native_ran", "provenance", "recipe", "resumed", "run_dir", "spaces")
"""Entries of `config.json` that are no hyper-parameters."""

COUNTERS = ("env_steps", "tasks_seen")


class LoggerError(UserError):
    """A logger could not be begun, or failed."""


@dataclass(frozen=True)
class Line:
    """A line of metrics.

    Attributes:
        iteration: Iterations done.
        counter: What is counted: ``env_steps`` or ``tasks_seen``.
        count: How many so far.
        values: Metrics by name, NaN and infinity as they are.
    """

    iteration: int
    counter: str
    count: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Known:
    """Facts that a logger is to log.

    Attributes:
        path: The run directory.
        config: Its `config.json`.
        identity: What it said of itself in an earlier process; empty: it begins.
        done: The last iteration that it has lines of.
        count: What was counted by then.
    """

    path: Path
    config: Mapping[str, Any]
    identity: Mapping[str, str]
    done: int
    count: int

    @property
    def group(self) -> str | None:
        """The folder of several seeds that the run is one of."""
        return self.path.parent.as_posix() if self.path.name.startswith("seed-") else None

    def hyper_parameters(self) -> dict[str, Any]:
        """Settings by their path, such as ``learner.lr``: numbers, words, truths, None."""
        return dict(_leaves({n: v for n, v in self.config.items() if n not in NO_SETTINGS}))


class Logger(Protocol):
    """Logger of one run.

    Attributes:
        identity: What its run is found again by, in another process.
        done: The last iteration that it has lines of.
    """

    identity: Mapping[str, str]
    done: int

    def write(self, line: Line) -> None:
        """Log a line of metrics."""

    def show(self, name: str, file: Path, line: Line) -> None:
        """Log a picture (.png) or a film (.gif)."""

    def flush(self) -> None:
        """Bring what was logged to where it survives this process."""

    def close(self, *, whole: bool) -> None:
        """End; whether the training came to its end."""


class _Kind(NamedTuple):
    """A logger that is not imported yet: its package, its module, and how to get the package."""

    package: str
    module: str
    remedy: str


KINDS: Mapping[str, _Kind] = {
    "tensorboard": _Kind("tensorboard", "tensorboard", "pip install tensorboard"),
    "wandb": _Kind("wandb", "weights_and_biases", "pip install 'metarl-maze[wandb]'"),
    "mlflow": _Kind("mlflow", "ml_flow", "pip install 'metarl-maze[mlflow]'"),
}


def check_loggers(names: Sequence[str]) -> None:
    """Check, before any work starts, that loggers are installed and know where to log to.

    Raises:
        UserError: One is not, or there is none of that name.
    """
    for name in names:
        if name not in KINDS:
            raise UserError(f"--log {name!r} is not one of {', '.join(KINDS)}")
        found = find_spec(KINDS[name].package)
        if found is None or found.origin is None:  # a folder `wandb` of its runs is no package
            raise UserError(
                f"--log {name}: its package is not installed: {KINDS[name].remedy}, or leave "
                f"{name} out of --log"
            )
        with _named(name, "cannot be begun"):
            _module(name).check()


class Loggers:
    """The loggers of one run: begun with the first line, or by `begin`.

    Args:
        path: The run directory.
        rows: The lines of its `metrics.jsonl`.
    """

    def __init__(self, path: Path, rows: Callable[[], list[dict[str, Any]]]) -> None:
        self._path, self._rows = path, rows
        self._file = path / "loggers.json"
        self._open: dict[str, Logger] | None = None
        self._last: tuple[int, float] = (0, 0.0)  # counted, seconds
        self._line = Line(0, COUNTERS[0], 0, {})

    def begin(self, config: Mapping[str, Any]) -> None:
        """Begin, or go on with, every logger that the run names, and bring it up to date.

        Raises:
            LoggerError: One cannot be begun.
        """
        if self._open is not None:
            return
        rows = self._rows()
        if rows:
            self._note(rows[-1], {})
        self._open = {}
        notes = self._notes()
        for name in config.get("log", USUAL):
            with _named(name, "cannot be begun", f"mend that, then --resume {self._path}"):
                identity = dict(notes.get(name, {}))
                done = int(identity.pop("iteration", 0))
                before = [row for row in rows if row["iteration"] <= done]
                count = _counted(before[-1])[1] if before else 0
                known = Known(self._path, config, identity, done, count)
                logger: Logger = _module(name).begun(known)
                self._open[name] = logger
                for line in map(_line, rows):
                    if line.iteration > logger.done:
                        logger.write(line)
        self._keep()

    def write(self, row: Mapping[str, Any], beside: Mapping[str, float]) -> None:
        """Log a line that is in `metrics.jsonl` now.

        Args:
            row: The line.
            beside: Further metrics, which are not in the file.
        """
        self._note(row, beside)
        self._each(lambda logger: logger.write(self._line))

    def show(self, name: str, file: Path) -> None:
        """Log a picture or a film, at the last line."""
        self._each(lambda logger: logger.show(name, file, self._line))

    def flush(self) -> None:
        """Bring what was logged to where it survives this process."""
        if self._open:
            self._each(lambda logger: logger.flush())
            self._keep()

    def close(self, *, whole: bool = True) -> None:
        """End them all; whether the training came to its end. Writing again begins again."""
        self._each(lambda logger: logger.close(whole=whole))
        if self._open:
            self._keep()
        self._open = None

    def go_back(self, iteration: int) -> None:
        """Log again what comes after an iteration."""
        self.close()
        notes = self._notes()
        for note in notes.values():
            note["iteration"] = min(note.get("iteration", 0), iteration)
        if notes:
            write_json(self._file, notes)

    def _each(self, work: Callable[[Logger], None]) -> None:
        for name, logger in list((self._open or {}).items()):
            try:
                with _named(name, "has failed", "the training goes on without it"):
                    work(logger)
            except LoggerError as error:
                self._keep()
                assert self._open is not None
                del self._open[name]
                warnings.warn(
                    f"{self._path}: {error}, metrics.jsonl has every line, and a resume brings it "
                    "up to date",
                    RuntimeWarning,
                    stacklevel=3,
                )

    def _note(self, row: Mapping[str, Any], beside: Mapping[str, float]) -> None:
        line = _line(row)
        count, seconds = self._last
        now = float(row.get("wall_seconds") or 0.0)
        speed = {}
        if now > seconds and line.count > count:
            speed = {"steps_per_second": (line.count - count) / (now - seconds)}
        self._last = (line.count, now)
        values = {**line.values, **beside, **(speed if line.counter == "env_steps" else {})}
        self._line = Line(line.iteration, line.counter, line.count, values)

    def _notes(self) -> dict[str, dict[str, Any]]:
        if not self._file.is_file():
            return {}
        with understood(self._file, "does not say what loggers know", "delete it"):
            return {str(name): dict(note) for name, note in read_json(self._file).items()}

    def _keep(self) -> None:
        now = {n: {**one.identity, "iteration": one.done} for n, one in (self._open or {}).items()}
        notes = self._notes()
        if {**notes, **now} != notes:
            write_json(self._file, {**notes, **now})


def _named(name: str, problem: str, remedy: str = "") -> Any:
    """The border around what others have written: all that it raises is one named error."""
    return understood(f"--log {name}", problem, remedy or f"leave {name} out", LoggerError)


def _module(name: str) -> Any:
    if name not in KINDS:
        raise LoggerError(f"log is {name!r}, which is not one of {', '.join(KINDS)}")
    return import_module(f"metarl.runs.loggers.{KINDS[name].module}")


def _counted(row: Mapping[str, Any]) -> tuple[str, int]:
    counter = next(name for name in COUNTERS if name in row)
    return counter, int(row[counter])


def _line(row: Mapping[str, Any]) -> Line:
    """A row of `metrics.jsonl`, where NaN and infinity are None."""
    counter, count = _counted(row)
    head = ("iteration", "wall_seconds", counter)
    values = {n: math.nan if v is None else float(v) for n, v in row.items() if n not in head}
    return Line(int(row["iteration"]), counter, count, values)


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
