"""One run after the other, or a few at a time, brought to its end: trained, then evaluated.

What is whole is left alone, so that the same work goes on after Ctrl-C, kill -9 or a power cut.
Beside what `train` and `evaluate` leave, a run directory has `cost.json`, the CPU time of training,
and `evaluated.json`, which says what its summary is of.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from experiments.maze_adapt.comparison.cpu_clock import CpuClock
from experiments.maze_adapt.comparison.plan import Job
from experiments.maze_adapt.evaluate import evaluate
from experiments.maze_adapt.settings import defaults
from experiments.maze_adapt.train import train
from metarl.devices import small_networks
from metarl.errors import RunDirectoryError, UserError
from metarl.meta import NonFiniteLossError
from metarl.runs.files import read_json, to_json, write_json

MEASURED = ("summary.json", "adaptation.json")
FAILED, INTERRUPTED = 3, 130
"""Exit statuses of a process that brings one run to its end."""

FAILURES = (
    *(UserError, NonFiniteLossError, OSError, MemoryError),
    *(RuntimeError, ValueError, ArithmeticError),  # of torch: no memory, no distribution, singular
)
"""What one run may end in while the others go on."""

Failures = dict[Path, str]
"""What runs have failed of, in words, by their directories."""


def work_off(jobs: Sequence[Job], num_processes: int) -> Failures:
    """Bring all runs to their end.

    Args:
        jobs: The runs.
        num_processes: At a time.

    Returns:
        Those that failed; the others have gone on.

    Raises:
        KeyboardInterrupt: Interrupted, after saving.
    """
    left = [job for job in jobs if not finished(job)]
    if num_processes > 1:
        return _in_processes(left, num_processes)
    failures = {}
    for number, job in enumerate(left, 1):
        print(f"{job.path} ({number} of {len(left)})", flush=True)
        if why := failure(job):
            failures[job.path] = why
    return failures


def failure(job: Job) -> str | None:
    """Bring a run to its end; what it failed of, said on standard error too, None where it has."""
    try:
        bring_to_its_end(job)
    except FAILURES as error:
        if not isinstance(error, UserError | NonFiniteLossError | OSError):
            traceback.print_exception(error)
        why = f"{error}" or type(error).__name__
        print(f"error: {job.path}: {why}", file=sys.stderr)
        return why.strip().splitlines()[0]
    return None


def bring_to_its_end(job: Job) -> None:
    """Train and evaluate a run as far as that has not been done."""
    with CpuClock(job.path / "cost.json"):
        if (job.path / "config.json").exists():
            wanted = replace(defaults(), iterations=job.train.iterations, device=job.train.device)
            train(replace(wanted, resume=job.path), ("--iterations",))
        else:
            train(job.train)
    evaluate(job.evaluate)
    write_json(job.path / "evaluated.json", _record(job))


def finished(job: Job) -> bool:
    """Whether a run was evaluated after its last iteration, in this way, and not again since."""
    path = job.path / "evaluated.json"
    try:
        return path.exists() and read_json(path) == _record(job)
    except RunDirectoryError:  # damaged: evaluated again
        return False


def _record(job: Job) -> dict[str, Any]:
    """What was evaluated, how, and what it gave."""
    how = {n: v for n, v in vars(job.evaluate).items() if n not in ("run", "device", "json")}
    files = [job.path / name for name in MEASURED]
    digests = [hashlib.sha256(f.read_bytes()).hexdigest() if f.exists() else None for f in files]
    record = {"iterations": job.train.iterations, "evaluate": how, "results": digests}
    result: dict[str, Any] = to_json(record, "evaluated")
    return result


class _Running(NamedTuple):
    """A process, the run that it brings to its end, and where it says what it failed of."""

    process: BaseProcess
    job: Job
    words: Connection


def _in_processes(jobs: Sequence[Job], num_processes: int) -> Failures:
    """The same with several at a time; Ctrl-C and a polite kill are passed on to all of them."""
    waiting, running, failures = list(jobs), list[_Running](), Failures()
    with _passed_on(running) as stopped:
        while running or (waiting and not stopped):
            while waiting and not stopped and len(running) < num_processes:
                running.append(_start(waiting.pop(0)))
                if stopped:  # since the last look
                    running[-1].process.terminate()
            wait([one.process.sentinel for one in running])
            for one in [one for one in running if not one.process.is_alive()]:
                running.remove(one)
                if one.process.exitcode not in (0, INTERRUPTED) and not stopped:
                    failures[one.job.path] = _last_words(one)
    if stopped:
        raise KeyboardInterrupt
    return failures


def _start(job: Job) -> _Running:
    context = multiprocessing.get_context("spawn")
    reads, writes = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(job, writes))
    with _deaf_to_ctrl_c():
        process.start()
    writes.close()  # the process has its own
    return _Running(process, job, reads)


def _child(job: Job, words: Connection) -> None:
    """One run in a process of its own; the exit status says how it ended."""
    with small_networks():
        try:
            why = failure(job)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
    if why is not None:
        words.send(why)
        sys.exit(FAILED)


def _last_words(one: _Running) -> str:
    """What a process failed of."""
    status = one.process.exitcode
    if status == FAILED:
        return str(one.words.recv())
    if status is not None and status < 0:
        name = signal.Signals(-status).name
        hint = ", as the system does where memory is short" if name == "SIGKILL" else ""
        return f"its process was killed by {name}{hint}"
    return f"its process ended with status {status}"


@contextmanager
def _passed_on(running: Sequence[_Running]) -> Iterator[list[int]]:
    """A list that holds the signals which asked to stop; each is passed on to what is running."""
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for one in running:
            one.process.terminate()

    before = {s: signal.signal(s, receive) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that start here do not hear Ctrl-C, which a terminal sends to all: they are told.

    Otherwise they would hear of it twice, and the second time do not wait until they have saved.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # whose start would lift what is blocked next
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
