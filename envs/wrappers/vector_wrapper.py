"""Base of the wrappers of vector environments.

`TensorWrapper` is the base of those around tensor environments: tensors within, and outside what
they speak. Around other vectors some environments are reset, by the option ``reset_mask``, while
the others go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.vector.utils import concatenate, create_empty_array, iterate
from numpy.typing import NDArray

from ..base.arrays import Seed, StepResult, TensorProgram
from ..base.clock import episode_horizon
from ..base.randomness import Generators
from ..base.tensor import TensorEnv

__all__ = [
    "TensorWrapper",
    "check_partial_resets",
    "info_where",
    "reset_where",
    "rows_where",
    "takes_tensors",
]


def takes_tensors(env: Any) -> bool:
    """Whether `env` is a tensor environment of this package that is reached by tensors.

    One that speaks NumPy is not, behind a wrapper of another kind.
    """
    base = env.unwrapped
    return isinstance(base, TensorEnv) and (isinstance(env, TensorProgram) or not base.speaks_numpy)


class TensorWrapper(TensorProgram, VectorWrapper[Any, Any, Any, Any, Any]):
    """A wrapper around a tensor environment, whether that speaks tensors or NumPy.

    Args:
        env: A tensor environment of this package, or wrappers around one.
    """

    @cached_property
    def _base(self) -> Any:
        """The tensor environment itself."""
        return self.env.unwrapped

    @cached_property
    def _device(self) -> torch.device:
        device: torch.device = self._base.device
        return device

    @property
    def speaks_numpy(self) -> bool:  # type: ignore[override]
        """Whether `reset` and `step` return NumPy arrays instead of tensors."""
        spoken: bool = self._base.speaks_numpy
        return spoken

    def task_tensor(self, tasks: Sequence[Any]) -> torch.Tensor:
        """The numbers of tasks, [N, D]; see `envs.base.tensor.TensorEnv.task_tensor`."""
        numbers: torch.Tensor = self._base.task_tensor(tasks)
        return numbers

    def use_generators(self, generator: Generators) -> None:
        """Draws by other generators from the next reset on."""
        self._base.use_generators(generator)

    def use_share(self, whole: int, start: int) -> None:
        """Draws as a part of more environments, from the next reset on."""
        self._base.use_share(whole, start)

    def _one_horizon(self, given: int | None) -> int:
        """The horizon of `env`, which `given` may say again.

        Raises:
            ValueError: If `given` is another.
        """
        horizon = episode_horizon(self.env)
        if given is not None and given != horizon:
            raise ValueError(
                f"horizon={given}, but the episodes of {self.env} have {horizon} steps: make the "
                f"environment with horizon={given}"
            )
        return horizon

    def _inner_reset(
        self, seed: Seed, options: dict[str, Any] | None
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        if isinstance(self.env, TensorProgram):
            return self.env.reset_tensors(seed, options)
        return self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]

    def _inner_step(self, actions: Any) -> StepResult:
        if isinstance(self.env, TensorProgram):
            return self.env.step_tensors(actions)
        return self.env.step(actions)


# Resets of some environments ----------------------------------------------------------------------


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


def info_where(where: Bools, new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """An info dict in Gymnasium's form, arrays [B] beside masks: `new` where `where`, else `old`.

    What `new` does not name stays as it is.
    """
    merged = dict(old)
    for name, value in new.items():
        before: Any = merged.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            merged[name] = info_where(where, value, before)
        elif np.shape(value) != np.shape(before) or not isinstance(value, np.ndarray):
            merged[name] = value
        elif name.startswith("_"):
            merged[name] = before | (value & where)
        else:
            here = where & new.get(f"_{name}", where)
            merged[name] = before.astype(np.result_type(before, value))
            merged[name][here] = value[here]
    return merged
