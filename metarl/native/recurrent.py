"""Sequences that recurrent cells in C++ run, and the memory they work in.

A cell reads the weights as its core's ``fuse`` arranges them and returns gradients in the same
layout; what it keeps of a sequence lies in memory that only it understands, but for its states,
which are views. Axes: N agents, T steps, B sequences, I inputs, H hidden units, O readouts.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_int64
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metarl.native.call import address, addresses, all_readable, check_readable, readable
from metarl.native.mode import num_threads
from metarl.native.recurrent_cell import (
    Choice,
    Gradients,
    Memory,
    RecurrentCell,
    Shape,
    Sizes,
    View,
    cell,
)
from metarl.native.world import WorldView

NUM_HEADS = 2
"""Weights of a readout."""

MOST_WEIGHTS = 32
"""Room for what a cell says of its weights."""

SEGMENT_ROWS = 96
"""Rows whose gradients wait, near the processor, to be multiplied with their inputs at once."""


class SequenceShape(NamedTuple):
    """Sizes of the sequences of N agents.

    Attributes:
        num_agents: N.
        num_steps: T.
        batch_size: B.
        num_inputs: I.
        num_hidden: H.
        num_outputs: O, numbers that are read from an output; 0: none.
        kept: Whether the activations of every step are kept, for a way back.
        options: What the cell is told besides, see there.
    """

    num_agents: int
    num_steps: int
    batch_size: int
    num_inputs: int
    num_hidden: int
    num_outputs: int = 0
    kept: bool = True
    options: tuple[int, ...] = ()


class Run:
    """Sequences of N agents in memory that every run writes again.

    Attributes:
        shape: Their sizes.
        dtype: Their precision.
        version: Sequences begun so far.
    """

    def __init__(self, functions: RecurrentCell, shape: SequenceShape) -> None:
        """Allocate the memory."""
        self.shape, self.dtype, self._functions = shape, functions.dtype, functions
        segment = min(shape.num_steps, max(1, SEGMENT_ROWS // max(shape.batch_size, 1)))
        self._shape = Shape(*shape[:6], max(segment, 1), shape.kept, 1, shape.options)
        self._sizes = Sizes()
        functions.sizes(self._shape, self._sizes)
        self._weights, self._trace, self._readout = (
            self._allocated(name) for name in ("weights", "trace", "readout")
        )
        self._parted: Tensor | None = None
        self._work: Tensor | None = None
        self._memory = Memory(
            weights=self._weights.data_ptr(),
            trace=self._trace.data_ptr(),
            readout=self._readout.data_ptr(),
        )
        counts = (c_int64 * MOST_WEIGHTS)()
        self._weight_sizes = list(counts[: functions.weights(self._shape, counts)])
        views = (View * functions.describe(self._shape, self._memory, None))()
        functions.describe(self._shape, self._memory, views)
        self._output, *states = views
        self._caches = [view for view in states if view.number]
        self._views = [view for view in states if not view.number]
        self.version = 0
        self._begun = 0  # the step whose states were put there
        if not shape.kept:
            self._part(0)

    @property
    def outputs(self) -> Tensor:
        """Outputs of all steps, a view ``[N, T, B, H]``."""
        return self._after(self._output, 0, self.shape.num_steps)

    def output(self, t: int) -> Tensor:
        """The output of step t, a view ``[N, B, H]``."""
        return self._after(self._output, t, t + 1).squeeze(1)

    @property
    def readouts(self) -> Tensor:
        """Readouts of the outputs, a view ``[N, T, B, O]``."""
        shape = self.shape
        rows = self._readout.view(shape.num_agents, shape.num_steps, shape.batch_size, -1)
        return rows[..., : shape.num_outputs]

    def states(self, t: int) -> tuple[Tensor, ...]:
        """States after step t, views ``[N, B, ...]``."""
        return tuple(self._after(view, t, t + 1).squeeze(1) for view in self._views)

    def caches(self, t: int) -> tuple[Tensor, ...]:
        """Entries of steps 0 to t in states that grow, views ``[N, B, parts, t + 1, width]``."""
        of = self.shape
        return tuple(
            self._trace.as_strided(
                (of.num_agents, of.batch_size, view.lines, t + 1, view.width),
                (self._sizes.trace, view.row, view.apart, view.step, view.number),
                view.offset,
            )
            for view in self._caches
        )

    def load(self, fused: Sequence[Tensor]) -> None:
        """Read the weights, ``[N, ...]`` each; with a readout, its weight and bias last.

        Raises:
            ValueError: They are those of other sizes.
        """
        fused = list(fused)
        missing = self._weight_sizes[len(fused) :]
        if self.shape.num_outputs and len(missing) == NUM_HEADS:  # nothing is to be read
            fused += [fused[0].new_zeros(self.shape.num_agents, size) for size in missing]
        tensors = all_readable(fused, self._rows(self._weight_sizes), self.dtype, "weights")
        self._functions.load(self._shape, self._memory, addresses(tensors))

    def begin(self, states: Sequence[Tensor] | None, *, starts: bool = False) -> None:
        """Begin a sequence.

        Args:
            states: Before the first step, ``[N, B, ...]``; None: empty ones.
            starts: Whether states will be emptied later on.
        """
        self._written()
        if self.shape.kept and not starts:
            self._parted = self._memory.parted = None
        elif self._parted is None:
            self._part(0)
        self._put(0, states)

    def go_on_from(self, t: int, states: Sequence[Tensor]) -> None:
        """Take these for the states before step t, in place of those that step t - 1 has left."""
        if self._parted is None:
            self._part(t)
        self._put(t, states)

    def choice(self, noise: Tensor) -> Choice:
        """Description of how actions are chosen by the first A readouts.

        Args:
            noise: ``[N, T, B, A]``.

        Raises:
            TypeError: It is of another kind or precision.
            ValueError: It is of other sizes, or there are fewer readouts.
        """
        count = noise.shape[-1]
        if not 0 < count <= self.shape.num_outputs:
            raise ValueError(f"{self.shape.num_outputs} readouts are none for {count} actions")
        return Choice(readable(noise, (*self.shape[:3], count), self.dtype))

    def step(self, t: int, x: Tensor, choice: Choice | None = None) -> None:
        """Go one step on inputs ``[N, B, I]``, after step t - 1, or from states put before it.

        Args:
            t: The step.
            x: The inputs.
            choice: What chooses actions by what is read from the outputs.

        Raises:
            TypeError: The inputs are of another kind or precision.
            ValueError: They are of other sizes.
        """
        shape = self.shape
        x = readable(x, (shape.num_agents, shape.batch_size, shape.num_inputs), self.dtype)
        chosen = None if choice is None else choice.pointers
        self._functions.step(self._shape, self._memory, t, x.data_ptr(), self._begun != t, chosen)

    def play(self, t: int, count: int, world: WorldView, choice: Choice) -> None:
        """Go steps t to t + count in environments that have handed over their tables.

        Raises:
            ValueError: Memory takes other inputs, there is no room for so many steps, the tables
                are of other actions than are chosen from, or tell of cells that are not there.
        """
        if world.num_inputs != self.shape.num_inputs or t + count > self.shape.num_steps:
            raise ValueError(
                f"{count} steps from step {t} on with inputs {world.num_inputs} wide do not go "
                f"into {self.shape.num_steps} steps of inputs {self.shape.num_inputs} wide"
            )
        if choice.pointers.count != world.pointers.actions:
            raise ValueError(
                f"a policy of {choice.pointers.count} actions does not play by tables of "
                f"{world.pointers.actions}"
            )
        self._shape.threads = world.num_threads
        self._functions.play(
            self._shape, self._memory, t, count, self._begun != t, world.pointers, choice.pointers
        )
        world.check_cells()

    def record(self, inputs: Tensor, starts: Tensor | None) -> None:
        """Go all steps on inputs ``[N, T, B, I]``; `begin` comes before.

        Raises:
            TypeError: Inputs or starts are of another kind or precision.
            ValueError: They are of other sizes.
        """
        inputs = readable(inputs, (*self.shape[:3], self.shape.num_inputs), self.dtype)
        starts = self._starts(starts)
        self._shape.threads = num_threads()
        self._functions.record(self._shape, self._memory, inputs.data_ptr(), address(starts))

    def backward(
        self,
        fused: Sequence[Tensor],
        starts: Tensor | None,
        grad: Tensor,
        *,
        by_readout: bool = False,
        inputs: bool = False,
        states: bool = False,
    ) -> tuple[list[Tensor], Tensor | None, list[Tensor]]:
        """Back-propagate through the sequence.

        Args:
            fused: The weights that `load` read.
            starts: bool ``[N, T, B]``: where states were emptied; None: nowhere.
            grad: Gradient by the outputs ``[N, T, B, H]``, or by the readouts ``[N, T, B, O]``.
            by_readout: Which of the two.
            inputs: Whether the gradient by the inputs is wanted.
            states: Whether that by the states before the first step is.

        Returns:
            The gradients by the weights, by the inputs ``[N, T, B, I]`` or None, and by the states,
            ``[N, B, ...]`` each, or none.

        Raises:
            RuntimeError: The outputs alone have been kept.
            TypeError: Something is of another kind or precision.
            ValueError: It is of other sizes.
        """
        shape = self.shape
        grad = self._gradient(grad, by_readout)
        self._make_room_to_go_back()
        cut = NUM_HEADS if shape.num_outputs and not by_readout else 0
        counts = self._weight_sizes[: len(self._weight_sizes) - cut]
        fused = all_readable(fused, self._rows(counts), self.dtype, "weights")
        starts = self._starts(starts)
        by_weights = [torch.zeros_like(weight) for weight in fused]
        by_inputs = grad.new_empty(*shape[:3], shape.num_inputs) if inputs else None
        by_states = [
            grad.new_empty(shape.num_agents, shape.batch_size, *view.shape)
            for view in (self._views if states else ())
        ]
        weights, results, before = (addresses(part) for part in (fused, by_weights, by_states))
        gradients = Gradients(
            fused=ctypes.addressof(weights),
            starts=address(starts),
            by_output=None if by_readout else grad.data_ptr(),
            agent=grad.stride(0),
            step=grad.stride(1),
            row=grad.stride(2),
            by_readout=grad.data_ptr() if by_readout else None,
            weights=ctypes.addressof(results),
            by_inputs=address(by_inputs),
            by_states=ctypes.addressof(before) if states else None,
        )
        self._functions.backward(self._shape, self._memory, gradients)
        return by_weights, by_inputs, by_states

    def _make_room_to_go_back(self) -> None:
        """Allocate what threads need for it, if that is not done."""
        if not self.shape.kept:
            raise RuntimeError(
                "nothing goes back through a trace of outputs alone: record the sequence in one of "
                "`new_trace`, which keeps the activations of every step"
            )
        threads = self._shape.threads = min(num_threads(), self.shape.num_agents)
        if self._work is None or self._work.numel() < threads * self._sizes.work:
            self._work = self._allocated("work", agents=threads)
            self._memory.work = self._work.data_ptr()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy has memory of its own, with the same numbers in it."""
        tensors = self._weights, self._trace, self._readout, self._parted
        return _restored, (self._functions.name, self.dtype, self.shape, tensors, self._begun)

    # Memory ----------------------------------------------------------------------------------

    def _allocated(self, name: str, agents: int | None = None) -> Tensor:
        """Zeros of a size per agent; never of those that do not count who writes into them."""
        count = self.shape.num_agents if agents is None else agents
        with torch.inference_mode(False):
            return torch.zeros(count * getattr(self._sizes, name), dtype=self._functions.dtype)

    def _written(self) -> None:
        """Tell autograd, so that it refuses to go back through what has been written over."""
        self.version += 1
        for tensor in (self._trace, self._readout, self._parted):
            if tensor is not None:
                torch.autograd.graph.increment_version(tensor)

    def _starts(self, starts: Tensor | None) -> Tensor | None:
        """Flags where states are emptied, ``[N, T, B]`` in one piece; None: nowhere."""
        return None if starts is None else readable(starts, self.shape[:3], torch.bool)

    def _rows(self, counts: Sequence[int]) -> list[tuple[int, int]]:
        """N rows of so many numbers for each of several tensors."""
        return [(self.shape.num_agents, count) for count in counts]

    def _gradient(self, grad: Tensor, by_readout: bool) -> Tensor:
        """A gradient by outputs, whose rows are in one piece each, or by readouts, all in one."""
        width = self.shape.num_outputs if by_readout else self.shape.num_hidden
        grad = grad.clone() if grad._is_zerotensor() else grad  # zeros, written down
        check_readable(grad, (*self.shape[:3], width), self.dtype)
        return grad.contiguous() if by_readout or grad.stride(-1) != 1 else grad

    def _put(self, t: int, states: Sequence[Tensor] | None) -> None:
        pointers = None
        if states is not None:
            counts = [self.shape.batch_size * view.size for view in self._views]
            tensors = all_readable(states, self._rows(counts), self.dtype, "states")
            pointers = addresses(tensors)
        self._functions.put_states(self._shape, self._memory, t, pointers)
        self._begun = t

    def _part(self, done: int) -> None:
        """Give outputs memory of their own; those of the first steps are there already."""
        joint = [view for view in self._views if view.joint]
        before = [self._after(view, 0, done) for view in joint] if done else []
        self._parted = self._allocated("parted")
        self._memory.parted = self._parted.data_ptr()
        for view, values in zip(joint, before, strict=bool(before)):
            self._after(view, 0, done).copy_(values)

    def _after(self, view: View, start: int, stop: int) -> Tensor:
        """The outputs or a state after steps ``start`` to ``stop``, ``[N, T, B, ...]``."""
        shape = self.shape
        size = shape.num_agents, stop - start, shape.batch_size, *view.shape
        if self._parted is None or not view.joint:
            inner = (view.apart, 1) if view.apart else (1,)
            strides = self._sizes.trace, view.step, view.row, *inner
            pieces = -(-(start + 1) // view.every)
            return self._trace.as_strided(size, strides, view.offset + pieces * view.step)
        row = self._sizes.parted // (shape.num_steps * shape.batch_size)
        strides = self._sizes.parted, shape.batch_size * row, row, 1
        first = next(v.offset for v in self._views if v.joint)
        offset = view.offset - first + start * shape.batch_size * row
        return self._parted.as_strided(size, strides, offset)


def _restored(
    name: str,
    dtype: torch.dtype,
    shape: SequenceShape,
    tensors: tuple[Tensor, Tensor, Tensor, Tensor | None],
    begun: int,
) -> Run:
    """A run with these numbers in its memory."""
    functions = cell(name, dtype)
    if functions is None:
        raise RuntimeError(f"what the kernel of {name} has written can be read by it alone")
    run = Run(functions, shape)
    weights, trace, readout, parted = tensors
    if parted is not None and run._parted is None:
        run._part(0)
    for own, other in (
        (run._weights, weights),
        (run._trace, trace),
        (run._readout, readout),
        (run._parted, parted),
    ):
        if own is not None and other is not None:
            own.copy_(other)
    run._begun = begun
    return run
