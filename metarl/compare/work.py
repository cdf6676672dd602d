"""A run is the unit of work: trained, then evaluated, as far as that has not been done.

What is whole is left alone, so that the same work goes on after Ctrl-C, kill -9 or a power cut. A
run is locked while somebody works on it, so that several processes may share the work. Beside what
training and evaluation leave, its directory has `cost.json`, the CPU time of training, and
`evaluated.json`, which says what its results are of.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from metarl.errors import LockedError, RunDirectoryError, UserError, understood
from metarl.meta import NonFiniteLossError
from metarl.run import Recipe, train
from metarl.runs.claims import Claim
from metarl.runs.directory import RunDirectory
from metarl.runs.files import read_json, to_json, write_json
from metarl.runs.resume import check_total


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


FAILURES = (
    *(UserError, NonFiniteLossError, OSError, MemoryError),
    *(RuntimeError, ValueError, ArithmeticError),  # of torch: no memory, no distribution, singular
)
"""Errors that one run may end in while the others go on."""

Failures = dict[Path, str]
"""Reasons that runs have failed for, in words, by their directories."""

PLACES = (
    *("run_dir", "resume", "seeds", "device", "data", "json", "run", "native"),
    *("log", "film_every", "config"),
)
"""Settings of training and evaluation that make no difference to what is learned or found."""


def _as_they_are(settings: Any) -> Any:
    return settings


def _never(job: Job) -> bool:
    return False


@dataclass(frozen=True)
class Script:
    """A script as its runs need it: functions of a module, so that any process finds them.

    Attributes:
        train: Trains a new run, given its settings, which have ``run_dir``.
        resume: Goes on with a run to ``iterations``, given its directory and settings.
        evaluate: Evaluates a run, given the settings of evaluation, which have ``run``.
        settings_of: Settings that a run's `config.json` keeps.
        results: Files that an evaluation leaves.
        beside_test: End of their names where they are of validation tasks.
        plain: Settings of training without what makes no difference.
        known: Whether a run was evaluated like this by a version that left no `evaluated.json`.
    """

    train: Callable[[Any], object]
    resume: Callable[[Path, Any], object]
    evaluate: Callable[[Any], object]
    settings_of: Callable[[Mapping[str, Any]], Any]
    results: tuple[str, ...] = ("summary.json",)
    beside_test: str = ""
    plain: Callable[[Any], Any] = _as_they_are
    known: Callable[[Job], bool] = _never


def script_of(recipe: Recipe[Any], evaluate: Callable[..., object], **more: Any) -> Script:
    """Return a recipe as its runs need it.

    Args:
        recipe: Trains, and reads the settings of its runs.
        evaluate: Evaluates a run, given settings of evaluation and ``read``, which restores those
            of training.
        more: Further fields.
    """
    read = recipe.settings_of
    return Script(
        partial(train, recipe), partial(go_on, recipe), partial(evaluate, read=read), read, **more
    )


def go_on(recipe: Recipe[Any], path: Path, wanted: Any) -> None:
    """Go on with a run, or with the seeds in a folder, to the iterations that are wanted."""
    changes = {n: getattr(wanted, n) for n in ("iterations", "device", *recipe.may_move)}
    train(recipe, replace(recipe.defaults(), resume=path, **changes), ("--iterations",))


@dataclass(frozen=True)
class Job:
    """One run, to be trained and evaluated.

    Attributes:
        path: Run directory.
        train: Settings of training; among them ``method``, ``seeds`` and ``iterations``.
        evaluate: Settings of its evaluation.
        script: Who does it.
    """

    path: Path
    train: Any
    evaluate: Any
    script: Script


def name_of(job: Job, folder: Path) -> str:
    """Return what a run is called in a folder of runs, such as ``maml/seed-0``."""
    return job.path.relative_to(folder).as_posix()


def chosen(planned: Sequence[Job], folder: Path, only: Sequence[str]) -> list[Job]:
    """Return the runs that are to be done: all, or those of ``--only``.

    Raises:
        UserError: One of these is not planned.
    """
    names = {name_of(job, folder): job for job in planned}
    for name in only:
        if name not in names:
            raise UserError(f"--only {name} is not one of the runs: {', '.join(names)}")
    return [names[name] for name in only] if only else list(planned)


def check_same(job: Job) -> None:
    """Check that a run which is there can become the one that is wanted.

    Raises:
        UserError: The run has other settings, or more iterations.
    """
    if not (job.path / "config.json").exists():
        return
    run = RunDirectory.open(job.path)
    there, wanted = (job.script.plain(s) for s in (job.script.settings_of(run.config), job.train))
    found = differences(there, wanted, (*PLACES, "iterations"))
    if found:
        raise UserError(
            f"{job.path} was trained with another {', '.join(found)} "
            f"({in_words(found, 'there', 'now')}); name another --run-dir"
        )
    if wanted.iterations < there.iterations:
        check_total(run, wanted.iterations)


def failure(job: Job) -> str | None:
    """Bring a run to its end; None, or what it failed of, which is said on standard error too."""
    try:
        bring_to_its_end(job)
    except LockedError as error:
        print(f"left alone: {error}", flush=True)
    except FAILURES as error:
        if not isinstance(error, UserError | NonFiniteLossError | OSError):
            traceback.print_exception(error)
        why = f"{error}" or type(error).__name__
        print(f"error: {job.path}: {why}", file=sys.stderr)
        return why.strip().splitlines()[0]
    return None


def bring_to_its_end(job: Job) -> None:
    """Train and evaluate a run as far as that has not been done.

    Raises:
        LockedError: Another process does.
    """
    job.path.mkdir(parents=True, exist_ok=True)
    with Claim(job.path):
        if finished(job):  # by another process meanwhile
            return
        with CpuClock(job.path / "cost.json"):
            if (job.path / "config.json").exists():
                job.script.resume(job.path, job.train)
            else:
                job.script.train(job.train)
        job.script.evaluate(job.evaluate)
        write_json(job.path / "evaluated.json", _record(job))


def finished(job: Job) -> bool:
    """Whether a run was evaluated after its last iteration, in this way, and not again since."""
    path = job.path / "evaluated.json"
    if not path.exists():
        return job.script.known(job)
    try:
        record = read_json(path)
        how = record.get("evaluate", {})
        if isinstance(how, dict) and "side" in how:  # the former name of the split
            how["split"] = how.pop("side")
        return record == _record(job)
    except RunDirectoryError:  # damaged: evaluated again
        return False


def _record(job: Job) -> dict[str, Any]:
    """Record of what was evaluated, how, and with what result."""
    how = {n: v for n, v in vars(job.evaluate).items() if n not in PLACES}
    digests = _digests(job.path, job.script, how)
    record = {"iterations": job.train.iterations, "evaluate": how, "results": digests}
    result: dict[str, Any] = to_json(record, "evaluated")
    return result


def _digests(path: Path, script: Script, how: Mapping[str, Any]) -> list[str | None]:
    """Digests of the files that an evaluation has left in a run; None of one that is missing."""
    beside = script.beside_test if how.get("split") == "validation" else ""
    names = [Path(name) for name in script.results]
    files = [path / f"{name.stem}{beside}{name.suffix}" for name in names]
    return [hashlib.sha256(f.read_bytes()).hexdigest() if f.exists() else None for f in files]


def evaluated_by(path: Path, script: Script) -> dict[str, Any]:
    """Settings that a run was evaluated by; empty where that is not known, or it was again since.

    Args:
        path: Run directory.
        script: Of the run.
    """
    file = path / "evaluated.json"
    try:
        record = read_json(file) if file.exists() else {}
    except RunDirectoryError:  # damaged
        return {}
    how = record.get("evaluate")
    if not isinstance(how, dict):
        return {}
    known = {("split" if name == "side" else name): value for name, value in how.items()}
    return known if record.get("results") == _digests(path, script, known) else {}


# Differences of settings --------------------------------------------------------------------------


def differences(one: Any, other: Any, without: Collection[str] = ()) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ, by their paths, such as ``learner.lr``.

    Args:
        one: A dataclass or a mapping, with others in it.
        other: Another one; what one of the two does not have is None there.
        without: Names of settings at the top that make no difference.
    """
    values = [dict(_leaves(to_json(_named(each), "settings"), without)) for each in (one, other)]
    names = dict.fromkeys([*values[0], *values[1]])
    pairs = {name: (values[0].get(name), values[1].get(name)) for name in names}
    return {name: (a, b) for name, (a, b) in pairs.items() if a != b}


def in_words(found: Mapping[str, tuple[Any, Any]], here: str, there: str) -> str:
    """Return differences in words, where one and the other have their names."""
    return "; ".join(f"{n} is {a!r} {here}, {b!r} {there}" for n, (a, b) in found.items())


def _named(settings: Any) -> Mapping[str, Any]:
    return settings if isinstance(settings, Mapping) else vars(settings)


def _leaves(
    values: Mapping[str, Any], without: Collection[str] = (), prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if name in without:
            continue
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
