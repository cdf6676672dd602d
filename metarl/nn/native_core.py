"""Cores that may have a kernel: what they record is then written, and gone back through, in C++.

A core names its kernel (`NativeCore.native`); `NativeCore.new_trace` then makes a `NativeTrace`,
memory that only the kernel understands, where it would make a `Trace`. Everything else follows from
the trace: a step that is given one of its slots is the kernel's, and so is the way back through it.
Where there is no kernel (no compiler, another device, another precision, switched off), it makes a
`Trace`. A kernel may read linear heads from the outputs too, as two more weights behind the core's
own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, TypeGuard

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

from metarl.core import Params
from metarl.native.call import SUFFIXES, has_address, is_plain, watched
from metarl.native.mode import eagerly, native_mode, stays_eager
from metarl.native.recurrent import Run, SequenceShape
from metarl.native.recurrent_cell import cell as recurrent_cell
from metarl.nn.recurrent import RecurrentCore, State, Weights
from metarl.nn.trace import NO_SLOT, Trace


class NativeSlot:
    """The memory of one step of a `NativeTrace`."""

    def __init__(self, trace: NativeTrace, t: int) -> None:
        """Stand for step t."""
        self._trace, self._t = trace, t

    def step(
        self, weights: tuple[Tensor, ...], x: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One step, as `RecurrentCore.step`."""
        return self._trace.step(self._t, weights, x, state)


class NativeTrace(Trace):
    """Activations of T steps that a kernel has written; ``"h"``, the output, is a view."""

    def __init__(self, run: Run) -> None:
        """Wrap the memory of a run."""
        self.run = run
        self.slots = [NativeSlot(self, t) for t in range(run.shape.num_steps)]
        self.segments = []
        self._weights: tuple[Tensor, ...] = ()
        self._state: tuple[Tensor, ...] = ()

    @classmethod
    def of(
        cls,
        cell: str,
        shape: tuple[int, int, int],
        sizes: tuple[int, int],
        like: Tensor,
        *,
        kept: bool,
        num_readouts: int = 0,
        options: tuple[int, ...] = (),
    ) -> NativeTrace | None:
        """Allocate a trace; None: there is no kernel for tensors like this one.

        Args:
            cell: Name of the kernel.
            shape: (N, T, B).
            sizes: (I, H).
            like: Tensor that gives dtype and device.
            kept: Whether every step's activations are, or only the outputs.
            num_readouts: Numbers that are read from every output.
            options: What the kernel is told besides.
        """
        if like.dtype not in SUFFIXES or not has_address(like):
            kind = f"{type(like).__name__} of {like.dtype} on {like.device}"
            eagerly(f"recurrent kernels are for float32 and float64 on the CPU, not {kind}")
            return None
        runs = min(*shape, *sizes) > 0 and not watched()
        functions = recurrent_cell(cell, like.dtype) if runs else None
        if functions is None:
            return None
        return cls(Run(functions, SequenceShape(*shape, *sizes, num_readouts, kept, options)))

    def __getitem__(self, name: str) -> Tensor:
        """The outputs of all steps, ``[N, T, B, H]``."""
        if name != "h":
            raise KeyError(f"a native trace shows its outputs alone, 'h', not {name!r}")
        return self.run.outputs

    def __contains__(self, name: str) -> bool:
        """Whether the name is that of the outputs."""
        return name == "h"

    def flat(self, name: str) -> Tensor:
        """The outputs as ``[N, T * B, H]``."""
        return self[name].flatten(1, 2)

    @property
    def num_readouts(self) -> int:
        """Numbers that are read from every output, by two more weights behind the core's own."""
        return self.run.shape.num_outputs

    def readouts(self) -> Tensor:
        """Readouts of the outputs, ``[N, T, B, O]``, laid out as ``[N, O, T, B]``."""
        return self.run.readouts.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)

    @property
    def version(self) -> int:
        """A number that changes whenever a sequence begins in this memory."""
        return self.run.version

    def check_version(self, version: int) -> None:
        """Check that the memory still holds the sequence that it held.

        Raises:
            RuntimeError: Another one has been written over it.
        """
        if version != self.version:
            raise RuntimeError(
                "the activations that a gradient goes back through have been modified by an "
                "inplace operation: another sequence was written over them; go back before the "
                "next rollout or loss, or give it a trace of its own"
            )

    def begin(self, weights: tuple[Tensor, ...]) -> None:
        """Begin a rollout with an empty state."""
        self._load(weights)
        self.run.begin(None)

    def usable(self) -> bool:
        """Whether kernels may write here and now."""
        return native_mode() != "off" and is_plain()

    def part(self, start: int, stop: int) -> Trace:
        """Refuse: a native trace has no parts.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a native trace is gone back through as a whole: it has no parts")

    def step(
        self, t: int, weights: tuple[Tensor, ...], x: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Step t of a rollout; vectors are handed out as copies, matrices are written over."""
        if t == 0 or weights is not self._weights:
            self._load(weights)
        if t == 0:
            self._begin(state)
        elif state is not self._state:
            self._go_on_from(t, state)
        self.run.step(t, x)
        # Before the next step another state may be put where these lie.
        self._state = tuple(s.clone() if s.dim() == 3 else s for s in self.states(t))  # [N, B, H]
        return self.run.output(t).clone(), self._state

    def states(self, t: int) -> tuple[Tensor, ...]:
        """The core's state after step t, as the core has it."""
        return self.run.states(t)

    def record(
        self,
        weights: tuple[Tensor, ...],
        inputs: Tensor,
        state: tuple[Tensor, ...] | None,
        starts: Tensor | None,
    ) -> None:
        """Run a whole sequence, as `RecurrentCore.record`."""
        self._load(weights)
        self._begin(state, starts=starts is not None)
        self.run.record(inputs, starts)

    def backward(
        self,
        weights: Sequence[Tensor],
        starts: Tensor | None,
        grad: Tensor,
        *,
        inputs: bool,
        by_readout: bool = False,
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """Back-propagate, as `FusedCore.backward`; of the outputs or of what was read from them."""
        grads, by_inputs, _ = self.run.backward(
            weights, starts, grad, inputs=inputs, by_readout=by_readout
        )
        return tuple(grads), by_inputs

    def _begin(self, state: tuple[Tensor, ...] | None, *, starts: bool = False) -> None:
        self.run.begin(state, starts=starts)

    def _go_on_from(self, t: int, state: tuple[Tensor, ...]) -> None:
        self.run.go_on_from(t, state)

    def _load(self, weights: tuple[Tensor, ...]) -> None:
        if not is_plain(*weights):
            raise TypeError(
                "a trace that native kernels write was handed weights that they cannot read; run "
                "eagerly: metarl.native.using('off'), or METARL_NATIVE=off"
            )
        self.run.load(weights)
        self._weights = weights


class NativeCore(RecurrentCore):
    """A core whose sequences a kernel can run, wherever there is one.

    Attributes:
        native: Name of the core's kernel (`metarl.native.recurrent`), None: it has none. It counts
            for the class that says it, not for those derived from it, whose equations may differ.
        native_trace: What it records in.
    """

    native: ClassVar[str | None] = None
    native_trace: ClassVar[type[NativeTrace]] = NativeTrace

    def takes(self, state: State | None) -> bool:
        """Whether the kernel goes on from a state, by which no gradient is wanted."""
        return self.begins(state) and not any(s.requires_grad for s in state or ())

    def goes_back(self, trace: Trace | None, state: State | None) -> TypeGuard[NativeTrace]:
        """Whether a kernel can go back through a trace that it has written from a state on."""
        return isinstance(trace, NativeTrace) and trace.run.shape.kept and self.takes(state)

    def begins(self, state: State | None) -> bool:
        """Whether the kernel can go on from a state."""
        return True

    @property
    def native_options(self) -> tuple[int, ...]:
        """Options of the kernel beside I and H."""
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
        native = self._native_trace((num_tasks, num_steps, batch_size), inputs, 0, kept=True)
        if native is None or not self.takes(state):
            return self.eager_advanced(weights, inputs, state, starts)
        native.record(weights, inputs, state, starts)
        return tuple(after.clone() for after in native.states(num_steps - 1))

    def eager_advanced(
        self, weights: Weights, inputs: Tensor, state: State, starts: Tensor | None = None
    ) -> State:
        """The state after whole sequences, in operations of torch."""
        return super().advanced(weights, inputs, state, starts)

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
        given, trace = trace, super().record(weights, inputs, state, starts, trace)
        if isinstance(trace, NativeTrace):
            if given is None and not self.begins(state):
                return self.eager_trace(trace.run.shape[:3], inputs)
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
        if isinstance(memory, NativeTrace) and not self.takes(state):
            return self.sequence(params, inputs, state, starts)
        with torch.no_grad():
            self.record(self.fuse(params), inputs, state, starts, memory)
        return self.sequence(params, inputs, state, starts, memory)

    def read(
        self, weights: Weights, inputs: Tensor, starts: Tensor | None, trace: NativeTrace
    ) -> Tensor:
        """Readouts that a kernel took of the outputs of a recorded sequence, differentiable once.

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
        cell, lack = vars(type(self)).get("native"), f"the core {type(self).__name__} has no kernel"
        if stays_eager(lack):
            return None
        if cell is None:
            eagerly(lack)
            return None
        sizes, options = (self.input_size, self.hidden_size), self.native_options
        return self.native_trace.of(
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
        wanted = ctx.needs_input_grad[3]
        grads, grad_inputs = ctx.trace.backward(
            weights, ctx.starts, grad, inputs=wanted, by_readout=ctx.by_readout
        )
        return None, None, None, grad_inputs, *grads
