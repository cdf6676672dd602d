"""Any Gymnasium vector environment in front of a tensor rollout: arrays in, tensors out.

For environments that are no tensor programs, through `gymnasium.vector.SyncVectorEnv` or
`AsyncVectorEnv`, vector wrappers around them included. Whatever its autoreset mode, it behaves here
as if autoreset were DISABLED: an environment whose episode has ended stays as it is until the next
`reset`, pays 0 and keeps its flags. What the environment below does meanwhile, NEXT_STEP's phantom
steps included, is not seen.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Space
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from metarl.rl.spaces import PlainActions, array_remedy
from metarl.rl.task_check import (
    Via,
    WatchedOptions,
    check_difference,
    fresh_pair,
    ignored_option,
    two_different,
)

Arrays = NDArray[Any]
HostEnv = VectorEnv[Any, Any, Any]
Seeds = int | Sequence[int | None] | NDArray[np.integer[Any]] | None


class HostVectorEnv:
    """B environments on the host as a `collector.TensorVectorEnv`.

    ``reset(options={"tasks": [...]})`` sets the task of every environment, then starts an episode;
    other options are handed down. Observations are flattened to float32 ``[B, I]``, images and
    whole numbers too, which are not scaled. Actions are those of `single_action_space`: they are
    shifted to where the environment counts from, given its axes, and clipped to the bounds of a
    ``Box`` (the log-probability stays that of the action before it is clipped, as usual).

    Attributes:
        single_observation_space: Observations of one environment, flat.
        single_action_space: Actions of one environment, as policies draw them: from 0, in one row.
    """

    def __init__(
        self,
        env: HostEnv,
        *,
        device: torch.device | str = "cpu",
        task_via: Via = "attribute",
        task_name: str = "task",
        check_tasks: bool = True,
    ) -> None:
        """Stand in front of ``env``.

        Args:
            env: A Gymnasium vector environment, or vector wrappers around one.
            device: Device of the tensors.
            task_via: Way to tell an environment its task: by an attribute (``set_attr``, before the
                reset), or by an option of its ``reset``.
            task_name: Name of attribute or option. An attribute behind wrappers is found; it must
                be there from the beginning.
            check_tasks: Whether the first two tasks that differ are tried in two environments made
                for it, which must behave differently (`task_check`).

        Raises:
            ValueError: The observations are no arrays, or the autoreset mode is not declared.
        """
        observed = env.single_observation_space
        if not isinstance(observed, Box):
            raise ValueError(
                f"observations must be arrays (a Box space), got {observed}: "
                f"{array_remedy(observed)}"
            )
        mode = env.metadata.get("autoreset_mode")
        if not isinstance(mode, AutoresetMode):
            raise ValueError(
                f"the environment must declare metadata['autoreset_mode'], got {mode!r}"
            )
        self.env, self.mode = env, mode
        self.device = torch.device(device)
        self.task_via: Via = task_via
        self.task_name = task_name
        self._actions = PlainActions(env.single_action_space)
        self.single_action_space: Space[Any] = self._actions.plain
        low, high = (bound.ravel().astype(np.float32) for bound in (observed.low, observed.high))
        self.single_observation_space = Box(low, high, dtype=np.float32)
        self._seen_tasks: list[Any] | None = [] if check_tasks else None  # None: checked
        self._observations: Arrays = np.zeros(())
        self._terminated = self._truncated = np.zeros(env.num_envs, dtype=np.bool_)
        self._ended_below = self._terminated  # under DISABLED: not to be stepped before a reset

    @property
    def num_envs(self) -> int:
        """Number of environments, B."""
        return self.env.num_envs

    def reset(
        self, *, seed: Seeds = None, options: dict[str, Any] | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Start an episode everywhere; see the class.

        Args:
            seed: Seed as Gymnasium's: environment i begins its own randomness again from
                ``seed + i``, or from the i-th of B seeds; None: it goes on.
            options: ``tasks`` and what the environments understand.

        Raises:
            ValueError: The tasks are not one for each environment, or do not reach it; or an
                observation is not finite.
        """
        rest = dict(options or {})
        tasks = rest.pop("tasks", None)
        if tasks is not None:
            if len(tasks) != self.num_envs:
                raise ValueError(
                    f"got {len(tasks)} tasks for {self.num_envs} environments: give one for each"
                )
            if self.task_via == "attribute":
                self._set_tasks(tasks)
            self._try_tasks(tasks, rest)
        if tasks is not None and self.task_via == "option":
            observations = self._reset_one_by_one(tasks, whole_seeds(seed), rest)
        else:
            observations = self._reset_below(whole_seeds(seed), rest or None)
        self._observations = np.array(observations)
        self._terminated = np.zeros(self.num_envs, dtype=np.bool_)
        self._truncated, self._ended_below = self._terminated.copy(), self._terminated.copy()
        check_finite("observation", self._observations, ~self._terminated)
        return self._tensor(self._observations), {}

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Do an action everywhere; an environment that has ended does nothing.

        Raises:
            ValueError: An action is not of the space, or what it led to is not finite.
        """
        ended = self._terminated | self._truncated
        rewards = np.zeros(self.num_envs)
        if not ended.all():
            if self.mode is AutoresetMode.DISABLED and self._ended_below.any():
                # Below all vector wrappers, for it belongs to no episode that counts.
                self.env.unwrapped.reset(options={"reset_mask": self._ended_below.copy()})
            array = self._actions.taken(actions.detach().cpu().numpy())
            with naming(self.env):
                observations, paid, terminated, truncated, info = self.env.step(array)
            paid, terminated, truncated = (
                self._one_each(name, part)
                for name, part in (
                    ("rewards", paid),
                    ("terminated", terminated),
                    ("truncated", truncated),
                )
            )
            self._ended_below = terminated | truncated
            led_to = self._led_to(np.array(as_array(observations)), info)
            check_finite("observation", led_to, ~ended)
            check_finite("reward", paid, ~ended)
            where = ended.reshape(-1, *(1,) * (led_to.ndim - 1))  # [B, 1, ...]
            self._observations = np.where(where, self._observations, led_to)
            rewards = np.where(ended, 0.0, paid)
            self._terminated = np.where(ended, self._terminated, terminated)
            self._truncated = np.where(ended, self._truncated, truncated)
        terminated_now = torch.as_tensor(self._terminated, device=self.device)
        truncated_now = torch.as_tensor(self._truncated, device=self.device)
        reward = torch.as_tensor(rewards, dtype=torch.float32, device=self.device)
        return self._tensor(self._observations), reward, terminated_now, truncated_now, {}

    def close(self) -> None:
        """Close the environments."""
        self.env.close()

    # Tasks ----------------------------------------------------------------------------------

    @property
    def _single(self) -> SyncVectorEnv | AsyncVectorEnv:
        """Return the vector of single environments, below all vector wrappers."""
        base = self.env.unwrapped
        if not isinstance(base, SyncVectorEnv | AsyncVectorEnv):
            raise ValueError(
                f"{type(base).__name__} has no single environments to give tasks to: use "
                "SyncVectorEnv or AsyncVectorEnv (vectorization_mode='sync')"
            )
        return base

    def _set_tasks(self, tasks: Sequence[Any]) -> None:
        """Gymnasium's ``set_attr`` finds an attribute behind wrappers, or makes a new one."""
        if not all(self._single.call("has_wrapper_attr", self.task_name)):
            raise ValueError(
                f"the environments have no attribute {self.task_name!r} for their task: give "
                "task_name= an attribute that they have from the beginning, or task_via='option'"
            )
        try:
            self._single.set_attr(self.task_name, list(tasks))
        except AttributeError as error:
            raise ValueError(
                f"the attribute {self.task_name!r} cannot be set: give task_name= another, a "
                "property a setter, or task_via='option'"
            ) from error

    def _try_tasks(self, tasks: Sequence[Any], options: dict[str, Any]) -> None:
        """Check, at the first two tasks that differ, that they make a difference."""
        if self._seen_tasks is None:
            return
        pair = two_different([*self._seen_tasks, *tasks])
        self._seen_tasks = [tasks[0]] if pair is None else None
        if pair is not None:
            base = self._single
            live = base.envs if isinstance(base, SyncVectorEnv) else []
            fresh = fresh_pair(base.env_fns[0], live)
            if fresh is not None:
                check_difference(*fresh, self.task_via, self.task_name, pair, options)

    def _reset_one_by_one(
        self, tasks: Sequence[Any], seed: int | list[int | None] | None, options: dict[str, Any]
    ) -> Arrays:
        """An option is the same for all environments of a reset: one reset for each task."""
        name = self.task_name
        first = WatchedOptions({**options, name: tasks[0]}, name)
        in_this_process = isinstance(self._single, SyncVectorEnv)
        observations = self._reset_below(seed, first)  # begins them all
        if in_this_process and not first.seen:
            raise ValueError(ignored_option(name))
        for i, task in enumerate(tasks[1:], 1):
            only = np.arange(self.num_envs) == i
            try:
                observations = self._reset_below(seed, {**options, name: task, "reset_mask": only})
            except ValueError as error:
                error.add_note(
                    "tasks that are options need resets of one environment at a time: where a "
                    "vector wrapper refuses them, wrap each environment, or use an attribute"
                )
                raise
        return observations

    # Below ----------------------------------------------------------------------------------

    def _reset_below(
        self, seed: int | list[int | None] | None, options: dict[str, Any] | None
    ) -> Arrays:
        with naming(self.env):
            observations, _ = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        return as_array(observations)

    def _led_to(self, observations: Arrays, info: Any) -> Arrays:
        """Return the observations that a step led to, not those of the next episode."""
        if not isinstance(info, dict):
            raise ValueError(
                f"the info of a step must be a dict, got a {type(info).__name__}: leave the "
                "wrapper out that makes it another (DictInfoToList)"
            )
        if self.mode is AutoresetMode.SAME_STEP and "final_obs" in info:
            for i in np.flatnonzero(info["_final_obs"]):
                observations[i] = info["final_obs"][i]
        return observations

    def _one_each(self, name: str, values: Any) -> Arrays:
        found = np.asarray(values)
        if found.shape != (self.num_envs,):
            raise ValueError(
                f"{name} must be one number for each of {self.num_envs} environments, got the "
                f"shape {found.shape}: return a float or bool from step, not an array with axes"
            )
        return found

    def _tensor(self, observations: Arrays) -> Tensor:
        flat = observations.reshape(self.num_envs, math.prod(observations.shape[1:]))  # [B, I]
        return torch.tensor(flat, dtype=torch.float32, device=self.device)


def whole_seeds(seed: Seeds) -> int | list[int | None] | None:
    """Seeds as Gymnasium takes them: Python's integers, also where they were NumPy's."""
    if seed is None:
        return None
    if isinstance(seed, Sequence) or (isinstance(seed, np.ndarray) and seed.ndim):
        return [None if one is None else operator.index(one) for one in seed]
    return operator.index(seed)


def as_array(observations: Any) -> Arrays:
    """Observations, which must be one array."""
    if not isinstance(observations, np.ndarray):
        raise ValueError(
            f"observations must be NumPy arrays, got a {type(observations).__name__}: leave the "
            "wrapper out that converts them, tensors are made here"
        )
    return observations


def check_finite(what: str, values: Arrays, going: NDArray[np.bool_]) -> None:
    """Check that values of episodes that go on are finite."""
    finite = np.isfinite(values).reshape(len(values), math.prod(values.shape[1:])).all(1)
    wrong = np.flatnonzero(~finite & going)  # numbers of environments
    if len(wrong):
        raise ValueError(
            f"environment {wrong[0]} gave the {what} {values[wrong[0]].tolist()}, which is not "
            "finite: mend it there, or bound it by a wrapper"
        )


@contextmanager
def naming(env: HostEnv) -> Iterator[None]:
    """An error that a single environment raises gets a note which one it was.

    `AsyncVectorEnv` says so itself.
    """
    try:
        yield
    except BaseException as error:
        base, trace = env.unwrapped, error.__traceback__
        while trace is not None:
            found = trace.tb_frame.f_locals
            if found.get("self") is base and isinstance(found.get("i"), int):
                error.add_note(f"raised by environment {found['i']} of {env.num_envs}")
                break
            trace = trace.tb_next
        raise
