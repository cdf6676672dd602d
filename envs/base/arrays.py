"""NumPy arrays in place of tensors, for the results of a vector environment.

The forms are those of Gymnasium's own vector environments: rewards float64, every array a copy of
its own, an entry of ``info`` beside a mask ``_name`` of the environments it belongs to, and
``final_obs`` an array of arrays, there only when an episode has ended.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["NumpyStep", "as_tensor", "numpy_info", "numpy_step", "to_numpy"]

NumpyStep = tuple[
    NDArray[Any], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
]


def as_tensor(values: Any, device: torch.device, dtype: torch.dtype | None = None) -> torch.Tensor:
    """``torch.as_tensor``, for arrays that may not be written into as well."""
    if isinstance(values, np.ndarray) and not values.flags.writeable:
        values = values.copy()
    return torch.as_tensor(values, dtype=dtype, device=device)


def to_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    """A copy on the host."""
    return tensor.detach().cpu().numpy().copy()


def numpy_step(
    observations: torch.Tensor,
    rewards: torch.Tensor,
    terminated: torch.Tensor,
    truncated: torch.Tensor,
    info: dict[str, Any],
) -> NumpyStep:
    """The result of a step."""
    paid = to_numpy(rewards).astype(np.float64)
    flags = to_numpy(terminated), to_numpy(truncated)
    return to_numpy(observations), paid, *flags, numpy_info(info, len(paid))


def numpy_info(info: dict[str, Any], num_envs: int) -> dict[str, Any]:
    """An info dict of tensors [B, ...], of dicts of them, and of what holds for all alike."""
    everywhere, ended = np.ones(num_envs, dtype=np.bool_), info.get("_final_obs")
    converted: dict[str, Any] = {}
    for name, value in info.items():
        if name in ("final_obs", "final_info"):
            assert ended is not None
            if not bool(ended.any()):
                continue
            converted[name] = _each(value, ended) if name == "final_obs" else value
            converted[f"_{name}"] = to_numpy(ended)
        elif not name.startswith("_"):
            converted[name] = _entry(value, num_envs)
            converted[f"_{name}"] = everywhere.copy()
    return converted


def _entry(value: Any, num_envs: int) -> Any:
    if isinstance(value, dict):
        return numpy_info(value, num_envs)
    return to_numpy(value) if isinstance(value, torch.Tensor) else np.full(num_envs, value)


def _each(values: torch.Tensor, where: torch.Tensor) -> NDArray[np.object_]:
    """Object [B]: the row of each environment where `where` is True, None elsewhere."""
    rows = np.full(len(values), None, dtype=object)
    for number, row in enumerate(to_numpy(values)):
        if where[number]:
            rows[number] = row
    return rows
