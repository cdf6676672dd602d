"""Resets of some environments of a vector, by the option ``reset_mask``, while the others go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array, iterate
from numpy.typing import NDArray

from ..base.tensor import TensorEnv

__all__ = ["check_partial_resets", "reset_where", "rows_where"]

Bools = NDArray[np.bool_]


def reset_where(options: Mapping[str, Any] | None, num_envs: int) -> Bools:
    """Bool [B]: which environments a reset with these options is for."""
    mask = (options or {}).get("reset_mask")
    if mask is None:
        return np.ones(num_envs, dtype=np.bool_)
    return np.array(mask, dtype=np.bool_)


def check_partial_resets(env: Any, mode: AutoresetMode, wait: bool) -> None:
    """Checks that episodes of `env` can be reset on their own, in mode DISABLED or NEXT_STEP.

    Raises:
        ValueError: If they cannot, or are to `wait` for one another.
    """
    base = env.unwrapped
    if isinstance(base, TensorEnv):
        raise ValueError(
            f"the episodes of {base} start in lock step, and {type(env).__name__} around it passes "
            f"arrays of NumPy on: put it around VectorTrial, or make the environment with "
            f"device='cpu'"
        )
    if wait:
        raise ValueError("wait=True is for tensor environments: here each goes on by itself")
    partial = isinstance(base, SyncVectorEnv | AsyncVectorEnv)
    if isinstance(base, AsyncVectorEnv) and not base.shared_memory:
        partial = False  # its workers reset again what was reset in part
    if mode is AutoresetMode.NEXT_STEP and not partial:
        raise ValueError(
            f"a trial resets each of its environments on its own, and {base} in mode {mode} does "
            f"not: make it with vectorization_mode='sync', or in AutoresetMode.DISABLED"
        )


def rows_where(env: VectorEnv[Any, Any, Any], where: Bools, new: Any, old: Any) -> Any:
    """A batch of observations of `env`: rows of `new` where `where`, else of `old`."""
    space, batch = env.single_observation_space, env.observation_space
    both = zip(where, iterate(batch, new), iterate(batch, old), strict=True)
    rows = [fresh if here else kept for here, fresh, kept in both]
    empty: Any = create_empty_array(space, len(rows))
    return concatenate(space, rows, empty)
