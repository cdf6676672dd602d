"""What the tensor environments share: B episodes, each on its own task, as one tensor program.

The twin of `envs.task_environment`. Everything stays on the device and a step never waits for it:
the step counter is a Python integer, so that truncation is known without asking, and random numbers
are drawn ahead in blocks.

Where episodes can terminate early they end at different times, which the host does not know:

- DISABLED: an environment that has terminated stays as it is until the next ``reset``, pays 0 and
  keeps saying ``terminated``; an episode's rewards can so be summed over the whole horizon.
- SAME_STEP: each environment starts its next episode on its own. ``info["final_obs"]`` is there at
  every step, and ``info["_final_obs"]`` says where it counts.
- NEXT_STEP is refused, for its phantom steps would fall at different times.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Space
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from envs.dynamics import as_actions
from envs.generator_blocks import GeneratorBlocks
from envs.settings import check_options
from envs.step_randomness import StepRandomness
from envs.task_checks import check_horizon, check_task_type
from envs.task_values import Task, TaskSource, Tensors, stack_tasks

__all__ = ["StepResult", "TaskVectorEnv"]

T = TypeVar("T", bound=Task)
StepResult = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]
Generators = torch.Generator | Sequence[torch.Generator] | None

OPTIONS = ("tasks", "same_task", "reset_mask")


class TaskVectorEnv(VectorEnv[torch.Tensor, torch.Tensor, torch.Tensor], Generic[T]):
    """B environments whose tasks can be set, on a torch device.

    ``reset(options={"tasks": tasks})`` sets B tasks, kept until others are set; ``{"tasks": None}``
    goes back to drawing. ``{"same_task": True}`` starts another episode on the tasks at hand.

    Attributes: as in `envs.task_environment.TaskEnv`.

    Args:
        num_envs: Number of environments, B, at least 1.
        tasks: Where tasks come from when none are set.
        horizon: Steps in an episode, at least 1.
        observation_space: Of one environment.
        action_space: Of one environment.
        device: Where all tensors live.
        generator: One generator on `device`, or G of them, of which each drives B / G
            environments in a row. By default the environment's own.
        autoreset_mode: What happens at the end of an episode.

    Raises:
        ValueError: If a setting is out of range.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  # Gymnasium's own declaration
        "render_modes": [],
        "autoreset_mode": AutoresetMode.DISABLED,
    }
    task_type: type[T]
    step_options: ClassVar[tuple[str, ...]] = ()
    may_terminate: bool = False
    reward_range: tuple[float, float]

    def __init__(
        self,
        num_envs: int,
        tasks: TaskSource[T],
        horizon: int,
        observation_space: Space[Any],
        action_space: Space[Any],
        *,
        device: torch.device | str,
        generator: Generators,
        autoreset_mode: AutoresetMode | str,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        self.num_envs = int(num_envs)
        self.horizon = check_horizon(horizon)
        self.task_distribution = tasks
        self.device = torch.device(device)
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.single_observation_space = observation_space
        self.single_action_space = action_space
        self.observation_space = batch_space(observation_space, self.num_envs)
        self.action_space = batch_space(action_space, self.num_envs)
        self._generators = GeneratorBlocks(generator, self.num_envs, self.device)
        self._random = StepRandomness(self.step_options, self._generators, self.horizon)
        self._check_autoreset()
        self._zero = torch.zeros((), dtype=torch.float32, device=self.device)
        self._false = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        self._true = ~self._false
        self._fixed: Tensors | None = None
        self._params: Tensors = ()
        self._elapsed: int | None = None

    # What an environment says ---------------------------------------------------------------

    @abstractmethod
    def _begin(self, started: torch.Tensor | None) -> None:
        """Starts episodes where `started`, bool [B], is True; everywhere if None."""

    @abstractmethod
    def _read_actions(self, actions: Any) -> torch.Tensor:
        """The actions, checked, on the device."""

    @abstractmethod
    def _advance(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Does the actions; rewards float32 [B], and where an end is reached, bool [B] or None."""

    @abstractmethod
    def _observe(self) -> torch.Tensor:
        """float32 [B, ...], a new tensor."""

    # The episode ----------------------------------------------------------------------------

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Starts an episode everywhere.

        Args:
            seed: Seeds the generator; with G generators, number g gets ``seed + g``, or entry g
                of a list.
            options: ``tasks``, ``same_task``, the class's `step_options`, [horizon, B] each, and
                ``reset_mask``, which must be all True.

        Returns:
            The first observations, float32 [B, ...], and ``{"task_parameters": ...}``, the tuple
            of the arrays of the tasks, [B, ...] each.

        Raises:
            ValueError: If an option is unknown or of the wrong form.
            TypeError: If a task is of another kind.
        """
        chosen = check_options(options, (*OPTIONS, *self.step_options))
        mask = chosen.get("reset_mask")
        if mask is not None and not bool(np.all(np.asarray(mask))):
            raise ValueError(
                "reset_mask leaves some environments running, but they are reset together: use a "
                "mask of True, or AutoresetMode.SAME_STEP"
            )
        if seed is not None:
            self._generators.seed(seed)
        self._choose_tasks(chosen)
        self._random.begin(chosen)
        self._elapsed = 0
        self._ended = self._false
        if self._out_of_step:
            self._steps = torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)
        self._begin(None)
        return self._observe(), self._info()

    def step(self, actions: torch.Tensor) -> StepResult:
        """Does one action everywhere.

        Args:
            actions: On `device`; anything ``torch.as_tensor`` takes is converted.

        Returns:
            Observations float32 [B, ...], the rewards of these actions float32 [B], terminated
            bool [B], truncated bool [B], info. The flags may be shared between steps: do not
            write into them.

        Raises:
            gymnasium.error.ResetNeeded: Before the first reset, or past the end of an episode.
            ValueError: If actions are of the wrong shape or (where checked) out of range.
        """
        elapsed = self._elapsed
        if elapsed is None or (elapsed == self.horizon and not self._out_of_step):
            return self._step_past_the_end()
        rewards, reached = self._advance(self._read_actions(actions))
        self._elapsed = elapsed + 1
        if self._out_of_step:
            assert reached is not None
            return self._finish_some(rewards, reached)
        last = self._elapsed == self.horizon
        if reached is None:
            terminated, truncated = self._false, self._true if last else self._false
        else:
            rewards = torch.where(self._ended, self._zero, rewards)
            self._ended = terminated = self._ended | reached
            truncated = ~terminated if last else self._false
        if last and self.autoreset_mode is AutoresetMode.SAME_STEP:
            return self._finish_all(rewards, terminated, truncated)
        return self._observe(), rewards, terminated, truncated, {}

    # What can be asked ----------------------------------------------------------------------

    @property
    def task_parameters(self) -> Tensors:
        """The arrays of the tasks at hand, [B, ...] each. Do not write into them."""
        if self._elapsed is None:
            raise gymnasium.error.ResetNeeded("there is no task yet: call reset() first")
        return self._params

    @property
    def tasks(self) -> tuple[T, ...]:
        """The B tasks at hand. Waits for the device."""
        arrays = [parameter.cpu().numpy() for parameter in self.task_parameters]
        return tuple(self.task_type.from_arrays(*row) for row in zip(*arrays, strict=True))

    # Tasks and ends -------------------------------------------------------------------------

    def _choose_tasks(self, chosen: dict[str, Any]) -> None:
        """Sets the tasks of the episodes about to begin."""
        if "tasks" in chosen:
            tasks = chosen["tasks"]
            self._fixed = None if tasks is None else self._read_tasks(tasks)
        elif self._fixed is None and chosen.get("same_task"):
            self._params = self.task_parameters
            return
        if self._fixed is None:
            self._params = self._generators.tasks(self.task_distribution)
        else:
            self._params = self._fixed

    def _read_tasks(self, tasks: Sequence[Any]) -> Tensors:
        if len(tasks) != self.num_envs:
            raise ValueError(
                f"got {len(tasks)} tasks for {self.num_envs} environments: give one for each"
            )
        arrays = stack_tasks([self._check_task(task) for task in tasks])
        return tuple(torch.tensor(array, device=self.device) for array in arrays)

    def _check_task(self, task: Any) -> T:
        """The task itself, if this environment can play it."""
        return check_task_type(task, self.task_type)

    def _finish_all(
        self, rewards: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor
    ) -> StepResult:
        """The last step of all episodes at once, under SAME_STEP."""
        final = self._observe()
        first, info = self.reset()
        info |= {"final_obs": final, "_final_obs": self._true}
        info |= {"final_info": {}, "_final_info": self._true}
        return first, rewards, terminated, truncated, info

    def _finish_some(self, rewards: torch.Tensor, reached: torch.Tensor) -> StepResult:
        """A step under SAME_STEP, where each episode ends in its own time."""
        self._steps = self._steps + 1
        truncated = (self._steps == self.horizon) & ~reached
        done = reached | truncated
        final = self._observe()
        if self._fixed is None:
            fresh = self._generators.tasks(self.task_distribution)
            self._params = tuple(
                torch.where(done.view(-1, *[1] * (old.dim() - 1)), new, old)
                for new, old in zip(fresh, self._params, strict=True)
            )
        self._begin(done)
        self._steps = self._steps.masked_fill(done, 0)
        info = self._info() | {"final_obs": final, "_final_obs": done}
        info |= {"final_info": {}, "_final_info": done}
        return self._observe(), rewards, reached, truncated, info

    def _step_past_the_end(self) -> StepResult:
        if self._elapsed is None or self.autoreset_mode is not AutoresetMode.NEXT_STEP:
            raise gymnasium.error.ResetNeeded(
                "call reset() before the first step"
                if self._elapsed is None
                else f"the episode ended after {self.horizon} steps: call reset(), or make the "
                f"environment with autoreset_mode=AutoresetMode.SAME_STEP"
            )
        first, info = self.reset()
        return first, self._zero.expand(self.num_envs).clone(), self._false, self._false, info

    # Checks ---------------------------------------------------------------------------------

    def _info(self) -> dict[str, Any]:
        return {"task_parameters": self._params}

    @property
    def _out_of_step(self) -> bool:
        """Whether each episode starts and ends in its own time."""
        return self.may_terminate and self.autoreset_mode is AutoresetMode.SAME_STEP

    def _check_autoreset(self) -> None:
        if self.may_terminate and self.autoreset_mode is AutoresetMode.NEXT_STEP:
            raise ValueError(
                "AutoresetMode.NEXT_STEP cannot be had where episodes end at different times: use "
                "AutoresetMode.SAME_STEP or DISABLED"
            )

    def _check_shape(self, actions: torch.Tensor) -> torch.Tensor:
        if tuple(actions.shape) != self.action_space.shape:
            raise ValueError(
                f"actions have shape {tuple(actions.shape)}, expected {self.action_space.shape}: "
                f"one for each environment"
            )
        return actions

    def _read_discrete(self, actions: Any, num_actions: int, *, validate: bool) -> torch.Tensor:
        """int64 [B], in [0, num_actions) where `validate`.

        Raises:
            ValueError: If they are not.
        """
        numbers = self._check_shape(as_actions(actions, self.device))
        if validate and bool(((numbers < 0) | (numbers >= num_actions)).any()):
            raise ValueError(
                f"actions must be whole numbers in [0, {num_actions}), got values from "
                f"{int(numbers.min())} to {int(numbers.max())}"
            )
        return numbers
