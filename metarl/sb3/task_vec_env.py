"""Tensor environments with tasks as an SB3 ``VecEnv`` (its conventions of version 2.9).

- Arrays in, arrays out; a call of ``step`` begins the next episode wherever one has ended.
- ``done`` is ``terminated or truncated``; ``info["TimeLimit.truncated"]`` says that an end is only
  the limit's (where both are true, termination wins), and SB3 then bootstraps from the value of
  ``info["terminal_observation"]``, what the last step led to.
- A bonus that is paid to who learns and counts for nothing else is part of the reward, and stands
  in ``info["metarl.bonus"]``.
- Actions count from 0 and lie in one row, wherever the environment's begin: SB3 knows no others.
- Seeds and options that are set apply at the next ``reset``, once; a task stays.

Gymnasium environments that are no tensor programs go into SB3's own ``DummyVecEnv``.

The B environments are one object: `BatchedVecEnv` answers for the attributes, methods and pictures
of each.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import Space, Wrapper
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn
from torch import Tensor

from metarl.rl import TensorVectorEnv
from metarl.rl.collector import in_tensors
from metarl.rl.problem import TaskSource
from metarl.rl.spaces import PlainActions
from metarl.sb3.global_generators import child_seed

Arrays = NDArray[Any]

BONUS = "metarl.bonus"
"""Entry of an environment's info: what of the reward is paid for learning alone."""


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


SOURCE_REMEDY = (
    "an environment that begins its episodes itself also draws its tasks itself: hand the source "
    "to the environment, or make it without autoreset"
)


class TaskVecEnv(BatchedVecEnv):
    """B environments, each on a task: given ones, or others at each episode.

    Without ``tasks`` and ``source`` the environment draws them in its own way. Where episodes end
    at different times, it must also begin them on its own (``AutoresetMode.SAME_STEP``).

    ``get_attr("task")`` gives the tasks at hand, ``set_attr("task", ...)`` and
    ``set_options({"task": ...})`` set them for the episodes that the next reset begins.

    Args:
        env: Any `TensorVectorEnv`.
        observation_space: Observations of one environment. Default:
            ``env.single_observation_space``.
        action_space: Actions of one environment. Default: ``env.single_action_space``.
        tasks: B tasks that are kept.
        source: Draws a task for every episode, where all episodes end together.
        generator: Draws from the source; on the CPU. Default: its own.
        wait: If single episodes end and the environment begins no others, let those wait until
            all have ended, instead of refusing. `play_episodes` leaves the wait out; SB3's own
            rollouts would learn from it.

    Raises:
        ValueError: A space is not known, or tasks come from nowhere or from two places.
    """

    def __init__(
        self,
        env: TensorVectorEnv,
        *,
        observation_space: Space[Any] | None = None,
        action_space: Space[Any] | None = None,
        tasks: Sequence[Any] | None = None,
        source: TaskSource | None = None,
        generator: torch.Generator | None = None,
        wait: bool = False,
    ) -> None:
        observed = observation_space or getattr(env, "single_observation_space", None)
        acted = action_space or getattr(env, "single_action_space", None)
        if observed is None or acted is None:
            raise ValueError(
                f"{type(env).__name__} does not say its spaces: give observation_space and "
                "action_space, those of one environment"
            )
        if tasks is not None and source is not None:
            raise ValueError("give tasks, which are kept, or a source of tasks, not both")
        if source is not None and found(env, "autoreset_mode", None) is AutoresetMode.SAME_STEP:
            raise ValueError(SOURCE_REMEDY)
        self._source, self._wait = source, wait
        if generator is None:
            generator = torch.Generator()
            generator.seed()
        self._generator = generator
        self._takes_seeds = "seed" in inspect.signature(env.reset).parameters
        self._tasks: list[Any] | None = None
        self._actions: Tensor = torch.empty(0)
        self._device = torch.device("cpu")
        self._waiting = np.zeros(env.num_envs, dtype=np.bool_)
        self._taken_by_env = PlainActions(acted)
        self._action_type = torch.float32 if isinstance(acted, Box) else torch.int64
        super().__init__(env, observed, self._taken_by_env.plain)
        if tasks is not None:
            self._keep(tasks)

    # Episodes -------------------------------------------------------------------------------

    def reset(self) -> Arrays:
        """Begin an episode everywhere; observations ``[B, ...]``."""
        if any(self._options):
            self._keep([self._task_of(options) for options in self._options])
        seed = self._seeds[0]
        self._reset_seeds()
        self._reset_options()
        return self._begin(seed)

    def step_async(self, actions: Arrays) -> None:
        """Take note of actions ``[B]`` or ``[B, A]``.

        Raises:
            ValueError: They are not of the action space.
        """
        taken = self._taken_by_env.taken(np.asarray(actions))
        self._actions = torch.as_tensor(taken, dtype=self._action_type, device=self._device)

    def step_wait(self) -> VecEnvStepReturn:
        """Do them; observations ``[B, ...]``, rewards float32 ``[B]``, dones ``[B]``, infos."""
        observation, reward, terminated, truncated, info = in_tensors(self.env)[1](self._actions)
        dones = (terminated | truncated).cpu().numpy() & ~self._waiting
        infos: list[dict[str, Any]]
        infos = [{"TimeLimit.truncated": t} for t in (truncated & ~terminated).tolist()]
        if "bonus" in info:
            for of_one, bonus in zip(infos, info["bonus"].tolist(), strict=True):
                of_one[BONUS] = bonus
        after = self._array(observation)
        if dones.any():
            led_to = after
            if info.get("final_obs") is not None:  # it has begun the next episodes itself
                led_to = self._array(info["final_obs"])
                if self._source is not None:
                    raise ValueError(SOURCE_REMEDY)
            elif self._all_have_ended(dones):
                after = self._begin()
            for n in np.flatnonzero(dones):
                infos[n]["terminal_observation"] = led_to[n]
        return after, reward.cpu().numpy().astype(np.float32), dones, infos

    # Tasks ----------------------------------------------------------------------------------

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """``task``: the tasks at hand; any other attribute is the same for all environments.

        Raises:
            AttributeError: Neither the environment nor what it wraps has it.
        """
        if attr_name != "task":
            return super().get_attr(attr_name, indices)
        tasks = self._tasks if self._tasks is not None else found(self.env, "tasks")
        return [tasks[n] for n in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """``task``: of the episodes that the next reset begins; kept from then on.

        Raises:
            AttributeError: It is another attribute.
        """
        if attr_name != "task":
            return super().set_attr(attr_name, value, indices)
        chosen = set(self._get_indices(indices))
        rest = [None] * self.num_envs if len(chosen) == self.num_envs else self.get_attr("task")
        self._keep([value if n in chosen else task for n, task in enumerate(rest)])

    # Helpers --------------------------------------------------------------------------------

    def _begin(self, seed: int | None = None) -> Arrays:
        """Begin episodes on the tasks that are kept or drawn."""
        seeds: dict[str, Any] = {}
        if seed is not None:
            if not self._takes_seeds:
                raise ValueError(
                    f"the reset of {type(self.env).__name__} takes no seed: make it with a "
                    "generator of its own and leave out the seed (PPO(seed=None))"
                )
            self._generator.manual_seed(child_seed(seed, 1))
            seeds = {"seed": seed}
        tasks = self._tasks
        if tasks is None and self._source is not None:
            tasks = list(self._source.sample(self.num_envs, self._generator))
        options = None if tasks is None else {"tasks": tasks}
        observation, _ = in_tensors(self.env)[0](options=options, **seeds)
        self._waiting = np.zeros_like(self._waiting)
        self._device = observation.device
        return self._array(observation)

    def _all_have_ended(self, dones: Arrays) -> bool:
        """Whether the next episodes can begin, in an environment that waits for it."""
        self._waiting = self._waiting | dones
        if not (self._wait or self._waiting.all()):
            raise ValueError(
                f"{int(dones.sum())} of {self.num_envs} episodes have ended and the environment "
                "does not begin others: make it with autoreset_mode=AutoresetMode.SAME_STEP"
            )
        return bool(self._waiting.all())

    def _keep(self, tasks: Sequence[Any]) -> None:
        if len(tasks) != self.num_envs:
            raise ValueError(
                f"got {len(tasks)} tasks for {self.num_envs} environments: give one for each"
            )
        self._tasks = list(tasks)

    def _task_of(self, options: dict[str, Any]) -> Any:
        if set(options) != {"task"}:
            raise ValueError(f"the options must be {{'task': ...}} everywhere, got {options}")
        return options["task"]

    def _array(self, observation: Tensor) -> Arrays:
        """A new array ``[B, ...]`` of the observation space's dtype."""
        return observation.cpu().numpy().astype(self.observation_space.dtype)
