"""Tensors whose numbers a kernel may read: no more than memory, watched by nobody.

A kernel is handed addresses. What lies behind a tensor must be all that it stands for, and whoever
wants to see the operations of torch one by one (transforms, modes, tracers, autocast) must see
them: there the eager code runs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

SUFFIXES = {torch.float32: "f", torch.float64: "d"}
"""Endings of the names of kernels, by the type of numbers that they are for."""

_C = torch._C


def watched() -> bool:
    """Whether something in this thread has to see each operation of torch."""
    return bool(
        _C._len_torch_dispatch_stack()
        or _C._len_torch_function_stack()
        or _C._functorch.peek_interpreter_stack() is not None
        or forward_ad._current_level >= 0
        or torch.is_autocast_enabled("cpu")
        or _C._get_tracing_state() is not None
        or torch.compiler.is_compiling()
    )


def plain(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Whether a tensor is numbers of this type in the memory of the CPU, and no more."""
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.dtype is dtype
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and not tensor.is_neg()
        and not tensor._is_zerotensor()  # zeros that autograd says without writing them down
        and _C._has_storage(tensor)  # not so of is_grads_batched, and what left a transform
    )


def has_address(tensor: Tensor) -> bool:
    """Whether a tensor is numbers in the memory of the CPU, of whatever type."""
    return plain(tensor, tensor.dtype)


def is_plain(*tensors: Tensor | None) -> bool:
    """Whether kernels may read these tensors here, and nobody need see it."""
    return not watched() and all(t is None or has_address(t) for t in tensors)
