"""How a meta-batch is worked on: all tasks at once, a few at a time, or a few in each thread.

The result does not depend on it, time and memory do. Stacked matrix products win for small
networks; for large convolutions on a CPU one task after the other (a stack of convolutions of
different weights is slower than each alone), in as many threads as there are cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch

from metarl.core.params import Params
from metarl.core.tasks import DivisibleTaskBatch, TaskBatch

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Execution:
    """How many tasks are worked on at a time.

    Attributes:
        chunk_size: Tasks that are stacked into one program; None stacks all. auto: left to the
            script, which may know what suits network and device; where it does not, all.
        num_threads: Chunks that are worked on at the same time, on a CPU. Set one intra-op thread
            then (``torch.set_num_threads(1)``).
        compile: Compile the meta-gradient of a chunk (`core.compilation`): for small networks on
            data sets; minutes at the start, for each size of a chunk and of a batch.
    """

    chunk_size: int | Literal["auto"] | None = None
    num_threads: int = 1
    compile: bool = False

    def __post_init__(self) -> None:
        """Refuse counts that mean nothing."""
        if isinstance(self.chunk_size, int) and self.chunk_size < 1:
            raise ValueError(f"chunk_size must be at least 1 or None, got {self.chunk_size}")
        if self.num_threads < 1:
            raise ValueError(f"num_threads must be at least 1, got {self.num_threads}")

    @property
    def stacked(self) -> int | None:
        """Tasks that are stacked; None: all."""
        return self.chunk_size if isinstance(self.chunk_size, int) else None

    def map(
        self, work: Callable[[Any], ResultT], tasks: TaskBatch[Any]
    ) -> Iterator[tuple[slice, ResultT]]:
        """Do ``work`` on every chunk of the tasks, in order.

        Args:
            work: Takes a task batch; called from several threads where ``num_threads`` says so.
            tasks: N tasks; they must be divisible where N exceeds ``chunk_size``.

        Yields:
            Which tasks, and what came of them.
        """
        parts = list(self._chunks(tasks))
        if self.num_threads == 1 or len(parts) == 1:
            for where, part in parts:
                yield where, work(part)
            return
        with ThreadPoolExecutor(self.num_threads) as pool:
            results = pool.map(in_modes_of_this_thread(work), [part for _, part in parts])
            yield from zip([where for where, _ in parts], results, strict=True)

    def _chunks(self, tasks: TaskBatch[Any]) -> Iterator[tuple[slice, TaskBatch[Any]]]:
        total, size = tasks.num_tasks, self.stacked
        if size is None or size >= total:
            yield slice(0, total), tasks
            return
        if not hasattr(tasks, "select"):
            raise TypeError(
                f"{type(tasks).__name__} has no `select`: its {total} tasks cannot be taken apart "
                f"into chunks of {size}; write it, or take chunk_size=None"
            )
        divisible: DivisibleTaskBatch[Any] = tasks  # type: ignore[assignment]
        for start in range(0, total, size):
            where = slice(start, min(start + size, total))
            yield where, divisible.select(where)


def in_modes_of_this_thread(work: Callable[[Any], ResultT]) -> Callable[[Any], ResultT]:
    """The same work for another thread, in the modes of this one.

    A thread begins with gradients on and without autocast, whatever the modes of the one that
    started it. Modes that all threads share (default type, determinism) need no help.
    """
    devices = [name for name in ("cpu", "cuda") if torch.is_autocast_enabled(name)]
    types = {name: torch.get_autocast_dtype(name) for name in devices}
    cached = torch.is_autocast_cache_enabled()
    grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    def working(part: Any) -> ResultT:
        with ExitStack() as modes:
            modes.enter_context(torch.inference_mode(inference))
            modes.enter_context(torch.set_grad_enabled(grad))
            for name, dtype in types.items():
                modes.enter_context(torch.autocast(name, dtype=dtype, cache_enabled=cached))
            return work(part)

    return working


def add_to_grads(params: Params, grads: Params, scale: float = 1.0) -> None:
    """Add ``scale`` times the gradients to the ``.grad`` of the parameters they name.

    Gradients of names that ``params`` lacks are those of frozen parameters, and are dropped.
    Gradients may be more precise than the parameters.
    """
    with torch.no_grad():
        for name, gradient in grads.items():
            if name not in params:
                continue
            p = params[name]
            if p.grad is None:
                p.grad = (gradient * scale).detach().to(p.dtype)
            else:
                p.grad.add_(gradient, alpha=scale)
