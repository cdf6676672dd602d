"""Execution of a meta-batch: all tasks at once, a few at a time, or a few in each thread.

The result does not depend on it, time and memory do. Stacked matrix products win for small
networks; for large convolutions on a CPU one task after the other (a stack of convolutions of
different weights is slower than each alone), in as many threads as there are cores.

A new thread begins with gradients on and without autocast, whatever the modes of the one that
started it. Modes that are plain values travel. Others are objects with a life of their own (torch
function and dispatch modes, such as a default device; hooks on saved tensors; transforms of
`torch.func`): they are bound to the thread that entered them, and so is the work within them.
What all threads share (default type, determinism, anomaly detection, the choice of kernels) needs
no help.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar

import torch
from torch.autograd.forward_ad import _set_fwd_grad_enabled

from metarl.core.params import Params
from metarl.core.pure import impure
from metarl.core.tasks import TaskBatch, is_divisible
from metarl.errors import check_choices
from metarl.native import Mode, using
from metarl.native.mode import check_num_threads

DEVICES = ("cpu", "cuda", "mps", "xpu")
"""Kinds of devices that have an autocast of their own."""


@dataclass(frozen=True)
class ThreadModes:
    """The modes of one thread that are values.

    Attributes:
        grad: Gradients are recorded.
        forward_grad: Forward-mode derivatives are.
        inference: Inference mode.
        autocast: Casts by kind of device: whether its operations are cast, and to what type.
        autocast_cache: Cast parameters are kept.
    """

    grad: bool
    forward_grad: bool
    inference: bool
    autocast: tuple[tuple[str, bool, torch.dtype], ...]
    autocast_cache: bool

    @classmethod
    def of_this_thread(cls) -> ThreadModes:
        """The modes as they are now."""
        return cls(
            torch.is_grad_enabled(),
            torch._C._is_fwd_grad_enabled(),
            torch.is_inference_mode_enabled(),
            tuple(
                (device, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device))
                for device in DEVICES
                if torch.amp.is_autocast_available(device)
            ),
            torch.is_autocast_cache_enabled(),
        )

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Put this thread in these modes; afterwards in its own again."""
        before = ThreadModes.of_this_thread()
        with ExitStack() as modes:
            modes.enter_context(torch.inference_mode(self.inference))
            modes.enter_context(torch.set_grad_enabled(self.grad))
            modes.enter_context(_set_fwd_grad_enabled(self.forward_grad))
            modes.callback(before._set_autocast)
            self._set_autocast()
            yield

    def _set_autocast(self) -> None:
        # Not torch.autocast, which refuses types and devices that this torch does not have.
        for device, enabled, dtype in self.autocast:
            torch.set_autocast_enabled(device, enabled)
            torch.set_autocast_dtype(device, dtype)
        torch.set_autocast_cache_enabled(self.autocast_cache)


def bound_mode() -> str | None:
    """A mode of this thread that cannot travel, in words; None: there is none."""
    if torch._C._len_torch_function_stack():
        return "a torch function mode, such as a default device"
    if torch._C._len_torch_dispatch_stack():
        return "a torch dispatch mode"
    if not torch._C._is_torch_function_enabled():
        return "torch functions that are disabled"
    hooks = torch._C._autograd
    if hooks._saved_tensors_hooks_get_disabled_error_message() is not None:
        return "hooks on saved tensors that are disabled"
    if hooks._top_saved_tensors_default_hooks(False) is not None:
        return "hooks on saved tensors"
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "a transform of torch.func"
    return None


logger = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Execution:
    """Numbers of tasks that are worked on at a time.

    Attributes:
        chunk_size: Tasks that are stacked into one program; None stacks all. auto: left to the
            script, which may know what suits network and device; where it does not, all.
        num_threads: Chunks that are worked on at the same time, on a CPU, where all that they run
            is known to be pure (`core.pure`); else one after the other. Set one intra-op thread
            then (``torch.set_num_threads(1)``).
        compile: Compile the meta-gradient of a chunk (`core.compilation`): for small networks on
            data sets; minutes at the start, for each size of a chunk and of a batch.
        native: auto: native kernels where there are some (`metarl.native`), unless they are
            switched off further out; off: eager code alone.
    """

    chunk_size: int | Literal["auto"] | None = None
    num_threads: int = 1
    compile: bool = False
    native: Mode = "auto"

    def __post_init__(self) -> None:
        """Check the counts of tasks and threads, and the mode."""
        check_choices(self)
        if isinstance(self.chunk_size, int) and self.chunk_size < 1:
            raise ValueError(f"chunk_size must be at least 1 or None, got {self.chunk_size}")
        check_num_threads(self.num_threads)

    @property
    def stacked(self) -> int | None:
        """Tasks that are stacked; None: all."""
        return self.chunk_size if isinstance(self.chunk_size, int) else None

    def map(
        self, work: Callable[[Any], ResultT], tasks: TaskBatch[Any]
    ) -> Iterator[tuple[slice, ResultT]]:
        """Do ``work`` on every chunk of the tasks, in order.

        Args:
            work: Takes a task batch; called from several threads where ``num_threads`` says so and
                it is known to be pure.
            tasks: N tasks; they must be divisible where N exceeds ``chunk_size``.

        Yields:
            Which tasks, and what came of them.
        """
        waiting = deque(self._chunks(tasks))
        obstacle: str | None = None
        while waiting:
            if self.num_threads > 1 and len(waiting) > 1:
                obstacle = _obstacle(work, tasks)
                if obstacle is None:
                    yield from self._in_threads(work, waiting)
                    return
            where, part = waiting.popleft()
            with using(self.native):  # not around the yield, which others run in
                result = work(part)
            yield where, result
        if obstacle is not None:
            _announce(obstacle)

    def _in_threads(
        self, work: Callable[[Any], ResultT], parts: Iterable[tuple[slice, TaskBatch[Any]]]
    ) -> Iterator[tuple[slice, ResultT]]:
        """Do ``work`` on chunks in threads, each in the modes of this one."""
        modes = ThreadModes.of_this_thread()

        def in_modes(part: TaskBatch[Any]) -> ResultT:
            with modes.entered(), using(self.native):
                return work(part)

        with ThreadPoolExecutor(self.num_threads) as pool:
            futures = [(at, pool.submit(copy_context().run, in_modes, part)) for at, part in parts]
            try:
                for where, future in futures:
                    yield where, future.result()
            finally:  # an error, or an interrupt: what has begun is waited for, the rest is not
                for _, future in futures:
                    future.cancel()

    def _chunks(self, tasks: TaskBatch[Any]) -> Iterator[tuple[slice, TaskBatch[Any]]]:
        total, size = tasks.num_tasks, self.stacked
        if size is None or size >= total:
            yield slice(0, total), tasks
            return
        if not is_divisible(tasks):
            raise TypeError(
                f"{type(tasks).__name__} has no `select`: its {total} tasks cannot be taken apart "
                f"into chunks of {size}; write it, or take chunk_size=None"
            )
        for start in range(0, total, size):
            where = slice(start, min(start + size, total))
            yield where, tasks.select(where)


def _obstacle(*parts: Any) -> str | None:
    """Return in words why work cannot be shared between threads; None: it can."""
    mode = bound_mode()
    if mode is not None:
        return f"{mode} is bound to the thread that entered it"
    culprit = impure(*parts)
    if culprit is None:
        return None
    name = getattr(culprit, "__qualname__", None) or type(culprit).__qualname__
    return (
        f"`{name}` is not known to be a pure function (a module goes in as "
        "metarl.nn.ModuleNetwork(net); what is pure says so: thread_safe = True)"
    )


@cache
def _announce(obstacle: str) -> None:
    """Say once that there is one thread where more were asked for."""
    logger.warning("chunks are worked on one after the other: %s", obstacle)


def add_to_grads(params: Params, grads: Params, scale: float = 1.0) -> None:
    """Add ``scale`` times the gradients to the ``.grad`` of the parameters they name.

    Gradients may be more precise than the parameters.
    """
    with torch.no_grad():
        for name, gradient in grads.items():
            p = params[name]
            if p.grad is None:
                scaled = gradient.clone() if scale == 1.0 else gradient * scale
                p.grad = scaled.detach().to(p.dtype)
            else:
                p.grad.add_(gradient, alpha=scale)
