"""Any Gymnasium vector environment in front of a tensor rollout: arrays in, tensors out.

For environments that are no tensor programs, through `gymnasium.vector.SyncVectorEnv` or
`AsyncVectorEnv`. Whatever its autoreset mode, it behaves here as if autoreset were DISABLED: an
environment whose episode has ended stays as it is until the next `reset`, pays 0 and keeps its
flags. What the environment below does meanwhile, NEXT_STEP's phantom steps included, is not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray
from torch import Tensor

Arrays = NDArray[Any]
HostEnv = SyncVectorEnv | AsyncVectorEnv


class HostVectorEnv:
    """B environments on the host as a `rollout.TensorVectorEnv`.

    ``reset(options={"tasks": [...]})`` sets the task of every environment, then starts an episode;
    other options are handed down. Observations are flattened to float32 ``[B, I]``, actions are
    handed down in the dtype of the action space, neither clipped nor scaled (wrap the environment
    in `gymnasium.wrappers.ClipAction` where it does not do so itself).
    """

    def __init__(
        self,
        env: HostEnv,
        *,
        device: torch.device | str = "cpu",
        task_via: Literal["attribute", "option"] = "attribute",
        task_name: str = "task",
    ) -> None:
        """Stand in front of ``env``.

        Args:
            env: A Gymnasium vector environment.
            device: Where the tensors live.
            task_via: How an environment is told its task: by an attribute (``set_attr``, before the
                reset), or by an option of its ``reset``.
            task_name: Of the attribute or option. An attribute behind wrappers is found; it must
                be there from the beginning.

        Raises:
            ValueError: The observations are no arrays, or the autoreset mode is not declared.
        """
        if not isinstance(env.single_observation_space, gymnasium.spaces.Box):
            raise ValueError(
                "observations must be arrays (a Box space), got "
                f"{env.single_observation_space}: wrap the environments, e.g. in "
                "gymnasium.wrappers.FlattenObservation"
            )
        mode = env.metadata.get("autoreset_mode")
        if not isinstance(mode, AutoresetMode):
            raise ValueError(
                f"the environment must declare metadata['autoreset_mode'], got {mode!r}"
            )
        self.env, self.mode = env, mode
        self.device, self.task_via, self.task_name = torch.device(device), task_via, task_name
        self._observations: Arrays = np.zeros(())
        self._terminated = self._truncated = np.zeros(env.num_envs, dtype=np.bool_)
        self._ended_below = self._terminated  # under DISABLED: not to be stepped before a reset

    @property
    def num_envs(self) -> int:
        """B."""
        return self.env.num_envs

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Start an episode everywhere; see the class.

        Args:
            seed: As Gymnasium's: environment i begins its own randomness anew from ``seed + i``,
                or from the i-th of B seeds; None: it goes on.
            options: ``tasks`` and what the environments understand.

        Raises:
            ValueError: The tasks are not one for each environment, or an environment has no
                attribute to keep its task in.
        """
        rest = dict(options or {})
        tasks = rest.pop("tasks", None)
        seeds = list(seed) if isinstance(seed, Sequence) else seed
        if tasks is not None and len(tasks) != self.num_envs:
            raise ValueError(
                f"got {len(tasks)} tasks for {self.num_envs} environments: give one for each"
            )
        if tasks is not None and self.task_via == "option":
            observations = self._reset_one_by_one(tasks, seeds, rest)
        else:
            if tasks is not None:
                self._set_tasks(tasks)
            observations, _ = self.env.reset(seed=seeds, options=rest or None)
        self._observations = np.array(observations)
        self._terminated = np.zeros(self.num_envs, dtype=np.bool_)
        self._truncated, self._ended_below = self._terminated.copy(), self._terminated.copy()
        return self._tensor(self._observations), {}

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Do an action everywhere; an environment that has ended does nothing."""
        ended = self._terminated | self._truncated
        rewards = np.zeros(self.num_envs)
        if not ended.all():
            if self.mode is AutoresetMode.DISABLED and self._ended_below.any():
                self.env.reset(options={"reset_mask": self._ended_below.copy()})
            array = actions.cpu().numpy().astype(self.env.single_action_space.dtype, copy=False)
            observations, paid, terminated, truncated, info = self.env.step(array)
            self._ended_below = terminated | truncated
            led_to = self._led_to(np.array(observations), info)
            where = ended.reshape(-1, *(1,) * (led_to.ndim - 1))
            self._observations = np.where(where, self._observations, led_to)
            rewards = np.where(ended, 0.0, paid)
            self._terminated = np.where(ended, self._terminated, terminated)
            self._truncated = np.where(ended, self._truncated, truncated)
        terminated_now = torch.as_tensor(self._terminated, device=self.device)
        truncated_now = torch.as_tensor(self._truncated, device=self.device)
        reward = torch.as_tensor(rewards, dtype=torch.float32, device=self.device)
        return self._tensor(self._observations), reward, terminated_now, truncated_now, {}

    def _led_to(self, observations: Arrays, info: dict[str, Any]) -> Arrays:
        """What the step led to, not where an environment has begun anew."""
        if self.mode is AutoresetMode.SAME_STEP and "final_obs" in info:
            for i in np.flatnonzero(info["_final_obs"]):
                observations[i] = info["final_obs"][i]
        return observations

    def _set_tasks(self, tasks: Sequence[Any]) -> None:
        """Gymnasium's ``set_attr`` finds an attribute behind wrappers, or makes a new one."""
        if not all(self.env.call("has_wrapper_attr", self.task_name)):
            raise ValueError(
                f"the environments have no attribute {self.task_name!r} for their task: give "
                "task_name= an attribute that they have from the beginning, or task_via='option'"
            )
        self.env.set_attr(self.task_name, list(tasks))

    def _reset_one_by_one(
        self, tasks: Sequence[Any], seed: int | list[int | None] | None, options: dict[str, Any]
    ) -> Arrays:
        """An option is the same for all environments of a reset: one reset for each task."""
        chosen = {**options, self.task_name: tasks[0]}
        observations, _ = self.env.reset(seed=seed, options=chosen)
        for i, task in enumerate(tasks[1:], 1):
            only = np.arange(self.num_envs) == i
            chosen = {**options, self.task_name: task, "reset_mask": only}
            observations, _ = self.env.reset(seed=seed, options=chosen)
        return np.asarray(observations)

    def _tensor(self, observations: Arrays) -> Tensor:
        flat = observations.reshape(self.num_envs, -1)
        return torch.tensor(flat, dtype=torch.float32, device=self.device)
