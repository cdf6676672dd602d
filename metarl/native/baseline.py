"""The linear baseline of all tasks as one call (`src/baseline.cpp`)."""

from __future__ import annotations

import struct
from ctypes import c_char_p

import torch
from torch import Tensor

from metarl.native.call import function
from metarl.native.mode import kernels
from metarl.native.plain import SUFFIXES, plain, watched

REGRESSION = struct.Struct("8q2dq")

MOST_INPUTS = 30
"""More numbers in an observation make a regression that torch's products are faster at."""


def linear_baseline(
    observations: Tensor,
    mask: Tensor,
    returns: Tensor,
    *,
    ridge: float,
    clip: float,
    num_attempts: int,
) -> Tensor | None:
    """Fit returns ``[N, T, B]`` and predict them; None: there is no kernel for it.

    Args:
        observations: ``[N, T, B, I]``.
        mask: ``[N, T, B]``.
        returns: ``[N, T, B]``.
        ridge: The first one that is tried.
        clip: Bound of observations.
        num_attempts: Ridges that are tried, each 10 times as large.
    """
    library, dtype = kernels("baseline"), returns.dtype
    if library is None or dtype not in SUFFIXES or watched():
        return None
    given = (observations, mask, returns)
    if any(t.requires_grad or not t.numel() or not plain(t, dtype) for t in given):
        return None
    shape = mask.shape
    if len(shape) != 3 or returns.shape != shape or observations.shape[:-1] != shape:
        return None
    if observations.shape[-1] > MOST_INPUTS:
        return None
    observations, mask, returns = (t.contiguous() for t in given)
    found = torch.empty_like(returns)
    addresses = (t.data_ptr() for t in (observations, mask, returns, found))
    packed = REGRESSION.pack(*observations.shape, *addresses, ridge, clip, num_attempts)
    function(library, "baseline", dtype, c_char_p)(packed)
    return found
