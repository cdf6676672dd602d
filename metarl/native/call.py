"""How kernels are called: the function of a precision, and the addresses it is handed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from metarl.native.plain import SUFFIXES


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
