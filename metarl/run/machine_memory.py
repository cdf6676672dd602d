"""Whether what is asked for can fit this machine, known before any of it is made."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import cache

import torch

from metarl.errors import UserError


@cache
def machine_bytes() -> float:
    """The memory of this machine and of its GPUs together; infinite where it does not say."""
    names = ("SC_PAGE_SIZE", "SC_PHYS_PAGES")
    if not hasattr(os, "sysconf") or any(name not in os.sysconf_names for name in names):
        return math.inf
    gpus = (torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count()))
    return math.prod(os.sysconf(name) for name in names) + sum(gpu.total_memory for gpu in gpus)


def require_memory(bytes_each: int, counts: Sequence[tuple[str, int]]) -> None:
    """Check that the product of counts fits this machine.

    Args:
        bytes_each: A lower bound of what one of the things takes, of which there are as many as the
            product of the counts.
        counts: Each a name that the user knows, such as ``--tasks``, and a number of at least 0.

    Raises:
        UserError: They take more than this machine has; the message says how much.
    """
    needed, there = bytes_each * math.prod(number for _, number in counts), machine_bytes()
    if needed > there:
        product = " x ".join(f"{name} {number}" for name, number in counts)
        raise UserError(
            f"{product} takes at least {_gigabytes(needed)} of memory, and this machine has "
            f"{_gigabytes(there)}: take less"
        )


TOO_LARGE = (
    "DefaultCPUAllocator",
    "calculation overflowed",
    "integer multiplication overflow",
    "array is too big",
    "maximum allowed dimension",
    "bad_alloc",
)
"""Words of torch and NumPy where there is no memory for a tensor, or its size has no number."""


def is_too_large(error: Exception) -> bool:
    """Whether an exception says that something does not fit the memory."""
    words = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        part.lower() in words for part in TOO_LARGE
    )


def _gigabytes(num_bytes: float) -> str:
    number = num_bytes / 1e9
    return f"{number:,.0f} GB" if 10 <= number < 1e9 else f"{number:.2g} GB"
