"""What our vector wrappers share: tensors within, and without what the environment speaks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from gymnasium.vector import VectorEnv, VectorWrapper

from ..base.arrays import numpy_info, numpy_step, to_numpy
from ..base.randomness import Generators
from ..base.tensor import Seed, StepResult, TensorEnv

__all__ = ["TensorWrapper", "task_environment", "tensor_device"]


class TensorWrapper(VectorWrapper[Any, Any, Any, Any, Any]):
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
        if self._base.speaks_numpy and not isinstance(env, TensorEnv | TensorWrapper):
            raise TypeError(
                f"{type(self).__name__} computes with tensors, and {type(env).__name__} inside it "
                f"passes arrays of NumPy on: put it around {type(self).__name__}, or make the "
                f"environment with device='cpu'"
            )

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
        """Starts an episode everywhere; seed and options are the environment's."""
        observations, info = self.reset_tensors(seed, options)
        if self._base.speaks_numpy:
            return to_numpy(observations), numpy_info(info, self.num_envs)
        return observations, info

    def step(self, actions: Any) -> Any:
        """Does one action everywhere, as the environment does."""
        result = self.step_tensors(actions)
        return numpy_step(*result) if self._base.speaks_numpy else result

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
        if isinstance(self.env, TensorEnv | TensorWrapper):
            return self.env.reset_tensors(seed, options)
        return self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]

    def _inner_step(self, actions: Any) -> StepResult:
        if isinstance(self.env, TensorEnv | TensorWrapper):
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
