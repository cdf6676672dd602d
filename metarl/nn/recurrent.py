"""Recurrent cores: one step, a whole sequence, and back-propagation through time by hand.

A core is a frozen value: sizes and pure functions, no parameters of its own. Parameters are passed
in, stacked over N tasks or seeds, so that N agents are one tensor program. Axes: N tasks or seeds,
T steps, B parallel mazes, I inputs, H hidden units.

The equations of a core are written once, in `RecurrentCore.step`. A rollout calls it without a
graph and lets it write its activations into the slots of a `Trace`; the gradient then walks the
trace backwards (`FusedCore.backward`), some sqrt(T) steps at a time, and forms each weight gradient
as one product over the steps of such a segment, instead of having autograd keep and replay tens of
thousands of small operations. Given no slots, the same step is an ordinary differentiable function,
to any order; tests hold the two together in float64.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metarl.core import Params
from metarl.nn.trace import NO_SLOTS, Trace, TraceSpec, segment_length

State: TypeAlias = tuple[Tensor, ...]
Weights: TypeAlias = tuple[Tensor, ...]


class RecurrentCore(ABC):
    """A recurrent network as a value: ``h' = step(weights, x, state)``.

    Attributes:
        input_size: Number of inputs I.
        hidden_size: Number of hidden units H.
        slow: Name patterns of the parameters that a two-timescale learner keeps slow.
    """

    input_size: int
    hidden_size: int
    slow: tuple[str, ...] = ()

    @abstractmethod
    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the parameters of one network (no leading axis), float32, on the CPU."""

    @abstractmethod
    def fuse(self, params: Params) -> Weights:
        """Arrange stacked parameters ``[N, ...]`` for `step`, once a sequence; differentiable."""

    @abstractmethod
    def initial_state(self, weights: Weights, batch_size: int) -> State:
        """The state at the start of a trial, every tensor ``[N, B, ...]``: zeros."""

    @abstractmethod
    def step(
        self, weights: Weights, x: Tensor, state: State, out: Any = NO_SLOTS
    ) -> tuple[Tensor, State]:
        """One step of N networks on B sequences each.

        Args:
            weights: What `fuse` returned.
            x: Inputs ``[N, B, I]``.
            state: The state before the step.
            out: A slot of a `Trace` to write the activations into, without a graph; by default
                they are allocated and the step is differentiable.

        Returns:
            The output ``[N, B, H]`` and the state after the step.
        """

    def sequence(self, params: Params, inputs: Tensor) -> Tensor:
        """Run whole sequences from the initial state, differentiable to any order.

        Args:
            params: Stacked parameters ``[N, ...]``.
            inputs: ``[N, T, B, I]``.

        Returns:
            Outputs ``[N, T, B, H]``; ``outputs[:, t]`` has seen ``inputs[:, : t + 1]``.
        """
        weights = self.fuse(params)
        state = self.initial_state(weights, inputs.shape[2])
        outputs = []
        for x in inputs.unbind(1):
            output, state = self.step(weights, x, state)
            outputs.append(output)
        return torch.stack(outputs, 1)


class FusedCore(RecurrentCore):
    """A core whose back-propagation through time is written by hand."""

    @abstractmethod
    def trace_spec(self) -> TraceSpec:
        """The activations that `step` writes; ``"h"`` is the output."""

    @abstractmethod
    def gradient_spec(self) -> TraceSpec:
        """The gradients that `backward` writes."""

    @abstractmethod
    def backward(
        self, weights: Weights, trace: Trace, grad: Tensor, *, inputs: bool
    ) -> tuple[Weights, Tensor | None]:
        """Back-propagate through a recorded sequence.

        Args:
            weights: What `fuse` returned.
            trace: The activations of the sequence.
            grad: Gradient of the loss by the outputs, ``[N, T, B, H]``.
            inputs: Whether the gradient by the inputs is wanted.

        Returns:
            The gradients by each of ``weights``, and by the inputs, ``[N, T, B, I]`` or None.
        """

    def new_trace(self, shape: tuple[int, int, int], like: Tensor) -> Trace:
        """Allocate a trace for (N, T, B)."""
        num_tasks, num_steps, batch_size = shape
        length = segment_length(num_steps)
        trace = Trace(self.trace_spec(), shape, length, like)
        gradients = Trace(self.gradient_spec(), (num_tasks, length, batch_size), length, like)
        starts = range(0, num_steps, length)
        trace.segments = [trace.part(t, min(t + length, num_steps)) for t in starts]
        for segment in trace.segments:
            segment.gradients = gradients.part(0, len(segment.slots))
        return trace

    def sequence(self, params: Params, inputs: Tensor, trace: Trace | None = None) -> Tensor:
        """Run whole sequences from the initial state, differentiable once.

        Args:
            params: Stacked parameters ``[N, ...]``.
            inputs: ``[N, T, B, I]``.
            trace: The activations of these inputs under these parameters, when a rollout has
                recorded them already: nothing is computed again. None runs the sequence.

        Returns:
            Outputs ``[N, T, B, H]``. For second derivatives use ``RecurrentCore.sequence``.
        """
        weights = self.fuse(params)
        if trace is None:
            trace = self.record(weights, inputs)
        output: Tensor = _Replay.apply(self, trace, inputs, *weights)  # type: ignore[no-untyped-call]
        return output

    @torch.no_grad()
    def record(self, weights: Weights, inputs: Tensor, trace: Trace | None = None) -> Trace:
        """Run whole sequences ``[N, T, B, I]`` without a graph, keeping the activations."""
        num_tasks, num_steps, batch_size = inputs.shape[:3]
        if trace is None:
            trace = self.new_trace((num_tasks, num_steps, batch_size), inputs)
        state = self.initial_state(weights, batch_size)
        for x, slot in zip(inputs.unbind(1), trace.slots, strict=True):
            _, state = self.step(weights, x, state, slot)
        return trace


class _Replay(torch.autograd.Function):
    """The outputs of a recorded sequence, with the core's own backward pass."""

    @staticmethod
    def forward(
        ctx: Any, core: FusedCore, trace: Trace, inputs: Tensor, *weights: Tensor
    ) -> Tensor:
        ctx.core, ctx.trace = core, trace
        ctx.save_for_backward(*weights)
        return trace["h"].detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grads, grad_inputs = ctx.core.backward(
            ctx.saved_tensors, ctx.trace, grad, inputs=ctx.needs_input_grad[2]
        )
        return None, None, grad_inputs, *grads


def add_outer(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add outer products, summed over steps: ``[N, M, I], [N, M, J]`` to ``[N, I, J]``."""
    total.baddbmm_(left.transpose(1, 2), right)


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
    """``[N, I, O] -> [N, O, I]``, laid out anew for the many products of a backward pass."""
    return weight.transpose(1, 2).contiguous()


def orthogonal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """An orthogonal matrix ``[rows, columns]`` (Saxe et al. 2014)."""
    return torch.nn.init.orthogonal_(torch.empty(rows, columns), generator=generator)


def uniform(shape: Sequence[int], bound: float, generator: torch.Generator) -> Tensor:
    """Uniform in ``[-bound, bound]``."""
    return torch.empty(*shape).uniform_(-bound, bound, generator=generator)


def gate_weights(
    num_inputs: int, num_hidden: int, num_gates: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Two matrices and two biases for gates side by side, uniform in 1/sqrt(H), as `torch.nn`."""
    bound, width = num_hidden**-0.5, num_gates * num_hidden
    return {
        "weight_ih": uniform((num_inputs, width), bound, generator),
        "weight_hh": uniform((num_hidden, width), bound, generator),
        "bias_ih": uniform((width,), bound, generator),
        "bias_hh": uniform((width,), bound, generator),
    }
