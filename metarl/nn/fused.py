"""Back-propagation through time by hand, for cores whose every step is a few small products.

A rollout calls `RecurrentCore.step` without a graph and lets it write its activations into the
slots of a `Trace`; the gradient then walks the trace backwards (`FusedCore.backward`), some sqrt(T)
steps at a time, and forms each weight gradient as one product over the steps of such a segment,
instead of having autograd keep and replay tens of thousands of small operations. Given no slot, the
same step is differentiated by autograd; tests hold the two together in float64.

A core may have a kernel that does the same in C++ (`nn.native_core`).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metarl.core import Params, along
from metarl.nn.native_core import NativeCore, NativeTrace
from metarl.nn.recurrent import State, Weights, emptied
from metarl.nn.trace import Trace, TraceSpec, outputs_trace, segment_length


@dataclass(frozen=True)
class Past:
    """Memory found by the steps of a recorded sequence, for the way back.

    Attributes:
        state: The state before the first step; None: zeros.
        starts: bool ``[N, T, B]``: where it was emptied; None: nowhere.
    """

    state: State | None = None
    starts: Tensor | None = None

    def emptied(self, values: Tensor, t: int) -> Tensor:
        """Values ``[N, B, ...]``, zero where the state was emptied before step t.

        The state after step t - 1 becomes the one before step t; a gradient goes the other way.
        """
        if self.starts is None:
            return values
        return values.masked_fill(along(self.starts[:, t], values), 0)


class FusedCore(NativeCore):
    """A core whose back-propagation through time is written by hand.

    Its empty state is zero, and the first tensor of its state is its output.
    """

    @abstractmethod
    def trace_spec(self) -> TraceSpec:
        """The activations that `step` writes; ``"h"`` is the output."""

    @abstractmethod
    def gradient_spec(self) -> TraceSpec:
        """The gradients that `step_backward` writes."""

    @abstractmethod
    def laid_out(self, weights: Weights) -> Weights:
        """The weights in the layout that `step_backward` and `inputs_backward` read."""

    def prepare(self, weights: Weights, trace: Trace, part: Trace, past: Past) -> None:
        """Work out what is worked out for all steps of a segment at once; nothing by default.

        Args:
            weights: Weights that `fuse` returned.
            trace: The activations of the whole sequence.
            part: The segment.
            past: State that the sequence began with.
        """

    @abstractmethod
    def step_backward(
        self, weights: Weights, after: State, slot: Any, d: Any, before: Tensor | None
    ) -> State:
        """Back-propagate one step.

        Args:
            weights: Weights that `laid_out` returned.
            after: The gradients by the state after the step.
            slot: The step's activations.
            d: The step's gradient slots, with what `prepare` put there.
            before: The gradient of the loss by the output of the step before, ``[N, B, H]``, on top
                of which comes that by the state; None: there is none, at the first step.

        Returns:
            The gradients by the state before the step; whatever it be, at the first.
        """

    @abstractmethod
    def add_gradients(self, part: Trace, grads: Weights) -> None:
        """Add a segment to the gradients by the weights, in the order of `fuse`."""

    @abstractmethod
    def inputs_backward(self, weights: Weights, part: Trace) -> Tensor:
        """The gradient by the inputs of a segment, ``[N, t, B, I]``.

        Args:
            weights: Weights that `laid_out` returned.
            part: The segment.
        """

    def eager_trace(self, shape: tuple[int, int, int], like: Tensor) -> Trace:
        """Allocate a trace for (N, T, B), and the gradients of one segment."""
        num_tasks, num_steps, batch_size = shape
        trace = super().eager_trace(shape, like)
        length = segment_length(num_steps)
        gradients = Trace(self.gradient_spec(), (num_tasks, length, batch_size), length, like)
        starts = range(0, num_steps, length)
        trace.segments = [trace.part(t, min(t + length, num_steps)) for t in starts]
        for segment in trace.segments:
            segment.gradients = gradients.part(0, len(segment.slots))
        return trace

    def eager_outputs(self, shape: tuple[int, int, int], like: Tensor) -> Trace:
        """Allocate a trace of ``"h"`` alone."""
        return outputs_trace(shape, self.hidden_size, like)

    @torch.no_grad()
    def record(
        self,
        weights: Weights,
        inputs: Tensor,
        state: State | None = None,
        starts: Tensor | None = None,
        trace: Trace | None = None,
    ) -> Trace:
        """Run whole sequences without a graph, keeping the activations."""
        trace = super().record(weights, inputs, state, starts, trace)
        if isinstance(trace, NativeTrace):
            return trace
        empty = self.initial_state(weights, inputs.shape[2], inputs.shape[1])
        state = empty if state is None else state
        for t, (x, slot) in enumerate(zip(inputs.unbind(1), trace.slots, strict=True)):
            if starts is not None:
                state = emptied(state, empty, starts[:, t])
            _, state = self.step(weights, x, state, slot)
        return trace

    def sequence(
        self,
        params: Params,
        inputs: Tensor,
        state: State | None = None,
        starts: Tensor | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """Run whole sequences, differentiable once; for second derivatives, see `unrolled`."""
        if not self.takes(state):
            return self.unrolled(params, inputs, state, starts)  # by hand, no gradient goes there
        weights = self.fuse(params)
        if trace is None:
            trace = self.record(weights, inputs, state, starts)
        if isinstance(trace, NativeTrace):
            return self.recorded(weights, inputs, starts, trace)
        past = Past(state, starts)
        output: Tensor = _Replay.apply(self, trace, past, inputs, *weights)  # type: ignore[no-untyped-call]
        return output

    def backward(
        self, weights: Weights, trace: Trace, past: Past, grad: Tensor, *, inputs: bool
    ) -> tuple[Weights, Tensor | None]:
        """Back-propagate through a recorded sequence, the last step first.

        The steps fill a segment's gradient slots; the gradients by the weights are then products
        over its steps.

        Args:
            weights: Weights that `fuse` returned.
            trace: The activations of the sequence.
            past: State that it began with.
            grad: Gradient of the loss by the outputs, ``[N, T, B, H]``.
            inputs: Whether the gradient by the inputs is wanted.

        Returns:
            The gradients by each of ``weights``, and by the inputs, ``[N, T, B, I]`` or None.
        """
        if isinstance(trace, NativeTrace):
            return trace.backward(weights, past.starts, grad, inputs=inputs)
        laid_out = self.laid_out(weights)
        grads = tuple(torch.zeros_like(w) for w in weights)
        dx = grad.new_empty(*grad.shape[:3], self.input_size) if inputs else None
        after = grad[:, -1], *self.initial_state(weights, grad.shape[2])[1:]
        for part in reversed(trace.segments):
            self.prepare(weights, trace, part, past)
            for t in range(part.stop - 1, part.start - 1, -1):
                slot, d = trace.slots[t], part.gradients.slots[t - part.start]
                before = grad[:, t - 1] if t else None
                if before is None or past.starts is None:
                    after = self.step_backward(laid_out, after, slot, d, before)
                    continue
                state = self.step_backward(laid_out, after, slot, d, torch.zeros_like(before))
                dh, *rest = (past.emptied(gradient, t) for gradient in state)
                after = dh + before, *rest
            self.add_gradients(part, grads)
            if dx is not None:
                dx[:, part.start : part.stop] = self.inputs_backward(laid_out, part)
        return grads, dx


class _Replay(torch.autograd.Function):
    """The outputs of a recorded sequence, with the core's own backward pass."""

    @staticmethod
    def forward(
        ctx: Any, core: FusedCore, trace: Trace, past: Past, inputs: Tensor, *weights: Tensor
    ) -> Tensor:
        ctx.core, ctx.trace, ctx.past = core, trace, past
        output = trace["h"].detach()
        # Kept too, since the way back reads it: autograd sees whether it was written to.
        ctx.save_for_backward(output, *weights)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        _, *weights = ctx.saved_tensors
        grads, grad_inputs = ctx.core.backward(
            tuple(weights), ctx.trace, ctx.past, grad, inputs=ctx.needs_input_grad[3]
        )
        return None, None, None, grad_inputs, *grads


def add_outer(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add outer products, summed over steps: ``[N, M, I], [N, M, J]`` to ``[N, I, J]``."""
    total.baddbmm_(left.transpose(1, 2), right)  # [N, I, M] @ [N, M, J]


def add_sum(total: Tensor, terms: Tensor) -> None:
    """Add what is summed over steps: ``[N, M, J]`` to ``[N, 1, J]``."""
    total += terms.sum(1, keepdim=True)


def tanh_backward(grad: Tensor, output: Tensor, out: Tensor) -> Tensor:
    """``grad * (1 - output^2)`` into ``out``, for ``output = tanh(.)``."""
    return torch.ops.aten.tanh_backward.grad_input(grad, output, grad_input=out)  # type: ignore[no-any-return]


def sigmoid_backward(grad: Tensor, output: Tensor, out: Tensor) -> Tensor:
    """``grad * output (1 - output)`` into ``out``, for ``output = sigmoid(.)``."""
    return torch.ops.aten.sigmoid_backward.grad_input(grad, output, grad_input=out)  # type: ignore[no-any-return]


def transposed(weight: Tensor) -> Tensor:
    """``[N, I, O] -> [N, O, I]``, laid out for the many products of a backward pass."""
    return weight.transpose(1, 2).contiguous()
