"""Cores that may have a kernel: what they record is then written, and gone back through, in C++.

A core names its kernel (`NativeCore.native`); `NativeCore.new_trace` then makes a trace that the
kernel writes, and what is done with this trace is done by the kernel. A kernel may read linear
heads from the outputs too, as two more weights behind the core's own.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

from metarl.core import Params
from metarl.native.mode import eagerly
from metarl.nn.native_trace import NativeSlot, NativeTrace
from metarl.nn.recurrent import RecurrentCore, State, Weights
from metarl.nn.trace import NO_SLOT, Trace


class NativeCore(RecurrentCore):
    """A core whose sequences a kernel can run, wherever there is one.

    Attributes:
        native: Name of the core's kernel (`metarl.native.recurrent`), None: it has none. It counts
            for the class that says it, not for those derived from it, whose equations may differ.
    """

    native: ClassVar[str | None] = None

    @property
    def native_options(self) -> tuple[int, ...]:
        """What the kernel is told beside I and H."""
        return ()

    @abstractmethod
    def eager_step(
        self, weights: Weights, x: Tensor, state: State, slot: Any = NO_SLOT
    ) -> tuple[Tensor, State]:
        """The equations of `step`, in operations of torch."""

    def step(
        self, weights: Weights, x: Tensor, state: State, slot: Any = NO_SLOT
    ) -> tuple[Tensor, State]:
        """One step: the kernel's where it is given a slot of the kernel's trace."""
        if isinstance(slot, NativeSlot):
            return slot.step(weights, x, state)
        return self.eager_step(weights, x, state, slot)

    @torch.no_grad()
    def advanced(
        self, weights: Weights, inputs: Tensor, state: State, starts: Tensor | None = None
    ) -> State:
        """The state after whole sequences: the kernel's, where there is one."""
        num_tasks, num_steps, batch_size = inputs.shape[:3]
        shape = num_tasks, num_steps, batch_size
        native = self._native_trace(shape, inputs, 0, kept=True)
        if native is None:
            return super().advanced(weights, inputs, state, starts)
        native.record(weights, inputs, state, starts)
        return tuple(after.clone() for after in native.run.states(num_steps - 1))

    def new_trace(self, shape: tuple[int, int, int], like: Tensor, num_readouts: int = 0) -> Trace:
        """Allocate a trace for (N, T, B).

        Args:
            shape: (N, T, B).
            like: Tensor that gives dtype and device.
            num_readouts: Numbers that a kernel is to read from every output, see `read`.
        """
        native = self._native_trace(shape, like, num_readouts, kept=True)
        return native or self.eager_trace(shape, like)

    def new_outputs(
        self, shape: tuple[int, int, int], like: Tensor, num_readouts: int = 0
    ) -> Trace:
        """Allocate a trace of the outputs alone, see `new_trace`."""
        native = self._native_trace(shape, like, num_readouts, kept=False)
        return native or self.eager_outputs(shape, like)

    def eager_trace(self, shape: tuple[int, int, int], like: Tensor) -> Trace:
        """The trace that `eager_step` writes."""
        return super().new_trace(shape, like)

    def eager_outputs(self, shape: tuple[int, int, int], like: Tensor) -> Trace:
        """The trace that it writes where nothing is propagated back."""
        return self.eager_trace(shape, like)

    @torch.no_grad()
    def record(
        self,
        weights: Weights,
        inputs: Tensor,
        state: State | None = None,
        starts: Tensor | None = None,
        trace: Trace | None = None,
    ) -> Trace:
        """The trace of whole sequences, written where it is a kernel's."""
        trace = super().record(weights, inputs, state, starts, trace)
        if isinstance(trace, NativeTrace):
            trace.record(weights, inputs, state, starts)
        return trace

    def once(
        self,
        params: Params,
        inputs: Tensor,
        state: State | None,
        starts: Tensor | None,
        memory: Trace,
    ) -> Tensor:
        """Record the sequence in the memory, and go back with it."""
        with torch.no_grad():
            self.record(self.fuse(params), inputs, state, starts, memory)
        return self.sequence(params, inputs, state, starts, memory)

    def read(
        self, weights: Weights, inputs: Tensor, starts: Tensor | None, trace: NativeTrace
    ) -> Tensor:
        """What a kernel has read from the outputs of a recorded sequence, differentiable once.

        Args:
            weights: Weights that `fuse` returned, then weight ``[N, H, O]`` and bias ``[N, O]``.
            inputs: ``[N, T, B, I]``.
            starts: Where the state was emptied.
            trace: The recorded sequence, of O readouts.

        Returns:
            ``W h + b``, ``[N, T, B, O]``, laid out as ``[N, O, T, B]``.
        """
        return _recorded(trace, starts, True, inputs, weights)

    def recorded(
        self, weights: Weights, inputs: Tensor, starts: Tensor | None, trace: NativeTrace
    ) -> Tensor:
        """The outputs that a kernel has recorded, ``[N, T, B, H]``, differentiable once."""
        return _recorded(trace, starts, False, inputs, weights)

    def _native_trace(
        self, shape: tuple[int, int, int], like: Tensor, num_readouts: int, *, kept: bool
    ) -> NativeTrace | None:
        """A trace for the kernel of this very class, where it has one that runs here."""
        cell = vars(type(self)).get("native")
        if cell is None:
            eagerly(f"the core {type(self).__name__} has no kernel")
            return None
        sizes, options = (self.input_size, self.hidden_size), self.native_options
        return NativeTrace.of(
            cell, shape, sizes, like, kept=kept, num_readouts=num_readouts, options=options
        )


def _recorded(
    trace: NativeTrace, starts: Tensor | None, by_readout: bool, inputs: Tensor, weights: Weights
) -> Tensor:
    output: Tensor = _Recorded.apply(trace, starts, by_readout, inputs, *weights)  # type: ignore[no-untyped-call]
    return output


class _Recorded(Function):
    """The outputs of a recorded sequence, or what was read from them, with a kernel's way back."""

    @staticmethod
    def forward(
        ctx: Any,
        trace: NativeTrace,
        starts: Tensor | None,
        by_readout: bool,
        inputs: Tensor,
        *weights: Tensor,
    ) -> Tensor:
        ctx.trace, ctx.starts, ctx.by_readout = trace, starts, by_readout
        ctx.version = trace.version
        output = trace.readouts() if by_readout else trace["h"].detach()
        # Kept too, since the way back reads it: autograd sees whether it was written to.
        ctx.save_for_backward(output, *weights)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        ctx.trace.check_version(ctx.version)
        _, *weights = ctx.saved_tensors
        grads, grad_inputs = ctx.trace.backward(
            weights,
            ctx.starts,
            grad,
            inputs=ctx.needs_input_grad[3],
            by_readout=ctx.by_readout,
        )
        return None, None, None, grad_inputs, *grads
