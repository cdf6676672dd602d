"""Stacked convolution nets as one operation that is differentiable twice (``src/conv.cpp``).

The outputs, their gradients and the gradients of those are a kernel each; third derivatives, and
whatever has to see the operations of torch one by one, are taken through the eager code that the
caller brings along. Axes: N tasks, B images, C channels, O filters.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ctypes import CDLL, POINTER, c_char_p, c_int, c_int64
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from metarl.native.call import SUFFIXES, address, function, plain, watched
from metarl.native.mode import kernels
from metarl.native.through_torch import Eager, eager_gradients, eager_second

POOLS = ("none", "first", "last")
"""In the order of their numbers."""

OUTPUTS, GRADIENTS, SECOND = range(3)
"""What a call computes, in the order of `Mode` in ``src/conv_block.h``."""

_NET, _LAYER = struct.Struct("5qd10q"), struct.Struct("29q")
"""The layouts of `Net` and `Layer` there."""

_NOTHING = (0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Convolution:
    """A convolution with as much padding as keeps the size at stride 1, and what follows it.

    Attributes:
        kernel: Height and width of the kernel, odd.
        stride: Stride in both directions.
        normalised: Batch norm follows: the layer has a scale and a shift.
        rectified: Then ReLU.
        pool: Max-pooling of 2 x 2 places: none, before the norm, or at the end.
    """

    kernel: int = 3
    stride: int = 1
    normalised: bool = True
    rectified: bool = True
    pool: Literal["none", "first", "last"] = "none"

    @property
    def num_params(self) -> int:
        """Weight ``[O, C, k, k]`` and bias ``[O]``; scale and shift ``[O]``."""
        return 4 if self.normalised else 2

    def places(self, size: int) -> int:
        """Outputs along an axis of so many inputs, before any pooling."""
        return (size - 1) // self.stride + 1


@dataclass(frozen=True)
class ConvStack:
    """Convolutions one after the other.

    Attributes:
        layers: In their order.
        epsilon: What is added to a variance.
        num_reference: Images that batch norm takes its statistics from, as constants; 0: all.
    """

    layers: tuple[Convolution, ...]
    epsilon: float
    num_reference: int = 0


@dataclass(frozen=True)
class _Run:
    """Common part of a call and its derivatives.

    Attributes:
        stack: The layers.
        geometry: Channels, height, width, filters, kernel, stride, pool, norm, ReLU of each.
        output: Filters, height and width of what comes out.
        dtype: The type of all numbers.
        kernels: Their library.
        eager: The same in operations of torch.
    """

    stack: ConvStack
    geometry: tuple[tuple[int, ...], ...]
    output: tuple[int, int, int]
    dtype: torch.dtype
    kernels: CDLL
    eager: Eager


def conv_stack(
    stack: ConvStack, images: Tensor, params: Sequence[Tensor], eager: Eager
) -> Tensor | None:
    """Activations ``[N, B, O, height, width]`` after the last layer; None: not for the kernel.

    Args:
        stack: The layers.
        images: ``[N, B, C, height, width]``.
        params: Of each layer weight and bias, and scale and shift where it is normalised,
            ``[N, ...]``; or ``[1, ...]``, the same for all tasks.
        eager: The same in operations of torch.
    """
    library = kernels("conv")
    if library is None or watched():
        return None
    geometry = _geometry(stack, images, params)
    if geometry is None:
        return None
    run = _Run(stack, *geometry, images.dtype, library, eager)
    if torch.is_grad_enabled() and any(t.requires_grad for t in (images, *params)):
        outputs: Tensor = _Outputs.apply(run, images, *params)  # type: ignore[no-untyped-call]
        return outputs
    return _outputs(run, images, params, keep=False)[0]


Geometry: TypeAlias = tuple[tuple[tuple[int, ...], ...], tuple[int, int, int]]


def _geometry(stack: ConvStack, images: Tensor, params: Sequence[Tensor]) -> Geometry | None:
    """Sizes of each layer and of what comes out; None: no kernel can read these."""
    dtype = images.dtype
    if dtype not in SUFFIXES or images.dim() != 5 or not images.numel() or stack.num_reference < 0:
        return None
    if not all(plain(t, dtype) for t in (images, *params)):
        return None
    num_tasks, num_images, channels, height, width = images.shape
    found, rest = [], iter(params)
    for layer in stack.layers:
        weight, *vectors = (t.shape for t in islice(rest, layer.num_params))
        if len(weight) != 5 or weight[2:] != (channels, layer.kernel, layer.kernel):
            return None
        shared, filters = weight[:2]
        if shared not in (1, num_tasks) or any(v != (shared, filters) for v in vectors):
            return None
        sizes = (channels, height, width, filters, layer.kernel, layer.stride)
        found.append((*sizes, POOLS.index(layer.pool), layer.normalised, layer.rectified))
        height, width, channels = layer.places(height), layer.places(width), filters
        rows = num_images * height * width
        if layer.pool != "none":
            height, width = height // 2, width // 2
        if layer.pool == "first":
            rows = num_images * height * width
        if not channels * height * width or (layer.normalised and rows < 2):
            return None
    return tuple(found), (channels, height, width)


# ---- calls of the kernels ----------------------------------------------------------------------
@dataclass(frozen=True)
class _Asked:
    """Buffers of a call besides images and parameters; of a kind that is not asked for, None."""

    output: Tensor | None = None
    cotangent: Tensor | None = None
    state: Tensor | None = None
    first: Tensor | None = None
    tangents: Sequence[Tensor | None] = ()
    gradients: Sequence[Tensor | None] = ()
    keep: bool = False


def _call(run: _Run, mode: int, tensors: Sequence[Tensor], asked: _Asked) -> None:
    """Call a kernel on images and parameters that `_geometry` has seen."""
    stack, images = run.stack, tensors[0]
    scratch = images.new_empty(_sizes(run, mode, images, asked.keep)[2])
    absent = (None,) * len(tensors)
    rows = [
        _parameter(*three)
        for three in zip(tensors, asked.tangents or absent, asked.gradients or absent, strict=True)
    ]
    net = _NET.pack(
        *(images.shape[0], images.shape[1], len(stack.layers), stack.num_reference, asked.keep),
        stack.epsilon,
        *rows[0],
        *map(address, (asked.output, asked.cotangent, asked.state, asked.first, scratch)),
    )
    packed, at = [], 1
    for layer, sizes in zip(stack.layers, run.geometry, strict=True):
        own = rows[at : at + layer.num_params]
        packed.append(_LAYER.pack(*sizes, *chain(*own, *[_NOTHING] * (4 - layer.num_params))))
        at += layer.num_params
    called = function(run.kernels, "conv", run.dtype, c_char_p, c_char_p, c_int)
    called(net, b"".join(packed), mode)


def _sizes(run: _Run, mode: int, images: Tensor, keep: bool = False) -> tuple[int, int, int]:
    """Numbers of a task's state and of its first gradients, and of the scratch."""
    counts = (*images.shape[:2], len(run.geometry), run.stack.num_reference, keep)
    return _sizes_of(run.kernels, run.dtype, mode, counts, run.geometry)


@cache
def _sizes_of(
    library: CDLL,
    dtype: torch.dtype,
    mode: int,
    counts: tuple[int, ...],
    geometry: tuple[tuple[int, ...], ...],
) -> tuple[int, int, int]:
    net = _NET.pack(*counts, 1.0, *[0] * 10)
    layers = b"".join(_LAYER.pack(*sizes, *_NOTHING * 4) for sizes in geometry)
    found = (c_int64 * 3)()
    types = c_char_p, c_char_p, c_int, POINTER(c_int64)
    function(library, "conv_sizes", dtype, *types)(net, layers, mode, found)
    return found[0], found[1], found[2]


def _parameter(p: Tensor, tangent: Tensor | None, gradient: Tensor | None) -> tuple[int, ...]:
    """A `Parameter` there: its tangent and gradient are contiguous, and have its shape."""
    count = p.shape[0]
    step, own = (p.stride(0), p.numel() // count) if count > 1 else (0, 0)
    return p.data_ptr(), address(tangent), address(gradient), step, own


def _in_rows(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the numbers with those of each task one after the other."""
    return [t if t.is_contiguous() or t[0].is_contiguous() else t.contiguous() for t in tensors]


def _outputs(
    run: _Run, images: Tensor, params: Sequence[Tensor], *, keep: bool
) -> tuple[Tensor, Tensor]:
    """Activations after the last layer, and what is kept of the way there."""
    state, _, _ = _sizes(run, OUTPUTS, images, keep)
    output = images.new_empty(*images.shape[:2], *run.output)
    kept = images.new_empty(state * (images.shape[0] if keep else 1))
    asked = _Asked(output=output, state=kept, keep=keep)
    _call(run, OUTPUTS, _in_rows((images, *params)), asked)
    return output, kept


def _room(tensors: Sequence[Tensor], wanted: Sequence[bool]) -> list[Tensor | None]:
    """Room for gradients by what is wanted."""
    return [
        t.new_empty(t.shape) if asked else None for t, asked in zip(tensors, wanted, strict=True)
    ]


def _gradients(
    run: _Run,
    wanted: Sequence[bool],
    cotangent: Tensor,
    state: Tensor,
    tensors: Sequence[Tensor],
    *,
    keep: bool,
) -> tuple[list[Tensor | None], Tensor | None]:
    """Gradients by images and parameters, and what is kept for theirs."""
    _, first, _ = _sizes(run, GRADIENTS, tensors[0], keep)
    gradients = _room(tensors, wanted)
    kept = state.new_empty(first * tensors[0].shape[0]) if keep else None
    asked = _Asked(
        cotangent=cotangent.contiguous(), state=state, first=kept, gradients=gradients, keep=keep
    )
    _call(run, GRADIENTS, _in_rows(tensors), asked)
    return gradients, kept


def _second(
    run: _Run,
    wanted: Sequence[bool],
    state: Tensor,
    first: Tensor,
    cotangent: Tensor,
    tensors: Sequence[Tensor],
    tangents: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Gradients by cotangent, images and parameters of ``sum <tangent, gradient>``."""
    moved, *gradients = _room((cotangent, *tensors), wanted)
    asked = _Asked(
        output=moved,
        state=state,
        first=first,
        tangents=[None if v is None else v.contiguous() for v in tangents],
        gradients=gradients,
    )
    _call(run, SECOND, _in_rows(tensors), asked)
    return [moved, *gradients]


def _readable(
    run: _Run,
    tensors: Sequence[Tensor],
    cotangent: Tensor,
    state: Tensor,
    first: Tensor | None = None,
    tangents: Sequence[Tensor | None] = (),
) -> bool:
    """Whether kernels can read what autograd hands back: hooks may have changed it."""
    images, *params = tensors
    if watched() or images.dtype is not run.dtype:
        return False
    if _geometry(run.stack, images, params) != (run.geometry, run.output):
        return False
    num_tasks, num_images = images.shape[:2]
    like: list[tuple[Tensor, tuple[int, ...]]] = [(cotangent, (num_tasks, num_images, *run.output))]
    like.append((state, (num_tasks * _sizes(run, OUTPUTS, images, keep=True)[0],)))
    if first is not None:
        like.append((first, (num_tasks * _sizes(run, GRADIENTS, images, keep=True)[1],)))
    pairs = zip(tangents, tensors, strict=bool(tangents))
    like += [(v, tuple(t.shape)) for v, t in pairs if v is not None]
    kept = (state,) if first is None else (state, first)
    return all(t.is_contiguous() for t in kept) and all(
        plain(t, run.dtype) and t.shape == shape for t, shape in like
    )


# ---- functions of autograd ---------------------------------------------------------------------
class _Outputs(torch.autograd.Function):
    """The outputs; their gradients are a function that is differentiated in its turn."""

    @staticmethod
    def forward(ctx: Any, run: _Run, images: Tensor, *params: Tensor) -> Tensor:
        output, state = _outputs(run, images, params, keep=True)
        ctx.run = run
        ctx.save_for_backward(state, images, *params)
        return output

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Any:
        state, *tensors = ctx.saved_tensors
        run, wanted = ctx.run, ctx.needs_input_grad[1:]
        found: Sequence[Tensor | None]
        if not _readable(run, tensors, cotangent, state):
            found = eager_gradients(run.eager, wanted, cotangent, tensors)
        elif torch.is_grad_enabled():
            found = _Gradients.apply(run, wanted, state, cotangent, *tensors)  # type: ignore[no-untyped-call]
        else:
            found, _ = _gradients(run, wanted, cotangent, state, tensors, keep=False)
        return None, *found


class _Gradients(torch.autograd.Function):
    """The gradients by images and parameters, of which those that are not wanted are None."""

    @staticmethod
    def forward(
        ctx: Any,
        run: _Run,
        wanted: Sequence[bool],
        state: Tensor,
        cotangent: Tensor,
        *tensors: Tensor,
    ) -> Any:
        gradients, first = _gradients(run, wanted, cotangent, state, tensors, keep=True)
        ctx.run, ctx.wanted = run, wanted
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(state, first, cotangent, *tensors)
        return tuple(gradients)

    @staticmethod
    def backward(ctx: Any, *tangents: Tensor | None) -> Any:
        state, first, cotangent, *tensors = ctx.saved_tensors
        run, wanted = ctx.run, ctx.needs_input_grad[3:]
        if all(tangent is None for tangent in tangents):
            return (None,) * (3 + len(wanted))
        readable = _readable(run, tensors, cotangent, state, first, tangents)
        if torch.is_grad_enabled() or not readable:
            found = eager_second(run.eager, ctx.wanted, wanted, cotangent, tensors, tangents)
        else:
            found = _second(run, wanted, state, first, cotangent, tensors, tangents)
        return None, None, None, *found
