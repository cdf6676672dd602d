"""An SB3 ``VecEnv`` (2.9) whose B environments are one object: attributes, methods and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gymnasium import Space, Wrapper
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from metarl.rl import TensorVectorEnv

Arrays = NDArray[Any]


class BatchedVecEnv(VecEnv):
    """The interface of B environments that share all their settings.

    Attributes:
        env: The tensor environment.

    Args:
        env: The tensor environment.
        observation_space: Observations of one environment.
        action_space: Actions of one environment.
    """

    def __init__(
        self, env: TensorVectorEnv, observation_space: Space[Any], action_space: Space[Any]
    ) -> None:
        self.env = env
        super().__init__(env.num_envs, observation_space, action_space)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute, which is the same for all environments.

        Raises:
            AttributeError: Neither the environment nor what it wraps has it.
        """
        value = found(self.env, attr_name, *([None] if attr_name == "render_mode" else []))
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Raise AttributeError: environments that share all settings cannot be set one by one.

        Raises:
            AttributeError: Always.
        """
        raise AttributeError(
            f"{attr_name} cannot be set for single environments, only task can: make the "
            "environment with other settings"
        )

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Call a method of the environment, which is one for all; its result, B times.

        Raises:
            ValueError: Only some environments are meant.
        """
        if len(set(self._get_indices(indices))) != self.num_envs:
            raise ValueError(
                f"{method_name} is one method for all {self.num_envs} environments: leave out "
                "indices"
            )
        result = found(self.env, method_name)(*method_args, **method_kwargs)
        return [result] * self.num_envs

    def env_is_wrapped(
        self, wrapper_class: type[Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Never: wrappers are of single environments."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[Arrays | None]:
        """Frames, of as many environments as the environment draws."""
        return list(found(self.env, "render")())

    def close(self) -> None:
        """Close the environment, if it can be."""
        if hasattr(self.env, "close"):
            self.env.close()


def found(env: Any, name: str, *default: Any) -> Any:
    """An attribute of an environment, or of what it wraps."""
    while not hasattr(env, name) and hasattr(env, "env"):
        env = env.env
    return getattr(env, name, *default)
