"""What the tensor environments share: B episodes, each on its own task, as one tensor program.

The twin of `envs.base.single`. Everything stays on the device and a step never waits for it:
the step counter is a Python integer, so that truncation is known without asking, and random numbers
are drawn ahead in blocks.

Where episodes can terminate early they end at different times, which the host does not know:

- DISABLED: an environment that has terminated stays as it is until the next ``reset``, pays 0 and
  keeps saying ``terminated``; an episode's rewards can so be summed over the whole horizon.
- SAME_STEP: each environment starts its next episode on its own. ``info["final_obs"]`` is there at
  every step, and ``info["_final_obs"]`` says where it counts.
- NEXT_STEP: likewise, but the step after an episode's last ignores the action and starts the next
  one: it pays 0 and nothing has ended.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, ClassVar, Generic, TypeVar, cast

import numpy as np
import torch
from gymnasium.spaces import Space
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from ..maze.dynamics import as_actions
from .arrays import as_tensor
from .checks import check_horizon, check_task_type
from .generator_blocks import GeneratorBlocks
from .step_randomness import StepRandomness
from .tasks import Task, TaskSource, Tensors
from .tensor_environment import Generators, StepResult, TensorEnv

__all__ = ["TaskVectorEnv"]

T = TypeVar("T", bound=Task)

KEEP: Any = object()
"""Stands for tasks that stay set, or unset."""

Read = tuple[Any, bool, dict[str, torch.Tensor]]
"""Arrays of the tasks to set (None to draw, or `KEEP`), the same tasks or not, step options."""


class TaskVectorEnv(TensorEnv, Generic[T]):
    """B environments whose tasks can be set, on a torch device.

    ``reset(options={"tasks": tasks})`` sets B tasks, kept until others are set; ``{"tasks": None}``
    goes back to drawing. ``{"same_task": True}`` starts another episode on the tasks at hand.
    The tasks are a sequence, or the rows of `task_tensor`: so that an environment, made once, is
    played on ever new tasks, by ever new generators (`use_generators`).

    Attributes: as in `envs.base.single.TaskEnv`, and
        parameter_dtype: Type of the numbers that say a task.
        parameter_shapes: Names of a task's arrays, and their shapes, in order.

    Args:
        num_envs: Number of environments, B, at least 1.
        tasks: Where tasks come from when none are set.
        horizon: Steps in an episode, at least 1.
        parameter_shapes: See above.
        observation_space: Of one environment.
        action_space: Of one environment.
        device: Where all tensors live.
        generator: One generator on `device`, or G of them, of which each drives B / G
            environments in a row. By default the environment's own.
        autoreset_mode: What happens at the end of an episode.
        bounds: Of step options that are whole numbers: option k lies in [0, bounds[k]).

    Raises:
        ValueError: If a setting is out of range.
    """

    task_type: type[T]
    parameter_dtype: ClassVar[torch.dtype] = torch.float32
    step_options: ClassVar[tuple[str, ...]] = ()
    may_terminate: bool = False
    reward_range: tuple[float, float]

    def __init__(
        self,
        num_envs: int,
        tasks: TaskSource[T],
        horizon: int,
        parameter_shapes: Mapping[str, tuple[int, ...]],
        observation_space: Space[Any],
        action_space: Space[Any],
        *,
        device: torch.device | str,
        generator: Generators,
        autoreset_mode: AutoresetMode | str,
        bounds: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(
            num_envs,
            observation_space,
            action_space,
            device=device,
            generator=generator,
            autoreset_mode=autoreset_mode,
        )
        self._horizon = check_horizon(horizon)
        self.task_distribution = tasks
        self.parameter_shapes = dict(parameter_shapes)
        self._random = StepRandomness(
            self.step_options, self._generators, self._horizon, bounds or {}
        )
        self._fixed: Tensors | None = None
        self._params: Tensors = ()
        self._ended = self._false
        # Whether each episode starts and ends in its own time.
        self._out_of_step = self.may_terminate and self.autoreset_mode is not AutoresetMode.DISABLED

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
    def _check_parameters(self, *parameters: torch.Tensor) -> None:
        """Checks that B tasks given as numbers, arrays [B, ...], are tasks of this environment.

        Raises:
            ValueError: If one is not.
        """

    def _task_of(self, *arrays: NDArray[Any]) -> T:
        """The task with these numbers."""
        return cast(T, cast(Any, self.task_type).from_arrays(*arrays))

    # The episode ----------------------------------------------------------------------------

    def step_tensors(self, actions: Any) -> StepResult:
        """`step`, always with tensors."""
        elapsed = self._elapsed
        if elapsed is None or (elapsed == self.horizon and not self._out_of_step):
            return self._step_past_the_end()
        if self._out_of_step:
            return self._step_each(actions)
        rewards, reached = self._advance(self._read_actions(actions))
        self._elapsed = elapsed + 1
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
    def horizon(self) -> int:
        """Steps in an episode."""
        return self._horizon

    @property
    def options(self) -> tuple[str, ...]:  # type: ignore[override]
        """The reset options it knows."""
        return ("tasks", "same_task", "reset_mask", *self.step_options)

    @property
    def task_parameters(self) -> Tensors:
        """The arrays of the tasks at hand, [B, ...] each. Do not write into them."""
        self._check_running()
        return self._params

    @property
    def tasks(self) -> tuple[T, ...]:
        """The B tasks at hand. Waits for the device."""
        arrays = [parameter.cpu().numpy() for parameter in self.task_parameters]
        return tuple(self._task_of(*row) for row in zip(*arrays, strict=True))

    # Tasks as numbers, other generators -----------------------------------------------------

    def task_tensor(self, tasks: Sequence[Any]) -> torch.Tensor:
        """The numbers of N tasks, as the reset option ``tasks`` takes them.

        Args:
            tasks: N tasks that this environment can play.

        Returns:
            [N, D] of `parameter_dtype` on `device`: each task's arrays, flat and side by side in
            the order of `parameter_shapes`. Row n repeated is task n in several environments.

        Raises:
            TypeError: If a task is of another kind.
            ValueError: If a task is for another environment.
        """
        rows = [
            np.concatenate([array.ravel() for array in self._check_task(task).arrays()])
            for task in tasks
        ]
        numbers = np.stack(rows) if rows else np.empty((0, sum(self._parameter_sizes)))
        return torch.tensor(numbers, dtype=self.parameter_dtype, device=self.device)

    def use_generators(self, generator: Generators) -> None:
        """Draws by other generators from the next reset on, as if it had been made with them.

        Args:
            generator: As at construction; their number may be another. Set tasks stay set.

        Raises:
            ValueError: If they cannot be shared equally or are on another device.
        """
        self._generators = GeneratorBlocks(generator, self.num_envs, self.device)
        self._random.generators = self._generators

    # Tasks and ends -------------------------------------------------------------------------

    def _read_options(self, chosen: dict[str, Any]) -> Read:
        fixed = self._read_fixed(chosen)
        same = fixed is KEEP and bool(chosen.get("same_task"))
        if same and self._fixed is None:
            self._check_running()
        return fixed, same, self._random.read(chosen)

    def _read_fixed(self, chosen: dict[str, Any]) -> Any:
        """Arrays of the tasks to set; None to draw them, `KEEP` to leave that as it is."""
        if "tasks" not in chosen:
            return KEEP
        tasks = chosen["tasks"]
        return None if tasks is None else self._read_tasks(tasks)

    def _start_all(self, read: Read) -> tuple[torch.Tensor, dict[str, Any]]:
        fixed, same, given = read
        if fixed is not KEEP:
            self._fixed = fixed
        if self._fixed is not None:
            self._params = self._fixed
        elif not same:
            self._params = self._generators.tasks(self.task_distribution)
        self._random.begin(given)
        self._elapsed = 0
        self._ended = self._false
        if self._out_of_step:
            self._steps = torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)
        self._begin(None)
        return self._observe(), self._info()

    def _read_tasks(self, tasks: Sequence[Any] | torch.Tensor | NDArray[Any]) -> Tensors:
        if isinstance(tasks, torch.Tensor | np.ndarray):
            return self._read_numbers(as_tensor(tasks, self.device))
        if len(tasks) != self.num_envs:
            raise ValueError(
                f"got {len(tasks)} tasks for {self.num_envs} environments: give one for each"
            )
        return self._arrays_of(self.task_tensor(tasks))

    def _read_numbers(self, numbers: torch.Tensor) -> Tensors:
        expected = (self.num_envs, sum(self._parameter_sizes))
        if tuple(numbers.shape) != expected or numbers.dtype != self.parameter_dtype:
            raise ValueError(
                f"tasks given as numbers must be {self.parameter_dtype} of shape "
                f"(num_envs, D) = {expected}, got {numbers.dtype} of shape {tuple(numbers.shape)}: "
                f"make them with task_tensor"
            )
        arrays = self._arrays_of(numbers)
        if self.device.type == "cpu":  # elsewhere the check would have to wait for the device
            self._check_parameters(*arrays)
        return arrays

    def _arrays_of(self, numbers: torch.Tensor) -> Tensors:
        """Rows [B, D] as arrays [B, ...] of their own."""
        parts = torch.split(numbers, self._parameter_sizes, dim=1)
        return tuple(
            part.reshape(-1, *shape).clone(memory_format=torch.contiguous_format)  # [B, ...]
            for part, shape in zip(parts, self.parameter_shapes.values(), strict=True)
        )

    @property
    def _parameter_sizes(self) -> list[int]:
        """How many numbers each array of a task has; together D."""
        return [prod(shape) for shape in self.parameter_shapes.values()]

    def _check_task(self, task: Any) -> T:
        """The task itself, if this environment can play it."""
        return check_task_type(task, self.task_type)

    def _step_each(self, actions: Any) -> StepResult:
        """A step where each episode ends in its own time, under SAME_STEP and NEXT_STEP."""
        next_step = self.autoreset_mode is AutoresetMode.NEXT_STEP
        waiting = self._ended  # under NEXT_STEP: what ended in the step before, and starts again
        if next_step:
            actions = self._without(actions, waiting)
        rewards, reached = self._advance(self._read_actions(actions))
        assert reached is not None
        reached = reached & ~waiting
        self._steps = self._steps + 1
        truncated = (self._steps == self.horizon) & ~reached & ~waiting
        done = reached | truncated
        if next_step:
            self._ended = done
            self._restart(waiting)
            rewards = torch.where(waiting, self._zero, rewards)
            return self._observe(), rewards, reached, truncated, self._info()
        final = self._observe()
        self._restart(done)
        info = self._info() | {"final_obs": final, "_final_obs": done}
        info |= {"final_info": {}, "_final_info": done}
        return self._observe(), rewards, reached, truncated, info

    def _restart(self, where: torch.Tensor) -> None:
        """Starts episodes where `where`, bool [B], is True: on new tasks, unless they are set."""
        if self._fixed is None:
            fresh = self._generators.tasks(self.task_distribution)
            self._params = tuple(
                torch.where(where.view(-1, *[1] * (old.dim() - 1)), new, old)
                for new, old in zip(fresh, self._params, strict=True)
            )
        self._begin(where)
        self._steps = self._steps.masked_fill(where, 0)

    def _without(self, actions: Any, where: torch.Tensor) -> torch.Tensor:
        """The actions with 0 where `where` is True: whatever they are there, they are ignored."""
        numbers = self._check_shape(as_tensor(actions, self.device))
        return numbers.masked_fill(where.view(-1, *[1] * (numbers.dim() - 1)), 0)

    # Checks ---------------------------------------------------------------------------------

    def _info(self) -> dict[str, Any]:
        if self.speaks_numpy:  # where everything is an array, or a dict of arrays
            return {"task_parameters": dict(zip(self.parameter_shapes, self._params, strict=True))}
        return {"task_parameters": self._params}

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
