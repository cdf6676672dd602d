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
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

from experiments.maze_adapt.comparison.cpu_clock import CpuClock
from experiments.maze_adapt.comparison.plan import Job
from experiments.maze_adapt.evaluate import evaluate
from experiments.maze_adapt.settings import defaults
from experiments.maze_adapt.train import train
from metarl.devices import small_networks
from metarl.errors import UserError
from metarl.json_file import read_json, to_json, write_json
from metarl.meta import NonFiniteLossError

MEASURED = ("summary.json", "adaptation.json")
DIVERGED, REFUSED, INTERRUPTED = 3, 2, 130
"""Exit statuses of a process that brings one run to its end."""


def work_off(jobs: Sequence[Job], num_processes: int) -> list[Path]:
    """Bring all runs to their end.

    Args:
        jobs: The runs.
        num_processes: At a time.

    Returns:
        Those whose loss became NaN or infinite; the others have gone on.

    Raises:
        UserError: A run cannot be trained or evaluated.
        KeyboardInterrupt: Interrupted, after saving.
    """
    left = [job for job in jobs if not finished(job)]
    if num_processes > 1:
        return _in_processes(left, num_processes)
    diverged = []
    for number, job in enumerate(left, 1):
        print(f"{job.path} ({number} of {len(left)})", flush=True)
        try:
            bring_to_its_end(job)
        except NonFiniteLossError as error:
            print(f"{job.path}: {error}", file=sys.stderr)
            diverged.append(job.path)
    return diverged


def bring_to_its_end(job: Job) -> None:
    """Train and evaluate a run as far as that has not been done."""
    with CpuClock(job.path / "cost.json"):
        if (job.path / "config.json").exists():
            train(replace(defaults(), resume=job.path, device=job.train.device))
        else:
            train(job.train)
    evaluate(job.evaluate)
    write_json(job.path / "evaluated.json", _record(job))


def finished(job: Job) -> bool:
    """Whether a run was evaluated after its last iteration, in this way, and not again since."""
    path = job.path / "evaluated.json"
    return path.exists() and read_json(path) == _record(job)


def _record(job: Job) -> dict[str, Any]:
    """What was evaluated, how, and what it gave."""
    how = {n: v for n, v in vars(job.evaluate).items() if n not in ("run", "device", "json")}
    files = [job.path / name for name in MEASURED]
    digests = [hashlib.sha256(f.read_bytes()).hexdigest() if f.exists() else None for f in files]
    record = {"iterations": job.train.iterations, "evaluate": how, "results": digests}
    result: dict[str, Any] = to_json(record, "evaluated")
    return result


def _in_processes(jobs: Sequence[Job], num_processes: int) -> list[Path]:
    """The same with several at a time; Ctrl-C reaches all of them, a polite kill is passed on."""
    context = multiprocessing.get_context("spawn")
    running: list[tuple[BaseProcess, Job]] = []
    ended: dict[Path, int | None] = {}

    def pass_on(number: int, frame: FrameType | None) -> None:
        for process, _ in running:
            process.terminate()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, pass_on)
    waiting = list(jobs)
    try:
        while running or waiting:
            stopped = any(status not in (0, DIVERGED) for status in ended.values())
            while waiting and not stopped and len(running) < num_processes:
                job = waiting.pop(0)
                process: BaseProcess = context.Process(target=_child, args=(job,))
                process.start()
                running.append((process, job))
            if not running:
                break
            wait([process.sentinel for process, _ in running])
            over = [one for one in running if not one[0].is_alive()]
            running[:] = [one for one in running if one not in over]
            ended.update({job.path: one.exitcode for one, job in over})
    finally:
        for process, _ in running:
            process.join()
        signal.signal(signal.SIGTERM, before)
    if INTERRUPTED in ended.values():
        raise KeyboardInterrupt
    failed = [str(path) for path, status in ended.items() if status not in (0, DIVERGED)]
    if failed:
        raise UserError(f"stopped at {', '.join(failed)}; its error is above")
    return [path for path, status in ended.items() if status == DIVERGED]


def _child(job: Job) -> None:
    """One run in a process of its own; the exit status says how it ended."""
    try:
        with small_networks():
            bring_to_its_end(job)
    except NonFiniteLossError as error:
        print(f"{job.path}: {error}", file=sys.stderr)
        sys.exit(DIVERGED)
    except (UserError, OSError) as error:
        print(f"error: {job.path}: {error}", file=sys.stderr)
        sys.exit(REFUSED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
