"""The base of our vector wrappers: tensors within, and outside what the environment speaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium.vector import VectorEnv, VectorWrapper

from ..base.arrays import Seed, StepResult, TensorProgram
from ..base.randomness import Generators
from ..base.tensor import TensorEnv

__all__ = ["TensorWrapper", "task_environment", "tensor_device"]


class TensorWrapper(TensorProgram, VectorWrapper[Any, Any, Any, Any, Any]):
    """A wrapper around a tensor environment, whether that speaks tensors or NumPy.

    Args:
        env: A tensor environment of this package, or wrappers around one.

    Raises:
        TypeError: If it is another environment, or a wrapper of another kind around one that speaks
            NumPy.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        super().__init__(env)
        self._base: Any = task_environment(env)
        self._device = tensor_device(env)
        if self._base.speaks_numpy and not isinstance(env, TensorProgram):
            raise TypeError(
                f"{type(self).__name__} computes with tensors, and {type(env).__name__} inside it "
                f"passes arrays of NumPy on: put it around {type(self).__name__}, or make the "
                f"environment with device='cpu'"
            )

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


def task_environment(env: Any) -> Any:
    """The environment of this package inside `env`: a maze or one with tasks of another kind.

    Raises:
        TypeError: If there is none.
    """
    inner = env.unwrapped
    if not hasattr(inner, "step_options") or not hasattr(inner, "reward_range"):
        raise TypeError(
            f"expected a grid maze (metarl/GridMaze-v0) or another environment of this package, "
            f"got {env}"
        )
    return inner


def tensor_device(env: Any) -> torch.device:
    """The device of a tensor environment.

    Raises:
        TypeError: If it is another kind of vector environment.
    """
    if not isinstance(env.unwrapped, TensorEnv):
        raise TypeError(
            f"expected a tensor environment such as GridMazeVectorEnv, got {env}: wrap each single "
            f"environment in a sync or async one instead"
        )
    return env.unwrapped.device
