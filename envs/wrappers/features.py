"""Observations and actions of any space as rows of numbers.

Observations are those of `gymnasium.spaces.utils.flatten`, as float32: boxes in one row and as they
are (bytes are not scaled), one of n as n bits, dicts and tuples part by part. Actions likewise, but

- those of a `Box` are clipped to its bounds, as environments do that take any;
- those of a `MultiDiscrete` are their numbers, counted from 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Space
from gymnasium.spaces.utils import flatten, flatten_space
from gymnasium.vector.utils import iterate
from numpy.typing import NDArray

__all__ = ["action_box", "action_row", "observation_box", "observation_row", "observation_rows"]

Row = NDArray[np.float32]


def observation_box(space: Space[Any]) -> Box[Any]:
    """The space of flat observations, float32 with one axis.

    Raises:
        ValueError: If there is none of one length.
    """
    if isinstance(space, Box) and space.dtype == np.float32 and len(space.shape) == 1:
        return space
    flat = _flat_space(space)
    if flat is None:
        raise ValueError(f"observations of {space} are no row of numbers: {_remedy(space)}")
    return _float32_box(flat.low, flat.high)


def observation_row(space: Space[Any], observation: Any) -> Row:
    """An observation of `space` as float32 [D]; itself, if it is that."""
    if isinstance(observation, np.ndarray) and observation.dtype == np.float32:
        return observation.ravel()
    with np.errstate(over="ignore"):
        if isinstance(space, Box):
            return np.asarray(observation, dtype=np.float32).ravel()
        return np.asarray(flatten(space, observation), dtype=np.float32)


def observation_rows(space: Space[Any], batch: Space[Any], observations: Any) -> Row:
    """Observations of B environments as float32 [B, D].

    Args:
        space: Of one environment.
        batch: Of all of them.
        observations: Of `batch`.
    """
    if isinstance(space, Box):
        values = np.asarray(observations)
        with np.errstate(over="ignore"):
            return values.reshape(len(values), -1).astype(np.float32)  # [B, D]
    return np.stack([observation_row(space, one) for one in iterate(batch, observations)])


def action_box(space: Space[Any]) -> Box[Any]:
    """The space of flat actions, float32 with one axis.

    Raises:
        ValueError: If there is none of one length.
    """
    if isinstance(space, MultiDiscrete):
        most = space.nvec.ravel() - 1
        return _float32_box(np.zeros_like(most), most)
    flat = _flat_space(space)
    if flat is None:
        raise ValueError(
            f"actions of {space} are no row of numbers: wrap the environment in an ActionWrapper "
            f"whose space is of Box, Discrete, MultiDiscrete or MultiBinary"
        )
    return _float32_box(flat.low, flat.high)


def action_row(space: Space[Any], action: Any) -> Row:
    """An action of `space` as float32 [A].

    Raises:
        ValueError: If it is none of finitely many.
    """
    if isinstance(space, Discrete):
        number = int(action) - int(space.start)
        row: Row = np.zeros(int(space.n), dtype=np.float32)
        if not 0 <= number < len(row):
            raise ValueError(f"action must be one of {space}, got {action}")
        row[number] = 1.0
        return row
    if isinstance(space, MultiDiscrete):
        return np.asarray(np.asarray(action) - space.start, dtype=np.float32).ravel()
    with np.errstate(over="ignore"):
        if isinstance(space, Box):
            return np.asarray(np.clip(action, space.low, space.high), dtype=np.float32).ravel()
        return np.asarray(flatten(space, action), dtype=np.float32)


def _flat_space(space: Space[Any]) -> Box[Any] | None:
    """Gymnasium's flat space; None where it is not one of numbers, or of no fixed length."""
    try:
        flat = flatten_space(space)
    except NotImplementedError:
        return None
    return flat if isinstance(flat, Box) else None


def _float32_box(low: NDArray[Any], high: NDArray[Any]) -> Box[Any]:
    with np.errstate(over="ignore"):  # what float32 does not reach is infinite
        return Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)


def _remedy(space: Space[Any]) -> str:
    if isinstance(space, Dict):
        kept = [key for key, part in space.items() if _flat_space(part) is not None]
        if kept:
            return f"keep those that are, with gymnasium.wrappers.FilterObservation(env, {kept})"
    return "wrap the environment in an ObservationWrapper whose space is a Box"
