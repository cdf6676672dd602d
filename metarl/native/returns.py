"""Returns of episodes and the linear baseline, a call each (`src/returns.cpp`)."""

from __future__ import annotations

import ctypes
import struct
from functools import cache
from typing import Any

import torch
from torch import Tensor

from metarl.native.mode import kernels
from metarl.native.plain import SUFFIXES, plain, watched

REGRESSION = struct.Struct("8q2dq")

MOST_INPUTS = 30
"""More numbers in an observation make a regression that torch's products are faster at."""


def discounted(rewards: Tensor, gamma: float, goes_on: Tensor | None) -> Tensor | None:
    """``R_t = r_t + gamma g_t R_{t+1}`` of ``[..., T, B]``; None: there is no kernel for it.

    Args:
        rewards: r, ``[..., T, B]``.
        gamma: The discount.
        goes_on: g, ``[..., T, B]``; None: 1 everywhere.
    """
    given = (rewards,) if goes_on is None else (rewards, goes_on)
    library = _library(*given)
    if library is None or rewards.dim() < 2:
        return None
    if goes_on is not None:
        goes_on = goes_on.expand_as(rewards).contiguous()
    rewards = rewards.contiguous()
    found = torch.empty_like(rewards)
    num_steps, width = rewards.shape[-2:]
    _kernel(library, "discounted", rewards.dtype)(
        *(rewards.numel() // (num_steps * width), num_steps, width, rewards.data_ptr()),
        *(None if goes_on is None else goes_on.data_ptr(), gamma, found.data_ptr()),
    )
    return found


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
    library = _library(observations, mask, returns)
    if library is None or observations.shape[-1] > MOST_INPUTS:
        return None
    observations, mask, returns = (t.contiguous() for t in (observations, mask, returns))
    found = torch.empty_like(returns)
    addresses = (t.data_ptr() for t in (observations, mask, returns, found))
    packed = REGRESSION.pack(*observations.shape, *addresses, ridge, clip, num_attempts)
    _kernel(library, "baseline", returns.dtype)(packed)
    return found


def _library(*tensors: Tensor) -> ctypes.CDLL | None:
    """The library, where it may read these."""
    dtype = tensors[0].dtype
    library = kernels("returns")
    if library is None or dtype not in SUFFIXES or watched():
        return None
    if any(t.requires_grad or not t.numel() or not plain(t, dtype) for t in tensors):
        return None
    return library


@cache
def _kernel(library: ctypes.CDLL, name: str, dtype: torch.dtype) -> Any:
    found = getattr(library, f"metarl_{name}_{SUFFIXES[dtype]}")
    size, address = ctypes.c_int64, ctypes.c_void_p
    ways = {
        "discounted": [size, size, size, address, address, ctypes.c_double, address],
        "baseline": [ctypes.c_char_p],
    }
    found.argtypes, found.restype = ways[name], None
    return found
