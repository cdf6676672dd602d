"""Programs of tensors that may speak NumPy, and NumPy arrays in place of their results.

The arrays have the forms of Gymnasium's own vector environments: rewards float64, every array a
copy of its own, an entry of ``info`` beside a mask ``_name`` of the environments it belongs to, and
``final_obs`` an array of arrays, there only when an episode has ended.
"""

from __future__ import annotations

import reprlib
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Seed", "StepResult", "TensorProgram", "as_tensor"]

Seed = int | Sequence[int | None] | None
StepResult = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]
NumpyStep = tuple[
    NDArray[Any], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
]


class TensorProgram:
    """Reset and step of a tensor environment, or of a wrapper around one. A mixin.

    Attributes:
        num_envs: Number of environments, B.
        speaks_numpy: Whether `reset` and `step` return NumPy arrays instead of tensors.
    """

    num_envs: int
    speaks_numpy: bool

    @abstractmethod
    def reset_tensors(
        self, seed: Seed = None, options: dict[str, Any] | None = None
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """`reset`, always with tensors."""

    @abstractmethod
    def step_tensors(self, actions: Any) -> StepResult:
        """`step`, always with tensors."""

    def reset(
        self, *, seed: Seed = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts an episode everywhere.

        Args:
            seed: Seeds the generator; with G generators, number g gets ``seed + g``, or entry g
                of a sequence. A sequence of B seeds gives each environment a generator of its own,
                unless the generators were given.
            options: See the class of the environment.

        Returns:
            The first observations, float32 [B, ...], and the info dict.

        Raises:
            ValueError: If a seed or an option is unknown, of the wrong form or out of range.
            TypeError: If a task is of another kind.
        """
        observations, info = self.reset_tensors(seed, options)
        if self.speaks_numpy:
            return to_numpy(observations), numpy_info(info, self.num_envs)
        return observations, info

    def step(self, actions: Any) -> Any:
        """Does one action everywhere.

        Args:
            actions: Actions on the environment's device, or what ``torch.as_tensor`` converts.

        Returns:
            Observations float32 [B, ...], the rewards of these actions float32 [B], terminated
            bool [B], truncated bool [B], info. Tensors of flags may be shared between steps: do
            not write into them. Where `speaks_numpy`, arrays, with rewards float64.

        Raises:
            gymnasium.error.ResetNeeded: Before the first reset, or past the end of an episode.
            ValueError: If actions are of the wrong shape or (where checked) out of range.
        """
        result = self.step_tensors(actions)
        return numpy_step(*result) if self.speaks_numpy else result


def as_tensor(
    values: Any,
    device: torch.device,
    dtype: torch.dtype | None = None,
    name: str = "values",
) -> torch.Tensor:
    """``torch.as_tensor``, for arrays that may not be written into as well.

    Args:
        values: Numbers.
        device: Of the tensor.
        dtype: Of the tensor; None: that of the values.
        name: The caller's name for them.

    Raises:
        ValueError: If they are no full array of numbers.
    """
    if isinstance(values, np.ndarray) and not values.flags.writeable:
        values = values.copy()
    try:
        return torch.as_tensor(values, dtype=dtype, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and isinstance(values, torch.Tensor | np.ndarray):
            raise  # of the device
        raise ValueError(
            f"{name} must be an array or a tensor of numbers, got {reprlib.repr(values)}"
        ) from error


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
            where = info.get(f"_{name}")
            converted[f"_{name}"] = everywhere.copy() if where is None else to_numpy(where)
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
