"""Calls of kernels: which tensors they may read, the function of a precision, addresses.

A kernel is handed addresses. What lies behind a tensor must be all that it stands for, no more than
memory, and whoever wants to see the operations of torch one by one (transforms, modes, tracers,
autocast) must see them: there the eager code runs. A kernel believes what it is told: who hands
over tensors of others checks them first.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

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


# Calls --------------------------------------------------------------------------------------------


@cache
def function(
    library: ctypes.CDLL, name: str, dtype: torch.dtype, *types: Any, returns: Any = None
) -> Callable[..., Any]:
    """The function ``metarl_NAME`` of a precision.

    Args:
        library: The kernels.
        name: The name.
        dtype: float32 or float64.
        types: Those of ctypes that its arguments have.
        returns: That of what it returns; None: nothing.
    """
    found = getattr(library, f"metarl_{name}_{SUFFIXES[dtype]}")
    found.argtypes, found.restype = types, returns
    called: Callable[..., Any] = found
    return called


def address(tensor: Tensor | None) -> int:
    """Address of a tensor's first number; 0: there is none."""
    return 0 if tensor is None else tensor.data_ptr()


def addresses(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    """Addresses of the first numbers of several tensors."""
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def check_readable(values: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Check that a kernel may read a tensor by its address.

    Raises:
        TypeError: It is of another kind or precision.
        ValueError: It is of another shape.
    """
    if values.dtype != dtype or not has_address(values):
        raise _other(dtype, values)
    if tuple(values.shape) != shape:
        raise ValueError(f"expected the shape {shape}, got {tuple(values.shape)}")


def readable(values: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Values of a shape, in one piece; raises as `check_readable` does."""
    check_readable(values, shape, dtype)
    return values.detach().contiguous()


def all_readable(
    tensors: Sequence[Tensor], sizes: Sequence[tuple[int, int]], dtype: torch.dtype, what: str
) -> list[Tensor]:
    """Several tensors in one piece each, if they are as large as the kernel takes them to be.

    Args:
        tensors: Of any shapes.
        sizes: Rows of each, and numbers of a row.
        dtype: Their precision.
        what: What they are, in an error.

    Raises:
        TypeError: One is no plain memory.
        ValueError: One is of another size or precision, or they are more or fewer.
    """
    for tensor in tensors:
        if not has_address(tensor):
            raise _other(dtype, tensor)
    found = [(t.shape[0], t.numel(), t.dtype) for t in tensors]
    if found != [(rows, rows * count, dtype) for rows, count in sizes]:
        raise ValueError(
            f"expected {what} of (rows, numbers each) {list(sizes)} of {dtype}, got "
            + ", ".join(f"{tuple(t.shape)} of {t.dtype}" for t in tensors)
        )
    return [t.detach().contiguous() for t in tensors]


def _other(dtype: torch.dtype, got: Tensor) -> TypeError:
    return TypeError(
        f"a kernel of {dtype} on the CPU cannot take {type(got).__name__} of {got.dtype} on "
        f"{got.device}"
    )
