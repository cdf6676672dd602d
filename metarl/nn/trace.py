"""Traces: the activations of a sequence, in memory that every rollout writes again.

A core says what it keeps in a `TraceSpec`; a `Trace` is that for T steps of N networks on B
sequences each, with a slot of named views for every step. Axes: N, T, B, and the width last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

from torch import Tensor


class _NoSlot:
    """Slot without memory: a step allocates its results and is differentiable."""

    def __getattr__(self, name: str) -> None:
        return None


NO_SLOT: Any = _NoSlot()


class _OutputSlot(_NoSlot):
    """Memory for the output alone."""

    def __init__(self, h: Tensor) -> None:
        self.h = h


class Columns(NamedTuple):
    """Columns of a buffer that have a name of their own.

    Attributes:
        buffer: Name of the buffer.
        start: The first column.
        stop: The column after the last.
        blocks: With more than one, the columns are seen as ``[blocks, width]``.
    """

    buffer: str
    start: int
    stop: int
    blocks: int = 1

    def of(self, buffers: Mapping[str, Tensor]) -> Tensor:
        """View of these columns, ``[N, T, B, width]`` or ``[N, T, B, blocks, width]``."""
        columns = buffers[self.buffer][..., self.start : self.stop]
        if self.blocks == 1:
            return columns
        return columns.view(*columns.shape[:-1], self.blocks, -1)  # [N, T, B, blocks, width]


@dataclass(frozen=True)
class Large:
    """A tensor ``[N, B, *shape]`` of a step.

    Attributes:
        shape: Shape in one maze.
        keep: ``"all"``: of every step; ``"sparse"``: only what the last step of each segment
            writes, the rest is written over; ``"one"``: working memory that all steps share.
    """

    shape: tuple[int, ...]
    keep: Literal["all", "sparse", "one"]

    def piece(self, t: int, segment: int) -> int:
        """Number of the piece of memory that step t writes to, in segments of so many steps."""
        if self.keep == "all":
            return t
        is_kept = self.keep == "sparse" and (t + 1) % segment == 0
        return (t + 1) // segment if is_kept else 0


@dataclass(frozen=True)
class TraceSpec:
    """Names and sizes of the tensors that a trace holds.

    Attributes:
        buffers: Name to width.
        views: Name to columns of a buffer.
        large: Name to what is no vector, or is kept only in part.
    """

    buffers: Mapping[str, int]
    views: Mapping[str, Columns] = field(default_factory=dict)
    large: Mapping[str, Large] = field(default_factory=dict)


class Trace:
    """Activations of T steps, in buffers ``[N, T, B, width]`` that every rollout writes again.

    A backward pass goes through the segments, the last one first. The gradients of one segment lie
    in the memory of those of the segment after it, because fresh or distant memory costs more than
    the arithmetic that fills it.

    Attributes:
        start: The first step of all that this covers.
        slots: For each step an object with every buffer and view of the spec, ``[N, B, width]``,
            and everything large, as an attribute.
        segments: The same, ``segment_length(T)`` steps at a time.
        gradients: Gradients of the steps of a segment.
    """

    slots: list[Any]
    segments: list[Trace]
    gradients: Trace
    start: int = 0

    def __init__(
        self, spec: TraceSpec, shape: tuple[int, int, int], segment: int, like: Tensor
    ) -> None:
        """Allocate the buffers: ``shape`` is (N, T, B), ``like`` gives dtype and device."""
        num_tasks, num_steps, batch_size = shape
        buffers = {n: like.new_empty((*shape, size)) for n, size in spec.buffers.items()}
        self._columns = buffers | {n: v.of(buffers) for n, v in spec.views.items()}
        pieces: dict[tuple[str, int], Tensor] = {}
        self.slots = []
        for t in range(num_steps):
            slot = SimpleNamespace(**{name: c[:, t] for name, c in self._columns.items()})
            for name, large in spec.large.items():
                key = name, large.piece(t, segment)
                if key not in pieces:
                    pieces[key] = like.new_empty((num_tasks, batch_size, *large.shape))
                setattr(slot, name, pieces[key])
            self.slots.append(slot)

    def __getitem__(self, name: str) -> Tensor:
        """The buffer or view of that name, of all steps: ``[N, T, B, width]``."""
        return self._columns[name]

    def __contains__(self, name: str) -> bool:
        """Whether there is a buffer or view of that name."""
        return name in self._columns

    def flat(self, name: str) -> Tensor:
        """Buffer or view as ``[N, T * B, width]``, for one product over all steps."""
        return self._columns[name].flatten(1, 2)

    @property
    def stop(self) -> int:
        """The step after the last."""
        return self.start + len(self.slots)

    def usable(self) -> bool:
        """Whether this is the kind of trace that the core would make here and now."""
        return True

    def part(self, start: int, stop: int) -> Trace:
        """Steps ``start`` to ``stop``, sharing the memory."""
        part = copy(self)
        part.start = start
        part._columns = {n: c[:, start:stop] for n, c in self._columns.items()}
        part.slots = self.slots[start:stop]
        return part


def outputs_trace(shape: tuple[int, int, int], hidden_size: int, like: Tensor) -> Trace:
    """A trace of outputs ``"h"`` alone, for a sequence that nothing is propagated back through.

    Args:
        shape: (N, T, B).
        hidden_size: H.
        like: Tensor that gives dtype and device.
    """
    trace = Trace(TraceSpec({"h": hidden_size}), shape, shape[1], like)
    trace.slots = [_OutputSlot(slot.h) for slot in trace.slots]
    return trace


def segment_length(num_steps: int) -> int:
    """The root of T, rounded up: of so many segments, one is worked on and each leaves a mark."""
    return math.isqrt(num_steps - 1) + 1
