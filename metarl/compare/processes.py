"""Runs brought to their end: one after the other, or several at a time in processes.

Signals reach all processes.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import NamedTuple

from metarl.compare.work import Failures, Job, failure, finished
from metarl.devices import small_networks

FAILED, INTERRUPTED = 3, 130
"""Exit statuses of a process that brings one run to its end."""


class _Running(NamedTuple):
    """A process, the run that it brings to its end, and where it says what it failed of."""

    process: BaseProcess
    job: Job
    words: Connection


def work_off(jobs: Sequence[Job], num_processes: int = 1) -> Failures:
    """Bring all runs to their end; those that another process works on are left to it.

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
        return in_processes(left, num_processes)
    failures = {}
    for number, job in enumerate(left, 1):
        print(f"{job.path} ({number} of {len(left)})", flush=True)
        if why := failure(job):
            failures[job.path] = why
    return failures


def in_processes(jobs: Sequence[Job], num_processes: int) -> Failures:
    """Bring runs to their end, several at a time, as `work_off` does.

    Ctrl-C and a polite kill are passed on to all of them.

    Args:
        jobs: The runs.
        num_processes: At a time.

    Raises:
        KeyboardInterrupt: Interrupted, after saving.
    """
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
    with deaf_to_ctrl_c():
        process.start()
    writes.close()  # the process has its own
    return _Running(process, job, reads)


def _child(job: Job, words: Connection) -> None:
    """Bring one run to its end, in a process of its own; the exit status says how it ended."""
    with small_networks():
        try:
            why = failure(job)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
    if why is not None:
        words.send(why)
        sys.exit(FAILED)


def _last_words(one: _Running) -> str:
    """Return what a process failed of, in words."""
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
def deaf_to_ctrl_c() -> Iterator[None]:
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
