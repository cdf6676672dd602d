"""Command lines brought to their end elsewhere: in processes here, or by SLURM, through submitit.

A unit of work is a command line of a recipe, such as ``compare ... --only maml/seed-0``: whoever
runs it finds everything else in the folder that it names, and what is done already is not done
again. Before SLURM ends a job at its limit of time, or for another one's sake, the run is saved and
the job put back into the queue, where it goes on.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from metarl.compare.processes import INTERRUPTED, deaf_to_ctrl_c
from metarl.errors import UserError
from metarl.run.command_line import main
from metarl.run.recipe import recipe_in

Executor = Literal["here", "local", "slurm"]

LOGS = ".jobs"
"""Folder of what submitit writes, in that of the work."""

LONG = 60 * 24 * 365
"""Minutes for which a process here may run."""

LARGEST_ARRAY = 1000
"""Jobs of one array, as SLURM usually allows."""

PUT_BACK = 100
"""How often a job that reaches its limit of time goes back into the queue."""

PAUSE = 5.0
"""Seconds between two looks at the jobs of SLURM."""

USER_SIGNALS = [getattr(signal, n) for n in ("SIGUSR1", "SIGUSR2") if hasattr(signal, n)]


@dataclass(frozen=True)
class SlurmSettings:
    """Resources that a job asks of SLURM, one run each."""

    partition: str | None = None
    """Partition. Default: the cluster's."""
    time: str = "1-00:00:00"
    """Limit of time: minutes, HOURS:MINUTES:SECONDS or DAYS-HOURS:MINUTES:SECONDS. A run that is
    not over by then is saved, and goes on in the queue."""
    cpus: int = 1
    """Processors of a job."""
    gpus: int = 0
    """GPUs of a job; without one it computes on processors, whatever is there."""
    memory: float | None = None
    """Gigabytes of a job. Default: the cluster's."""
    array: int = 256
    """Jobs at a time, at most."""
    account: str | None = None
    """Who pays. Default: the cluster's."""
    qos: str | None = None
    """Quality of service. Default: the cluster's."""
    setup: tuple[str, ...] = ()
    """Lines of shell before a job's own, such as 'module load python'."""

    def __post_init__(self) -> None:
        """Check counts and time."""
        for name, least in (("cpus", 1), ("gpus", 0), ("array", 1)):
            if getattr(self, name) < least:
                raise UserError(f"--slurm.{name} must be at least {least}")
        if self.memory is not None and not self.memory > 0:
            raise UserError(f"--slurm.memory must be above 0, got {self.memory}")
        minutes_of(self.time)


def minutes_of(time: str) -> int:
    """Return a limit of time in minutes, rounded up.

    Raises:
        UserError: It is none.
    """
    if re.fullmatch(r"[0-9]+", time) and int(time):
        return int(time)
    found = re.fullmatch(r"(?:([0-9]+)-)?([0-9]+):([0-5]?[0-9])(?::([0-5]?[0-9]))?", time)
    days, hours, minutes, seconds = (
        (int(part or 0) for part in found.groups()) if found else [0] * 4
    )
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if not total:
        raise UserError(f"--slurm.time {time} must be minutes, H:MM:SS or D-HH:MM:SS, above 0")
    return -(-total // 60)


def check_executor(executor: Executor) -> None:
    """Check, before any work, that jobs can be handed over.

    Raises:
        UserError: submitit is not installed, or there is no SLURM here.
    """
    if executor == "here":
        return
    try:
        import submitit  # noqa: F401
    except ModuleNotFoundError:
        raise UserError(
            f"--executor {executor} needs another package: pip install 'metarl-maze[slurm]'"
        ) from None
    if executor == "slurm" and shutil.which("sbatch") is None:
        raise UserError(
            "--executor slurm: there is no sbatch here; give the command on a login node of the "
            "cluster, or take --executor local"
        )


@dataclass(frozen=True)
class Unit:
    """A command line of a recipe, as it goes to another process.

    Attributes:
        module: Where the recipe stands.
        arguments: Command and options.
        name: Name in words.
    """

    module: str
    arguments: tuple[str, ...]
    name: str

    def __call__(self) -> int:
        """Run it; returns its exit status."""
        with _saved_before_it_is_put_back() as put_back:
            try:
                main(recipe_in(self.module), self.arguments)
            except SystemExit as status:
                if status.code == INTERRUPTED:
                    put_back()
                return status.code if isinstance(status.code, int) else 1
        return 0

    def checkpoint(self) -> Any:
        """Return what goes back into the queue: the same, for the run itself is saved."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@contextmanager
def _saved_before_it_is_put_back() -> Iterator[Callable[[], None]]:
    """Ask a training to save when submitit is told that the job will end; then let it put it back.

    Yields what puts the job back, if it was told.
    """
    told: list[int] = []
    of_submitit = {s: handler for s in USER_SIGNALS if callable(handler := signal.getsignal(s))}
    idle = signal.getsignal(signal.SIGTERM)

    def receive(number: int, frame: FrameType | None) -> None:
        told.append(number)
        if signal.getsignal(signal.SIGTERM) is idle:  # no training that could save
            of_submitit[signal.Signals(number)](number, frame)
        else:
            signal.raise_signal(signal.SIGTERM)

    def put_back() -> None:
        for number in told[:1]:
            of_submitit[signal.Signals(number)](number, None)

    for number in of_submitit:
        signal.signal(number, receive)
    try:
        yield put_back
    finally:
        for number, handler in of_submitit.items():
            signal.signal(number, handler)


def launch(
    units: Sequence[Unit], executor: Executor, how: SlurmSettings, folder: Path, at_a_time: int
) -> dict[str, str]:
    """Bring units to their end.

    Args:
        units: The command lines.
        executor: ``local`` or ``slurm``.
        how: What each asks for.
        folder: Where the work is; what the jobs print goes into a folder in it.
        at_a_time: Processes at a time, of ``local``.

    Returns:
        Those that failed, by name, and of what.

    Raises:
        KeyboardInterrupt: Interrupted: local processes have saved, jobs of SLURM go on.
    """
    if not units:
        return {}
    hands = _executor(executor, how, folder / LOGS)
    jobs: list[tuple[Unit, Any]] = []
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if executor == "slurm":
            for part in batched(units, LARGEST_ARRAY):
                with hands.batch():
                    jobs += [(unit, hands.submit(unit)) for unit in part]
            print(f"handed to SLURM: {len(jobs)} jobs, from {jobs[0][1].job_id} on", flush=True)
            while not all(job.done() for _, job in jobs):
                time.sleep(PAUSE)
        else:
            _in_turn(units, hands, jobs, at_a_time)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_stopped(executor, jobs)) from None
    finally:
        signal.signal(signal.SIGTERM, before)
    return {unit.name: why for unit, job in jobs if (why := _failed_of(job)) is not None}


def batched(units: Sequence[Unit], size: int) -> Iterator[Sequence[Unit]]:
    """Yield units in parts of a size, the last one perhaps smaller."""
    for first in range(0, len(units), size):
        yield units[first : first + size]


def _in_turn(
    units: Sequence[Unit], hands: Any, jobs: list[tuple[Unit, Any]], at_a_time: int
) -> None:
    """Run units in processes here, some at a time."""
    for unit in units:
        while sum(not job.done() for _, job in jobs) >= at_a_time:
            time.sleep(0.1)
        print(f"{unit.name} ({len(jobs) + 1} of {len(units)})", flush=True)
        with deaf_to_ctrl_c():
            jobs.append((unit, hands.submit(unit)))
    while not all(job.done() for _, job in jobs):
        time.sleep(0.1)


def _executor(executor: Executor, how: SlurmSettings, logs: Path) -> Any:
    """Return submitit's executor."""
    import submitit

    local = executor == "local"
    hands = submitit.AutoExecutor(
        logs, cluster=executor, **({} if local else {"slurm_max_num_timeout": PUT_BACK})
    )
    more = {
        "slurm_partition": how.partition,
        "slurm_account": how.account,
        "slurm_qos": how.qos,
        "mem_gb": how.memory,
        "slurm_setup": list(how.setup) or None,
    }
    hands.update_parameters(
        name="metarl",
        timeout_min=LONG if local else minutes_of(how.time),
        cpus_per_task=how.cpus,
        gpus_per_node=how.gpus,
        slurm_array_parallelism=how.array,
        **{name: value for name, value in more.items() if value is not None},
    )
    return hands


def _stopped(executor: Executor, jobs: Sequence[tuple[Unit, Any]]) -> str:
    """Stop what runs here, after it has saved; returns what became of the jobs, in words."""
    left = [job for _, job in jobs if not job.done()]
    if executor == "slurm":
        which = ", ".join(str(job.job_id) for job in left)
        return f"{len(left)} jobs go on in SLURM ({which}); scancel ends them"
    for job in left:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(int(job.job_id), signal.SIGTERM)
    while not all(job.done() for job in left):
        time.sleep(0.1)
    return ""


def _failed_of(job: Any) -> str | None:
    """Return what a job failed of, in words; None: of nothing."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    log = f"see {job.paths.stderr}"
    try:
        status = job.result()
    except (FailedJobError, UncompletedJobError):
        return f"its job ended without a result; {log}"
    if status == 0:
        return None
    lines = [line for line in (job.stderr() or "").splitlines() if line.startswith("error: ")]
    words = lines[0].removeprefix("error: ") if lines else f"its job ended with status {status}"
    print(f"error: {words}", file=sys.stderr)
    return words
