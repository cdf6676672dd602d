"""What the single environments share: episodes on a task that stays until another is set.

An environment derives from `TaskEnv` and says three things: how an episode begins, what an action
does and what the agent sees. Tasks, seeds, options, budgets and errors are handled here.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.settings import check_options
from envs.task_checks import check_horizon, check_render_mode, check_task_type
from envs.task_values import Task, TaskSource

__all__ = ["TaskEnv"]

T = TypeVar("T", bound=Task)
ActT = TypeVar("ActT")
Observation = NDArray[np.float32]

OPTIONS = ("task", "same_task")


class TaskEnv(gymnasium.Env[Observation, ActT], Generic[T, ActT]):
    """An environment whose task can be set.

    ``reset(options={"task": task})`` or ``env.unwrapped.task = task`` sets a task, which is kept
    until another is set; ``options={"task": None}`` goes back to drawing. Without a set task every
    reset draws one from `tasks` with the seeded generator. ``options={"same_task": True}`` starts
    another episode on the task at hand.

    Attributes:
        task_type: The kind of task it takes.
        step_options: Reset options with one random number for each step, in place of own draws.
        may_terminate: Whether an episode can end before the horizon.
        reward_range: The least and the largest reward of a step.

    Args:
        tasks: Where tasks come from when none is set.
        horizon: Steps in an episode, at least 1.
        render_mode: None or one of ``metadata["render_modes"]``.

    Raises:
        ValueError: If the horizon or the render mode is none.
        TypeError: If `tasks` are of another kind.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  # Gymnasium's own declaration
        "render_modes": ["ansi"],
        "render_fps": 8,
    }
    task_type: type[T]
    step_options: ClassVar[tuple[str, ...]] = ()
    may_terminate: bool = False
    reward_range: tuple[float, float]

    def __init__(self, tasks: TaskSource[T], horizon: int, render_mode: str | None) -> None:
        self.horizon = check_horizon(horizon)
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.task_distribution = tasks
        self.render_mode = render_mode
        self._fixed_task: T | None = None
        self._task: T | None = None
        self._elapsed: int | None = None
        self._ended = False
        self._return = 0.0

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
        """What the agent sees now, a new array."""

    def _text(self) -> str:
        """The ``ansi`` picture, a line or more."""
        return ""

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
        super().reset(seed=seed)
        chosen = check_options(options, (*OPTIONS, *self.step_options))
        if "task" in chosen:
            task = chosen["task"]
            self._fixed_task = None if task is None else self._check_task(task)
        if self._fixed_task is not None:
            self._task = self._fixed_task
        elif chosen.get("same_task"):
            self._task = self.task
        else:
            (self._task,) = self.task_distribution.sample(1, self.np_random)
        self._given = {name: self._read_step_option(name, chosen) for name in self.step_options}
        self._elapsed, self._ended, self._return = 0, False, 0.0
        self._begin(self._task)
        return self._observe(), {"task_id": self._task.task_id}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Does `action`.

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
        return self._observe(), reward, terminated, truncated, {"task_id": self.task.task_id}

    def render(self) -> Any:
        """The ``ansi`` picture, or None without a mode."""
        if self.render_mode is None:
            return None
        return f"{self._text()}\nstep {self._elapsed}/{self.horizon}  return {self._return:g}\n"

    # What can be asked ----------------------------------------------------------------------

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

    def _check_task(self, task: Any) -> T:
        """The task itself, if this environment can play it."""
        return check_task_type(task, self.task_type)

    def _random(self, name: str) -> float:
        """This step's ``uniforms`` or ``normals``: given beforehand, or drawn now; float32."""
        given = self._given[name]
        if given is not None:
            assert self._elapsed is not None
            return float(given[self._elapsed])
        if name == "uniforms":
            return float(self.np_random.random(dtype=np.float32))
        return float(self.np_random.standard_normal(dtype=np.float32))

    def _read_step_option(self, name: str, chosen: dict[str, Any]) -> Observation | None:
        if chosen.get(name) is None:
            return None
        values = np.asarray(chosen[name], dtype=np.float32)
        if values.shape != (self.horizon,):
            raise ValueError(
                f"{name} must have shape (horizon,) = ({self.horizon},), got {values.shape}"
            )
        return values
