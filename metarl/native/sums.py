"""Discounted sums along time: the one loop over steps that is left where a rollout is one call."""

from __future__ import annotations

import math
from ctypes import c_double, c_int64, c_void_p

import torch
from torch import Tensor

from metarl.native.call import address, function
from metarl.native.mode import kernels
from metarl.native.plain import SUFFIXES, is_plain

TYPES = c_int64, c_int64, c_int64, c_double, c_void_p, c_void_p, c_void_p


def discounted_sums(values: Tensor, gamma: float, goes_on: Tensor | None) -> Tensor | None:
    """``S_t = x_t + gamma goes_on_t S_{t+1}``; None: there is no kernel for such values.

    Args:
        values: x, ``[..., T, B]``.
        gamma: Discount.
        goes_on: ``[..., T, B]``, of the same type; None: 1 everywhere.

    Returns:
        ``[..., T, B]``, without a graph.
    """
    tensors = (values,) if goes_on is None else (values, goes_on)
    like = values.dtype, values.shape
    fits = values.numel() > 0 and values.dim() > 1 and values.dtype in SUFFIXES
    if not fits or any((t.dtype, t.shape) != like for t in tensors) or not is_plain(*tensors):
        return None
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return None
    library = kernels("sums")
    if library is None:
        return None
    read = [t.detach().contiguous() for t in tensors]
    out = torch.empty_like(read[0])
    *outer, steps, width = values.shape
    going = None if goes_on is None else read[1]
    function(library, "discounted", values.dtype, *TYPES)(
        math.prod(outer), steps, width, gamma, *map(address, (read[0], going, out))
    )
    return out
