"""Traces that kernels write: the same sequences, in memory that only they understand.

A core that has a kernel says so in one attribute, ``native``; `NativeCore` then asks for a
`NativeTrace` where it would make a `Trace`, and everything else follows from the trace: a step that
is given one of its slots is the kernel's, and so is the way back through it. Where there is no
kernel (no compiler, another device, another precision, switched off), it makes a `Trace`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from metarl.native.mode import eagerly, native_mode
from metarl.native.plain import SUFFIXES, has_address, is_plain, watched
from metarl.native.recurrent import Run, SequenceShape
from metarl.native.recurrent_cell import cell as recurrent_cell
from metarl.nn.trace import Trace


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
        if watched() or min(*shape, *sizes) < 1:
            return None
        functions = recurrent_cell(cell, like.dtype)
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
        """What was read from the outputs, ``[N, T, B, O]``, laid out as ``[N, O, T, B]``."""
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
        """There are no parts.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a native trace is gone back through as a whole: it has no parts")

    def step(
        self, t: int, weights: tuple[Tensor, ...], x: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Step t of a rollout."""
        if t == 0 or weights is not self._weights:
            self._load(weights)
        if t == 0:
            self.run.begin(state)
        elif state is not self._state:
            self.run.go_on_from(t, state)
        self.run.step(t, x)
        self._state = self.run.states(t)
        return self._state[0], self._state

    def record(
        self,
        weights: tuple[Tensor, ...],
        inputs: Tensor,
        state: tuple[Tensor, ...] | None,
        starts: Tensor | None,
    ) -> None:
        """Run a whole sequence, as `RecurrentCore.record`."""
        self._load(weights)
        self.run.begin(state, starts=starts is not None)
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

    def _load(self, weights: tuple[Tensor, ...]) -> None:
        if not is_plain(*weights):
            raise TypeError(
                "a trace that native kernels write was handed weights that they cannot read; run "
                "eagerly: metarl.native.using('off'), or METARL_NATIVE=off"
            )
        self.run.load(weights)
        self._weights = weights
