"""Points that inner loops have visited, kept to be learned from later in any order.

A visit is the fast parameters of one task before one of its steps, and the update rule's state
there: all that is needed to take that step again. Visits are kept as copies in main memory or as
files. What is recorded is said by the caller (`record`, `add`), never guessed from a forward pass.
"""

from __future__ import annotations

import hashlib
import heapq
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeAlias

import torch
from torch import Tensor

from metarl.core.inner_loop import InnerStep
from metarl.core.params import Params
from metarl.errors import renamed

Key: TypeAlias = tuple[int, int]
"""Task and inner step k."""


class Visit(NamedTuple):
    """One point of one task's path.

    Attributes:
        task: The task's number in the meta-batch.
        step: k: the parameters are phi_k.
        fast: phi_k, unstacked, on the buffer's device.
        state: The rule's state before step k, unstacked, likewise.
    """

    task: int
    step: int
    fast: dict[str, Tensor]
    state: dict[str, Tensor]


class ReplayBuffer:
    """Visits by task and step, numerically ordered.

    A full buffer keeps a uniform sample of all visits that it was offered since it was last
    cleared. Which ones does not depend on the order in which they came (each has a random
    priority, a hash of the seed, the task and the step, and the lowest stay), hence not on how
    tasks were divided into chunks.

    Attributes:
        capacity: Most visits that are kept; None keeps all.
        stride: Steps 0, stride, 2 stride, ... of a path are recorded.
        include_final: The last point phi_K is recorded too, whatever the stride.
        folder: This buffer's own folder, or None: in memory.
        device: Where the visits are.
        num_cleared: How often it was cleared: the priorities depend on it.
    """

    thread_safe: ClassVar[bool] = True

    @renamed(inmem="folder=DIR to keep the visits on disk", tmpdir="folder")
    def __init__(
        self,
        *,
        folder: Path | str | None = None,
        capacity: int | None = None,
        stride: int = 1,
        include_final: bool = False,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        """Make an empty buffer.

        Args:
            folder: Keep the visits on disk, in a new folder made inside this one.
            capacity: Most visits that are kept.
            stride: Every how many steps a path is recorded.
            include_final: Record phi_K.
            seed: Seed of the priorities.
            device: Where the visits are kept: where they are made, nothing waits for a copy, and
                they take that memory (2,000 points of a large network are 1 GB).
        """
        for count in (stride, *(() if capacity is None else (capacity,))):
            if not isinstance(count, int) or count < 1:
                raise ValueError(
                    "stride and capacity must be whole numbers of at least 1 (capacity None: all), "
                    f"got {stride}, {capacity}"
                )
        self.capacity, self.stride, self.include_final = capacity, stride, include_final
        self.seed, self.num_cleared = seed, 0
        self.device = torch.device(device)
        self.folder: Path | None = None
        if folder is not None:
            folder = Path(folder)
            folder.mkdir(parents=True, exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(prefix="replay-", dir=folder))
        self._visits: dict[Key, Visit | Path] = {}
        self._heap: list[tuple[int, Key]] = []  # the visit to go first on top
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of visits that are kept."""
        return len(self._visits)

    def __bool__(self) -> bool:
        """A buffer is a buffer, empty or not: ``buffer or other`` never swaps it."""
        return True

    def keys(self) -> list[Key]:
        """The (task, step) of every visit, ordered by task and then by step."""
        return sorted(self._visits)

    def __iter__(self) -> Iterator[Key]:
        """The (task, step) of every visit, in order."""
        return iter(self.keys())

    def __getitem__(self, key: Key) -> Visit:
        """Read one visit back, exactly as it was recorded."""
        visit = self._visits[key]
        if isinstance(visit, Visit):
            return visit._replace(fast=dict(visit.fast), state=dict(visit.state))
        saved = torch.load(visit, map_location=self.device, weights_only=True)
        return Visit(*key, saved["fast"], saved["state"])

    def record(
        self, steps: Iterator[InnerStep[Any]], *, first_task: int = 0
    ) -> Iterator[InnerStep[Any]]:
        """Pass the steps of N tasks on and record what they visit.

        Args:
            steps: Steps of `inner_steps`.
            first_task: The number of the first of the N tasks.

        Yields:
            The steps.
        """
        step = None
        for step in steps:
            if step.index % self.stride == 0:
                self._add_stacked(first_task, step.index, step.fast, step.state)
            yield step
        if step is not None and self.include_final:
            self._add_stacked(first_task, step.index + 1, step.next_fast, step.next_state)

    def add(self, task: int, step: int, fast: Params, state: Params) -> None:
        """Record one visit of one task, unstacked; stride is the caller's affair.

        Raises:
            ValueError: This visit is here already.
        """
        key = (task, step)
        with self._lock:
            if key in self._visits:
                raise ValueError(f"step {step} of task {task} has been recorded; clear() first")
            if self.capacity is not None:
                entry = (-self._priority(key), key)
                if len(self._visits) == self.capacity:
                    if entry < self._heap[0]:
                        return
                    self._drop(heapq.heappop(self._heap)[1])
                heapq.heappush(self._heap, entry)
            visit = Visit(task, step, self._copies(fast), self._copies(state))
            self._visits[key] = visit if self.folder is None else self._write(self.folder, visit)

    def clear(self) -> None:
        """Forget every visit; of the disk, only files that this buffer wrote are deleted."""
        with self._lock:
            for key in list(self._visits):
                self._drop(key)
            self._heap.clear()
            self.num_cleared += 1

    def close(self) -> None:
        """Clear, and remove the buffer's folder unless something else lies in it."""
        self.clear()
        if self.folder is not None and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _add_stacked(self, first_task: int, step: int, fast: Params, state: Params) -> None:
        fast, state = self._here(fast), self._here(state)
        for i in range(len(next(iter(fast.values())))):
            one_fast = {n: p[i] for n, p in fast.items()}
            self.add(first_task + i, step, one_fast, {n: p[i] for n, p in state.items()})

    def _here(self, params: Params) -> Params:
        return {name: p.detach().to(self.device) for name, p in params.items()}

    def _copies(self, params: Params) -> dict[str, Tensor]:
        """Own memory on the device; the graph is left behind before anything is copied."""
        return {n: p.detach().to(self.device, copy=True).contiguous() for n, p in params.items()}

    def _priority(self, key: Key) -> int:
        text = f"{self.seed} {self.num_cleared} {key[0]} {key[1]}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())

    def _drop(self, key: Key) -> None:
        visit = self._visits.pop(key)
        if isinstance(visit, Path):
            visit.unlink(missing_ok=True)

    def _write(self, folder: Path, visit: Visit) -> Path:
        """Write the whole file under another name first, so that no half of one is ever read."""
        path = folder / f"task-{visit.task:06d}-step-{visit.step:06d}.pt"
        temporary = path.with_suffix(".tmp")
        try:
            torch.save({"fast": visit.fast, "state": visit.state}, temporary)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return path
