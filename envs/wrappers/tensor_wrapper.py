"""The base of our wrappers of tensor environments: tensors within, and outside what they speak."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from gymnasium.vector import VectorWrapper

from ..base.arrays import Seed, StepResult, TensorProgram
from ..base.clock import episode_horizon
from ..base.randomness import Generators
from ..base.tensor import TensorEnv

__all__ = ["TensorWrapper", "takes_tensors"]


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
