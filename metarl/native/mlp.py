"""Stacked perceptrons as one operation that is differentiable twice (`src/mlp.h`).

The outputs, their gradient and the gradient of that are a kernel each; the third derivative, and
whatever has to see operations of torch one by one, is taken through the eager code that the caller
brings along.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from metarl.native.call import SUFFIXES, address, function, plain, watched
from metarl.native.mode import eagerly, kernels
from metarl.native.through_torch import Eager, eager_gradients, eager_second

Activation: TypeAlias = Literal["linear", "relu", "tanh", "residual"]
"""What follows a layer's sum z: nothing; relu; tanh; or h + tanh(z), h the layer's inputs."""

ACTIVATIONS: tuple[Activation, ...] = ("linear", "relu", "tanh", "residual")
"""In the order of their numbers."""

OUTPUTS, GRADIENT, SECOND = range(3)

MOST_WEIGHTS = 128 * 128
"""Weights of a layer, at most: with more, what is computed again costs more than it saves."""

Ways: TypeAlias = Sequence[Tensor | None]


@dataclass(frozen=True)
class Perceptron:
    """Layers ``s(h W + b)`` one after the other.

    Attributes:
        sizes: Inputs, hidden layers, outputs.
        activations: One for each layer.
    """

    sizes: tuple[int, ...]
    activations: tuple[Activation, ...]

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of weight and bias of each layer, without the leading axis."""
        layers = zip(self.sizes, self.sizes[1:], strict=False)
        return tuple(shape for i, o in layers for shape in ((i, o), (o,)))

    @cached_property
    def strides(self) -> tuple[tuple[int, ...], ...]:
        """Strides of each parameter where its numbers lie in a row."""
        return tuple((shape[-1], 1) if len(shape) == 2 else (1,) for shape in self.shapes)

    @cached_property
    def widest(self) -> int:
        """The most weights of a layer."""
        return max(i * o for i, o in zip(self.sizes, self.sizes[1:], strict=False))

    @cached_property
    def packing(self) -> struct.Struct:
        """The layout of `Perceptrons` in ``src/mlp.h``."""
        return struct.Struct(f"{9 + 13 * len(self.activations)}q")

    @cached_property
    def kinds(self) -> tuple[tuple[int, int, int], ...]:
        """Inputs, outputs and number of the activation of each layer."""
        numbers = (ACTIVATIONS.index(a) for a in self.activations)
        return tuple(zip(self.sizes, self.sizes[1:], numbers, strict=False))


@dataclass(frozen=True)
class Run:
    """Common part of a call and those of its derivatives.

    Attributes:
        net: The layers.
        dtype: The type of their numbers.
        kernel: The kernel for it.
        eager: The same in operations of torch, for what is differentiated further.
    """

    net: Perceptron
    dtype: torch.dtype
    kernel: Callable[..., None]
    eager: Eager


def perceptrons(
    net: Perceptron,
    inputs: Tensor,
    params: Sequence[Tensor],
    eager: Eager,
    known: Tensor | None = None,
) -> Tensor | None:
    """Outputs ``[N, M, O]``; None: this is not for the kernel.

    Args:
        net: The layers.
        inputs: ``[N, M, I]``.
        params: Weight ``[N, I, O]`` and bias ``[N, O]`` of each layer; or ``[1, ...]``, the same
            for all tasks.
        eager: The same in operations of torch.
        known: The outputs, where a kernel has said them before: they get a graph.
    """
    library = kernels("mlp")
    if library is None or watched() or inputs.dim() != 3 or _declined(net, inputs):
        return None
    shape = inputs.shape
    if len(params[0]) == 1 < shape[0] and known is None:
        inputs = inputs.reshape(1, -1, shape[2])  # rows of one task
    if not fits(net, inputs, params):
        return None
    kernel = function(library, "perceptrons", inputs.dtype, ctypes.c_char_p, ctypes.c_int64)
    run = Run(net, inputs.dtype, kernel, eager)
    if torch.is_grad_enabled() and (inputs.requires_grad or any(p.requires_grad for p in params)):
        found: Tensor = _outputs_with_graph(run, known, inputs, *params)
    else:
        found = _outputs(run, inputs, params) if known is None else known
    return found if inputs.shape[0] == shape[0] else found.view(*shape[:2], -1)


def has_kernel(net: Perceptron, inputs: Tensor, params: Sequence[Tensor]) -> bool:
    """Whether `perceptrons` would answer."""
    known = kernels("mlp") is not None and not watched() and not _declined(net, inputs)
    return known and fits(net, inputs, params)


def _declined(net: Perceptron, inputs: Tensor) -> bool:
    """Whether there is a reason that a training is to know of; it is noted."""
    if not inputs.is_cpu:
        eagerly(f"{inputs.device.type} has no kernels for perceptrons")
    elif inputs.dtype not in SUFFIXES:
        eagerly(f"{inputs.dtype} has no kernels for perceptrons")
    elif net.widest > MOST_WEIGHTS:
        eagerly("perceptrons with wide layers are as fast without a kernel")
    else:
        return False
    return True


def fits(net: Perceptron, inputs: Tensor, params: Sequence[Tensor]) -> bool:
    """Whether a kernel can read these: sizes, type and layout."""
    dtype, shape = inputs.dtype, inputs.shape
    if shape[2] != net.sizes[0] or not shape.numel():
        return False
    if not plain(inputs, dtype):
        return False
    count = shape[0]
    for p, own, stride in zip(params, net.shapes, net.strides, strict=True):
        if not plain(p, dtype) or p.shape != (count, *own):
            return False
        if p.stride()[1:] != stride:
            return False
    return True


def _readable(
    run: Run, inputs: Tensor, params: Sequence[Tensor], cotangent: Tensor, ways: Ways = ()
) -> bool:
    """Whether the kernel can read what autograd hands back: hooks may have changed it."""
    if watched() or inputs.dim() != 3 or inputs.dtype is not run.dtype:
        return False
    outputs = (*inputs.shape[:2], run.net.sizes[-1])
    like: list[tuple[Tensor, tuple[int, ...]]] = [(cotangent, outputs)]
    pairs = zip(ways, (inputs, *params), strict=bool(ways))
    like += [(way, t.shape) for way, t in pairs if way is not None]
    if any(not plain(t, run.dtype) or t.shape != shape for t, shape in like):
        return False
    return fits(run.net, inputs, params)


def _outputs(run: Run, inputs: Tensor, params: Sequence[Tensor]) -> Tensor:
    """Outputs ``[N, M, O]`` without a graph."""
    inputs = _in_rows(inputs)
    found = inputs.new_empty(*inputs.shape[:2], run.net.sizes[-1])
    _call(run, OUTPUTS, inputs, params, outputs=found)
    return found


def _call(
    run: Run,
    wanted: int,
    inputs: Tensor,
    params: Sequence[Tensor],
    *,
    ways: Ways = (),
    inputs_way: Tensor | None = None,
    cotangent: Tensor | None = None,
    outputs: Tensor | None = None,
    inputs_grad: Tensor | None = None,
    grads: Ways = (),
) -> None:
    """Call the kernel on tensors that `fits` has seen, in rows."""
    num_tasks, num_rows, _ = inputs.shape
    others = (inputs_way, cotangent, outputs, inputs_grad)
    rows = (inputs.data_ptr(), inputs.stride(0), *map(address, others))
    run.kernel(packed(run.net, num_tasks, num_rows, params, rows, ways, grads), wanted)


def packed(
    net: Perceptron,
    num_tasks: int,
    num_rows: int,
    params: Sequence[Tensor],
    rows: Sequence[int] = (0,) * 6,
    ways: Ways = (),
    grads: Ways = (),
) -> bytes:
    """The structure `Perceptrons` of ``src/mlp.h``."""
    numbers = [num_tasks, num_rows, len(net.activations), *rows]
    for layer, kind in enumerate(net.kinds):
        numbers += kind
        for i in (2 * layer, 2 * layer + 1):
            p, way, grad = params[i], ways[i] if ways else None, grads[i] if grads else None
            numbers += (p.data_ptr(), p.stride(0))
            numbers += (0, 0) if way is None else (way.data_ptr(), way.stride(0))
            numbers.append(0 if grad is None else grad.data_ptr())
    return net.packing.pack(*numbers)


class _Outputs(torch.autograd.Function):
    """The outputs; their gradient is a function that is differentiated in its turn."""

    @staticmethod
    def forward(
        ctx: Any, run: Run, known: Tensor | None, inputs: Tensor, *params: Tensor
    ) -> Tensor:
        ctx.run = run
        ctx.save_for_backward(inputs, *params)
        return _outputs(run, inputs, params) if known is None else known.detach()

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Any:
        inputs, *params = ctx.saved_tensors
        run, wanted = ctx.run, ctx.needs_input_grad[2:]
        if not _readable(run, inputs, params, cotangent):
            found = eager_gradients(run.eager, wanted, cotangent, (inputs, *params))
        elif torch.is_grad_enabled():
            found = _gradient_with_graph(run, wanted, cotangent, inputs, *params)
        else:
            found = _gradient(run, wanted, cotangent, inputs, params)
        return None, None, *found


class _Gradient(torch.autograd.Function):
    """The gradient of `<cotangent, outputs>` by inputs and parameters; not wanted, it is None."""

    @staticmethod
    def forward(
        ctx: Any,
        run: Run,
        wanted: Sequence[bool],
        cotangent: Tensor,
        inputs: Tensor,
        *params: Tensor,
    ) -> Any:
        ctx.run, ctx.wanted = run, wanted
        ctx.save_for_backward(cotangent, inputs, *params)
        ctx.set_materialize_grads(False)
        return tuple(_gradient(run, wanted, cotangent, inputs, params))

    @staticmethod
    def backward(ctx: Any, *ways: Tensor | None) -> Any:
        cotangent, inputs, *params = ctx.saved_tensors
        run, wanted = ctx.run, ctx.needs_input_grad[2:]
        if all(way is None for way in ways):
            return (None,) * (2 + len(wanted))
        if torch.is_grad_enabled() or not _readable(run, inputs, params, cotangent, ways):
            found = eager_second(run.eager, ctx.wanted, wanted, cotangent, (inputs, *params), ways)
        else:
            found = _second(run, wanted, inputs, params, cotangent, ways)
        return None, None, *found


# The `apply` below that of Function, which looks through all arguments for what transforms have
# left behind: there is none of it here (`plain`).
_outputs_with_graph: Any = super(torch.autograd.Function, _Outputs).apply
_gradient_with_graph: Any = super(torch.autograd.Function, _Gradient).apply


def _gradient(
    run: Run,
    wanted: Sequence[bool],
    cotangent: Tensor,
    inputs: Tensor,
    params: Sequence[Tensor],
) -> list[Tensor | None]:
    """The gradient of ``<cotangent, outputs>`` by those of inputs and parameters wanted."""
    inputs, cotangent = _in_rows(inputs), cotangent.contiguous()
    found = of_inputs, *grads = _room((inputs, *params), wanted)
    _call(run, GRADIENT, inputs, params, cotangent=cotangent, inputs_grad=of_inputs, grads=grads)
    return list(found)


def _second(
    run: Run,
    wanted: Sequence[bool],
    inputs: Tensor,
    params: Sequence[Tensor],
    cotangent: Tensor,
    ways: Ways,
) -> list[Tensor | None]:
    """The gradient of ``<way, gradient>`` by cotangent, inputs and parameters."""
    inputs, cotangent = _in_rows(inputs), cotangent.contiguous()
    found = outputs, of_inputs, *grads = _room((cotangent, inputs, *params), wanted)
    inputs_way, *others = (None if way is None else way.contiguous() for way in ways)
    _call(
        run,
        SECOND,
        inputs,
        params,
        ways=others,
        inputs_way=inputs_way,
        cotangent=cotangent,
        outputs=outputs,
        inputs_grad=of_inputs,
        grads=grads,
    )
    return list(found)


def _in_rows(inputs: Tensor) -> Tensor:
    """Inputs ``[N, M, I]`` whose rows follow one another, within a task."""
    rows = inputs.stride()[1:] == (inputs.shape[2], 1)
    return inputs if rows else inputs.contiguous()


def _room(tensors: Sequence[Tensor], wanted: Sequence[bool]) -> list[Tensor | None]:
    """Room for gradients by what is wanted."""
    return [t.new_empty(t.shape) if want else None for t, want in zip(tensors, wanted, strict=True)]
