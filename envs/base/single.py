"""The base of single environments: episodes on a task that stays until another is set.

An environment derives from `TaskEnv` and says three things: how an episode begins, what an action
does and what the agent sees. Tasks, seeds, options, budgets, pictures and errors are handled here.
What is asked of `reset` is checked before anything is changed: a refused one leaves the running
episode as it is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from .checks import check_horizon, check_options, check_render_mode, check_seed
from .clock import OneClock
from .pictures import Window, draw_lines
from .tasks import Task, TaskSource, check_task_type

__all__ = ["TaskEnv"]


T = TypeVar("T", bound=Task)
ActT = TypeVar("ActT")
Observation = NDArray[np.float32]

OPTIONS = ("task", "same_task")


class TaskEnv(OneClock, gymnasium.Env[Observation, ActT], Generic[T, ActT]):
    """An environment whose task can be set.

    ``reset(options={"task": task})`` or ``env.unwrapped.task = task`` sets a task, which is kept
    until another is set; ``options={"task": None}`` goes back to drawing. Without a set task every
    reset draws one from `tasks` with the seeded generator. ``options={"same_task": True}`` starts
    another episode on the task at hand.

    Attributes:
        task_type: The kind of task it takes.
        step_options: Reset options with one random number for each step, in place of own draws.
        bounds: Bounds of whole numbers: option k lies in [0, bounds[k]).
        may_terminate: Whether an episode can end before the horizon.
        reward_range: The least and the largest reward of a step.

    Args:
        tasks: Source of tasks when none is set.
        horizon: Steps in an episode, at least 1.
        render_mode: None or one of ``metadata["render_modes"]``.

    Raises:
        ValueError: If the horizon or the render mode is none.
        TypeError: If `tasks` are of another kind.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  # Gymnasium's own declaration
        "render_modes": ["ansi", "rgb_array", "human"],
        "render_fps": 8,
    }
    task_type: type[T]
    step_options: ClassVar[tuple[str, ...]] = ()
    bounds: Mapping[str, int] = MappingProxyType({})
    may_terminate: bool = False
    reward_range: tuple[float, float]

    def __init__(self, tasks: TaskSource[T], horizon: int, render_mode: str | None) -> None:
        self._horizon = check_horizon(horizon)
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.task_distribution = tasks
        self.render_mode = render_mode
        self._fixed_task: T | None = None
        self._task: T | None = None
        self._elapsed: int | None = None
        self._ended = False
        self._return = 0.0
        self._given: dict[str, NDArray[Any] | None] = {}
        self._window: Window | None = None

    # What an environment says ---------------------------------------------------------------

    @abstractmethod
    def _begin(self, task: T) -> None:
        """Puts the agent where an episode on `task` starts."""

    @abstractmethod
    def _read_action(self, action: Any) -> ActT:
        """The action, checked."""

    @abstractmethod
    def _advance(self, action: ActT) -> tuple[float, bool]:
        """Does the action; its reward, and whether the episode terminates."""

    @abstractmethod
    def _observe(self) -> Observation:
        """The agent's observation now, a new array."""

    @abstractmethod
    def _text(self) -> str:
        """The ``ansi`` picture, a line or more of ASCII, as long in every step."""

    def _picture(self) -> NDArray[np.uint8]:
        """The ``rgb_array`` picture, of one size in every step: by default that of the text."""
        return draw_lines(self._text_and_numbers())

    # The episode ----------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode.

        Args:
            seed: Seeds every draw; with a set task, only what happens within it.
            options: ``task``, ``same_task`` and the class's `step_options`.

        Returns:
            The first observation and ``{"task_id": ...}``.

        Raises:
            ValueError: If an option is unknown or of the wrong form.
            TypeError: If the task is of another kind.
        """
        chosen = check_options(options, (*OPTIONS, *self.step_options))
        seed = None if seed is None else check_seed(seed)
        fixed = self._fixed_task
        if "task" in chosen:
            fixed = None if chosen["task"] is None else self._check_task(chosen["task"])
        given = {name: self._read_step_option(name, chosen) for name in self.step_options}
        task = fixed
        if task is None and "task" not in chosen and chosen.get("same_task"):
            task = self.task
        super().reset(seed=seed)
        if task is None:
            (task,) = self.task_distribution.sample(1, self.np_random)
        self._fixed_task, self._task, self._given = fixed, task, given
        self._elapsed, self._ended, self._return = 0, False, 0.0
        self._begin(task)
        self._show()
        return self._observe(), {"task_id": task.task_id}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Takes a step by `action`.

        Returns:
            The observation, the reward of this action, terminated, truncated (at the horizon,
            unless it terminated), and ``{"task_id": ...}``.

        Raises:
            ValueError: If `action` is not in the action space.
            gymnasium.error.ResetNeeded: Before the first reset, or past the end of an episode.
        """
        if self._elapsed is None or self._ended:
            raise gymnasium.error.ResetNeeded(
                "call reset() before the first step"
                if self._elapsed is None
                else f"the episode ended after {self._elapsed} steps: call reset()"
            )
        reward, terminated = self._advance(self._read_action(action))
        self._elapsed += 1
        self._return += reward
        truncated = self._elapsed == self.horizon and not terminated
        self._ended = terminated or truncated
        self._show()
        return self._observe(), reward, terminated, truncated, {"task_id": self.task.task_id}

    def render(self) -> Any:
        """A picture in the mode chosen at construction.

        Returns:
            A string for ``ansi``, uint8 [height, width, 3] for ``rgb_array``, None for ``human``
            (which draws in a window, at ``metadata["render_fps"]``) and without a mode.

        Raises:
            gymnasium.error.ResetNeeded: Before the first reset.
        """
        if self.render_mode is None:
            return None
        if self._elapsed is None:
            raise gymnasium.error.ResetNeeded("there is nothing to draw yet: call reset()")
        if self.render_mode == "ansi":
            return self._text_and_numbers()
        if self.render_mode == "rgb_array":
            return self._picture()
        if self._window is None:
            self._window = Window(type(self).__name__, self.metadata["render_fps"])
        self._window.show(self._picture())
        return None

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def get_keys_to_action(self) -> dict[tuple[str, ...], Any]:
        """Keys and their actions, for `gymnasium.utils.play.play`: the numbers, unless named."""
        actions = self.action_space
        assert isinstance(actions, Discrete)
        return {(str(number),): number for number in range(min(10, int(actions.n)))}

    # What can be asked ----------------------------------------------------------------------

    @property
    def horizon(self) -> int:
        """Steps in an episode."""
        return self._horizon

    def _set_horizon(self, horizon: int) -> None:
        self._horizon = horizon

    @property
    def task(self) -> T:
        """The task at hand. Setting it ends the episode: call ``reset`` next."""
        if self._task is None:
            raise gymnasium.error.ResetNeeded("there is no task yet: set one or call reset()")
        return self._task

    @task.setter
    def task(self, task: T) -> None:
        self._fixed_task = self._task = self._check_task(task)
        self._elapsed = None

    # Helpers --------------------------------------------------------------------------------

    def _show(self) -> None:
        """Draws in the window, if that is the mode."""
        if self.render_mode == "human":
            self.render()

    def _text_and_numbers(self) -> str:
        return f"{self._text()}\nstep {self._elapsed}/{self.horizon}  return {self._return:g}\n"

    def _check_task(self, task: Any) -> T:
        """The task itself, if this environment can play it."""
        return check_task_type(task, self.task_type)

    def _random(self, name: str) -> Any:
        """This step's number of a step option: given beforehand, or drawn now.

        ``uniforms`` and ``normals`` are float32, as a Python float; others an integer.
        """
        given = self._given[name]
        if given is not None:
            assert self._elapsed is not None
            return given[self._elapsed].item()
        if name in self.bounds:
            return int(self.np_random.integers(self.bounds[name]))
        if name == "uniforms":
            return float(self.np_random.random(dtype=np.float32))
        return float(self.np_random.standard_normal(dtype=np.float32))

    def _read_step_option(self, name: str, chosen: dict[str, Any]) -> NDArray[Any] | None:
        if chosen.get(name) is None:
            return None
        bound = self.bounds.get(name)
        values = np.asarray(chosen[name], dtype=np.float32 if bound is None else None)
        if values.shape != (self.horizon,):
            raise ValueError(
                f"{name} must have shape (horizon,) = ({self.horizon},), got {values.shape}"
            )
        if bound is not None:
            if not np.issubdtype(values.dtype, np.integer):
                raise ValueError(f"{name} must be whole numbers, got {values.dtype}")
            if values.min() < 0 or values.max() >= bound:
                raise ValueError(
                    f"{name} must lie in [0, {bound}), got values from {values.min()} to "
                    f"{values.max()}"
                )
        return values
