"""Entry of this process into its job, which `torchrun` has started, and its exit.

`torchrun --nproc-per-node P -m experiments.maze train ...` starts P processes of the same command
(`metarl.invocation`). One process, or nothing said by torchrun: it is alone.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from types import FrameType

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from metarl.core.processes import Processes, current, shared_by
from metarl.errors import DeviceError, ProcessLostError
from metarl.invocation import count_of_launch, rank_of_launch
from metarl.train.distributed.heartbeat import PARTING, Heartbeat, first_words
from metarl.train.distributed.job import Job, told

PATIENCE = timedelta(hours=6)
"""How long a process waits for others that are alive: a share may be a long piece of work."""

MEETING = timedelta(minutes=2)
"""How long processes wait for one another at the start."""

SIGNALLED = 128
"""Exit status of who ends by a signal, less the signal's number."""

_numbers = count()


def check_device(name: str) -> None:
    """Check that each process of this machine has a device of its own.

    Args:
        name: Word of the user: auto, cpu, cuda, ...

    Raises:
        DeviceError: One GPU is named for several processes, the machine has too few, or there are
            no collectives for it.
    """
    if count_of_launch() == 1 or name == "cpu":
        return
    if name.startswith("cuda:"):
        raise DeviceError(
            f"--device {name} is one GPU, and each process of a job needs its own: take --device "
            "cuda (and CUDA_VISIBLE_DEVICES to choose among them)"
        )
    if name not in ("auto", "cuda"):
        raise DeviceError(f"several processes compute on CPUs or CUDA devices, not on {name}")
    number, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if torch.cuda.is_available() and number >= there:
        raise DeviceError(
            f"process {number} of this machine, counted from 0, finds {there} GPUs: start "
            f"{there} processes on it (--nproc-per-node), or take --device cpu"
        )


@contextmanager
def job(device: str) -> Iterator[Processes]:
    """Share meta-batches with the other processes that were started with this one, if any.

    Args:
        device: Word of the user.

    Yields:
        The processes; one alone where there are no others, or where they have been joined already.

    Raises:
        DeviceError: There is no such device, or not one for each process.
        ProcessLostError: Not all processes came.
    """
    if count_of_launch() == 1 or current().count > 1:
        yield current()
        return
    check_device(device)
    backend = "gloo"
    if torch.cuda.is_available() and device != "cpu":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))  # what "cuda" means from here on
        backend = "cpu:gloo,cuda:nccl"
    rank, size = rank_of_launch(), count_of_launch()
    with time_for_last_words():
        store, seen = _stores(rank)
        with Heartbeat(seen, rank, size), _joined(backend, store, rank, size) as processes:
            yield processes


@contextmanager
def _joined(backend: str, store: Store, rank: int, size: int) -> Iterator[Processes]:
    """The processes of the job, as one group of `torch.distributed` that this one is in."""
    with told():
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    if rank:  # what is said once is enough
        logging.getLogger("metarl").setLevel(logging.ERROR)
    try:
        with shared_by(Job()) as processes:
            yield processes
            processes.any(False)  # the first one may hold what the others still look at
    finally:
        dist.destroy_process_group()


@contextmanager
def time_for_last_words() -> Iterator[None]:
    """Let this process say why it ends, where `torchrun` ends it.

    As soon as one process of a job has ended, `torchrun` sends SIGTERM to all others, also to the
    one that is just saying what has happened. It has `PARTING` seconds for that. An error that
    leaves the `with` block takes them along, since it is said further out.
    """
    before = signal.getsignal(signal.SIGTERM)
    here = threading.current_thread() is threading.main_thread()  # the only one that may choose
    if not here or before in (None, signal.SIG_IGN):
        yield
        return
    signal.signal(signal.SIGTERM, _end_soon)
    yield
    signal.signal(signal.SIGTERM, before)


def _end_soon(number: int, frame: FrameType | None) -> None:
    """End in `PARTING` seconds, if nothing else has."""
    last = threading.Timer(PARTING, os._exit, (SIGNALLED + number,))
    last.daemon = True  # who is done does not wait
    last.start()


def _stores(rank: int) -> tuple[Store, Store]:
    """Stores that all processes see, at the address that they were told: two connections to it.

    Raises:
        ProcessLostError: It cannot be reached.
    """
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    # torchrun holds it, on one machine of the job; without torchrun the first process does.
    holds = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    # Every job of these processes has words of its own, also after a restart.
    prefix = f"{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}.{next(_numbers)}"
    try:
        first, second = (
            TCPStore(host, port, is_master=master, timeout=MEETING, wait_for_workers=False)
            for master in (holds, False)
        )
    except (RuntimeError, ValueError) as error:
        raise ProcessLostError(
            f"the processes of this job do not meet at {host}:{port} ({first_words(error)})"
        ) from error
    return PrefixStore(prefix, first), PrefixStore(prefix, second)
