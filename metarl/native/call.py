"""How kernels are called: the function of a precision, and the addresses it is handed.

A kernel believes what it is told: who hands over tensors of others checks them first.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from metarl.native.plain import SUFFIXES, has_address


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
    """Where a tensor's numbers begin; 0: there is none."""
    return 0 if tensor is None else tensor.data_ptr()


def addresses(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    """Where the numbers of several tensors begin."""
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
    found = [(len(t), t.numel(), t.dtype) for t in tensors]
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
