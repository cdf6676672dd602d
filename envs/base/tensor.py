"""The base of tensor environments: B episodes, each on its own task, as one tensor program.

The twin of `envs.base.single`. An environment derives from `TensorEnv` and says how episodes start,
what a step does and what is seen. Everything stays on the device and a step never waits for it: the
step counter is a Python integer, so that truncation is known without asking, and random numbers are
drawn ahead in blocks. What is asked of `reset` is checked before anything is changed: a refused one
leaves the running episodes and the generators as they are.

Results are tensors on the device. `gymnasium.make_vec` makes the same environments speak NumPy
instead (`envs.vector_entry_points`), as its users and wrappers expect.

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
from typing import Any, ClassVar, Generic, TypeVar, cast

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Space
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from .arrays import Seed, StepResult, TensorProgram
from .checks import as_actions, check_horizon, check_options, whole_number
from .clock import OneClock
from .numbers import TaskNumbers
from .own_time import OwnTime
from .randomness import GeneratorBlocks, Generators, Share, StepRandomness
from .tasks import Task, TaskSource, Tensors, check_one_for_each, check_task_type

__all__ = ["TensorEnv"]

T = TypeVar("T", bound=Task)

MOST_ENVS = 2**24
"""More environments than this are a slip, and would exhaust the memory of the host."""

KEEP: Any = object()
"""Stands for tasks that stay set, or unset."""

Read = tuple[Any, bool, dict[str, torch.Tensor]]
"""Arrays of the tasks to set (None to draw, or `KEEP`), the same tasks or not, step options."""


class TensorEnv(OneClock, OwnTime, TensorProgram, VectorEnv[Any, Any, Any], Generic[T]):
    """B environments whose tasks can be set, on a torch device.

    ``reset(options={"tasks": tasks})`` sets B tasks, kept until others are set; ``{"tasks": None}``
    goes back to drawing. ``{"same_task": True}`` starts another episode on the tasks at hand.
    The tasks are a sequence, or the rows of `task_tensor`: so that an environment, made once, is
    played on ever new tasks, by ever new generators (`use_generators`).

    Attributes: as in `envs.base.single.TaskEnv`, and
        parameter_dtype: Type of the numbers that say a task.
        parameter_shapes: Names of the arrays of a task that are needed, the first ones, and their
            shapes, in order.

    Args:
        num_envs: Number of environments, B, at least 1.
        tasks: Source of tasks when none are set.
        horizon: Steps in an episode, at least 1.
        parameter_shapes: See above.
        observation_space: Observations of one environment.
        action_space: Actions of one environment.
        device: Device of all tensors.
        generator: One generator on `device`, or G of them, of which each drives B / G
            environments in a row. By default the environment's own.
        autoreset_mode: Behaviour at the end of an episode.
        bounds: Bounds of whole-numbered step options: option k lies in [0, bounds[k]).

    Raises:
        ValueError: If a setting is out of range.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  # Gymnasium's own declaration
        "render_modes": [],
        "autoreset_mode": AutoresetMode.DISABLED,
    }
    task_type: type[T]
    parameter_dtype: ClassVar[torch.dtype] = torch.float32
    step_options: ClassVar[tuple[str, ...]] = ()
    may_terminate: bool = False
    reward_range: tuple[float, float]
    speaks_numpy: bool = False

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
        self.num_envs = whole_number(num_envs, "num_envs", most=MOST_ENVS)
        self.device = torch.device(device)
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.single_observation_space = observation_space
        self.single_action_space = action_space
        self.observation_space = batch_space(observation_space, self.num_envs)
        self.action_space = batch_space(action_space, self.num_envs)
        self._horizon = check_horizon(horizon)
        self.task_distribution = tasks
        self.parameter_shapes = dict(parameter_shapes)
        self._numbers = TaskNumbers(self.parameter_shapes, self.parameter_dtype, self.device)
        self._generators = GeneratorBlocks(generator, self.num_envs, self.device)
        self._random = StepRandomness(
            self.step_options, self._generators, self._horizon, bounds or {}
        )
        self._zero = torch.zeros((), dtype=torch.float32, device=self.device)
        self._false = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        self._true = ~self._false
        self._fixed: Tensors | None = None
        self._params: Tensors = ()
        self._elapsed: int | None = None
        self._ended = self._false
        self._told: dict[str, torch.Tensor] = {}  # what a step's info tells, [B] each
        self._steps = torch.zeros(0, dtype=torch.int64, device=self.device)  # [B] in `_step_each`
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
        """Does the actions; rewards float32 [B], and where an end is reached, bool [B] or None.

        What the step's info is to tell beside, it puts into a new `_told`; `_begin` puts there what
        a step tells that only starts episodes.
        """

    @abstractmethod
    def _observe(self) -> torch.Tensor:
        """The observations now, float32 [B, ...], a new tensor."""

    @abstractmethod
    def _check_parameters(self, *parameters: torch.Tensor) -> None:
        """Checks that B tasks given as numbers, arrays [B, ...], are tasks of this environment.

        Raises:
            ValueError: If one is not.
        """

    def _check_task(self, task: Any) -> T:
        """The task itself, if this environment can play it."""
        return check_task_type(task, self.task_type)

    def _task_of(self, *arrays: NDArray[Any]) -> T:
        """The task with these numbers."""
        return cast(T, cast(Any, self.task_type).from_arrays(*arrays))

    # The episode ----------------------------------------------------------------------------

    def reset_tensors(
        self, seed: Seed = None, options: dict[str, Any] | None = None
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """`reset`, always with tensors."""
        chosen = check_options(options, self.options)
        mask = chosen.get("reset_mask")
        if mask is not None and not bool(np.all(np.asarray(mask))):
            raise ValueError(
                "reset_mask leaves some environments running, but in lock step they are reset "
                "together: use a mask of True, AutoresetMode.SAME_STEP, or "
                "gymnasium.make_vec(..., vectorization_mode='sync')"
            )
        read = self._read_options(chosen)
        if seed is not None:
            self._generators.seed(seed)
        return self._start_all(read)

    def step_tensors(self, actions: Any) -> StepResult:
        """`step`, always with tensors."""
        elapsed = self._elapsed
        if self._out_of_step and elapsed is not None:
            return self._step_each(actions)
        if elapsed is None or elapsed == self._horizon:
            return self._step_past_the_end()
        rewards, reached = self._advance(self._read_actions(actions))
        self._elapsed = elapsed = elapsed + 1
        last = elapsed == self._horizon
        if reached is None:
            terminated, truncated = self._false, self._true if last else self._false
        else:
            rewards = torch.where(self._ended, self._zero, rewards)
            self._ended = terminated = self._ended | reached
            truncated = ~terminated if last else self._false
        if last and self.autoreset_mode is AutoresetMode.SAME_STEP:
            final, told = self._observe(), self._told
            first, info = self._start_all(self._read_options({}))
            info |= {"final_obs": final, "_final_obs": self._true}
            info |= {"final_info": {}, "_final_info": self._true, **told}
            return first, rewards, terminated, truncated, info
        return self._observe(), rewards, terminated, truncated, {**self._told}

    def _step_past_the_end(self) -> StepResult:
        """A step after all episodes have ended: under NEXT_STEP it starts the next ones."""
        if self._elapsed is None or self.autoreset_mode is not AutoresetMode.NEXT_STEP:
            raise gymnasium.error.ResetNeeded(
                "call reset() before the first step"
                if self._elapsed is None
                else f"the episode ended after {self.horizon} steps: call reset(), or make the "
                f"environment with autoreset_mode=AutoresetMode.SAME_STEP"
            )
        first, info = self._start_all(self._read_options({}))
        info |= self._told
        return first, self._zero.expand(self.num_envs).clone(), self._false, self._false, info

    def _start_all(self, read: Read) -> tuple[torch.Tensor, dict[str, Any]]:
        """Starts an episode everywhere, as the options that were read say."""
        fixed, same, given = read
        if fixed is not KEEP:
            self._fixed = fixed
        if self._fixed is not None:
            self._params = self._fixed
        elif not same:
            self._params = self._drawn_tasks(None)
        self._random.begin(given)
        self._elapsed = 0
        self._ended = self._false
        if self._out_of_step:
            self._steps = torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)
        self._begin(None)
        return self._observe(), self._info()

    def _drawn_tasks(self, where: torch.Tensor | None) -> Tensors:
        """The arrays of B tasks drawn, as many of each as are needed.

        Args:
            where: The environments that need one, bool [B]; all of them if None.
        """
        return self._generators.tasks(self.task_distribution)[: len(self.parameter_shapes)]

    def _info(self) -> dict[str, Any]:
        if self.speaks_numpy:  # where everything is an array, or a dict of arrays
            return {"task_parameters": dict(zip(self.parameter_shapes, self._params, strict=True))}
        return {"task_parameters": self._params}

    # What can be asked, and changed ---------------------------------------------------------

    @property
    def horizon(self) -> int:
        """Steps in an episode."""
        return self._horizon

    @property
    def options(self) -> tuple[str, ...]:
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
        return self._numbers.rows([self._check_task(task) for task in tasks])

    def use_generators(self, generator: Generators) -> None:
        """Draws by other generators from the next reset on, as if it had been made with them.

        Args:
            generator: Like that of construction; their number may differ. Set tasks stay set.

        Raises:
            ValueError: If they cannot be shared equally or are on another device.
        """
        self._generators = GeneratorBlocks(generator, self.num_envs, self.device)
        self._random.generators = self._generators

    def use_share(self, whole: int, start: int) -> None:
        """Draws as a part of more environments, from the next reset on: the others are elsewhere.

        Every generator draws for all its environments, so that what is drawn does not depend on
        where they are.

        Args:
            whole: Number of all environments of a generator.
            start: Number of the first one that is here.

        Raises:
            ValueError: If these are not among them.
        """
        own, share = self._generators.generators, Share(whole, start)
        self._generators = GeneratorBlocks(own, self.num_envs, self.device, share)
        self._random.generators = self._generators

    # What is asked of a reset ---------------------------------------------------------------

    def _read_options(self, chosen: dict[str, Any]) -> Read:
        """Checks and returns the options that `_start_all` needs. Changes nothing."""
        fixed = self._read_fixed(chosen)
        same = fixed is KEEP and bool(chosen.get("same_task"))
        if same and self._fixed is None:
            self._check_running()
        return fixed, same, self._random.read(chosen, self._bounds_of(fixed))

    def _bounds_of(self, fixed: Any) -> Mapping[str, int] | None:
        """Bounds of the step options when these tasks are set; None for the usual ones.

        Args:
            fixed: What `_read_fixed` returned.
        """
        return None

    def _read_fixed(self, chosen: dict[str, Any]) -> Any:
        """Arrays of the tasks to set; None to draw them, `KEEP` to leave that as it is."""
        if "tasks" not in chosen:
            return KEEP
        tasks = chosen["tasks"]
        if tasks is None:
            return None
        if isinstance(tasks, torch.Tensor | np.ndarray):
            arrays = self._numbers.read(tasks, self.num_envs)
            if self.device.type == "cpu":  # elsewhere the check would have to wait for the device
                self._check_parameters(*arrays)
            return arrays
        check_one_for_each(tasks, self.num_envs)
        return self._numbers.arrays(self.task_tensor(tasks))

    # Checks ---------------------------------------------------------------------------------

    def _check_running(self) -> None:
        if self._elapsed is None:
            raise gymnasium.error.ResetNeeded("there is no task yet: call reset() first")

    def _check_shape(self, actions: torch.Tensor) -> torch.Tensor:
        if actions.shape != self.action_space.shape:
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
