"""Points in the plane that look for a hidden goal: MAML's 2D navigation, one, many, a problem.

Finn et al. (2017), section 5.3.1. As in the published environment a step is paid the distance that
is left *after* the move and an episode ends near the goal, where "near" is a square.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Space
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from ..base.arrays import as_tensor
from ..base.checks import check_horizon, is_finite_number
from ..base.problem import FRACTIONS, SALT, Anchors, BuiltIn
from ..base.single import TaskEnv
from ..base.tasks import TaskSource, as_source
from ..base.tensor import TensorEnv
from .tasks import PointTask, PointTasks, point_reference_returns

__all__ = ["Point", "PointNavigationEnv", "PointNavigationVectorEnv"]

LONGEST_STEP = 0.1
"""Longest step of the problem, in units of the plane."""

Vector = NDArray[np.float32]


class PointNavigationEnv(TaskEnv[PointTask, Vector]):
    """Move a point to a goal that only the rewards tell of.

    ## Description
    A point in the plane starts at the origin. It sees where it is, not where the goal is; each
    step costs the distance to the goal. One gradient step on a few episodes tells enough to go
    straight there, which is what MAML's first experiment in reinforcement learning shows.

    ## Action Space
    ``Box(-max_step, max_step, (2,), float32)``: what is added to x and y. Larger values are
    clipped, each coordinate on its own. With an `action_scale` the bounds are divided by it, and
    actions multiplied before they are taken.

    ## Observation Space
    ``Box((2,), float32)``: the position (x, y), bounded by what `horizon` steps can reach.

    ## Rewards
    Minus the Euclidean distance (not squared) from the goal after the move.

    ## Starting State
    The origin.

    ## Episode End
    Terminated when both coordinates are nearer than `goal_radius` to the goal's; that last step is
    paid like any other. Truncated after `horizon` steps otherwise, by the environment itself.
    With ``goal_radius=0`` no episode ends early, and staying on the goal is free.

    ## Tasks
    ``reset(options={"task": PointTask((x, y))})`` sets the goal; see `envs.base.single`.
    Nothing within a task is random. Per episode, goals uniform in [-0.5, 0.5]^2: standing still
    earns -38.26, and the oracle, which moves each coordinate straight to the goal, -0.506
    (`envs.point_reference_returns`).

    ## Arguments
    ```python
    gymnasium.make("metarl/PointNavigation-v0", horizon=100)
    ```
    * `tasks`: a `PointTasks` (by default the whole square), a `TaskSet` or a sequence of tasks
    * `horizon`: steps in an episode
    * `max_step`: largest change of a coordinate in a step
    * `goal_radius`: how near the goal an episode ends; 0 for never
    * `action_scale`: what an action is multiplied by to be a move; with `max_step` an action of 1
      is the longest step, whatever its length
    * `render_mode`: ``"ansi"`` (text), ``"rgb_array"`` (uint8 picture), ``"human"`` (a window)

    ## Version History
    * v0: first version
    """

    task_type = PointTask

    def __init__(
        self,
        *,
        tasks: TaskSource[PointTask] | Sequence[PointTask] | None = None,
        horizon: int = 100,
        max_step: float = 0.1,
        goal_radius: float = 0.01,
        action_scale: float = 1.0,
        render_mode: str | None = None,
    ) -> None:
        source = PointTasks() if tasks is None else as_source(tasks, PointTask, PointTasks)
        super().__init__(source, horizon, render_mode)
        self.max_step, self.goal_radius, self.action_scale = check_point_settings(
            max_step, goal_radius, action_scale
        )
        self._set_spaces()
        self.may_terminate = self.goal_radius > 0
        self.reward_range = (-math.inf, 0.0)

    @property
    def position(self) -> Vector:
        """Position of the agent, float32 [2], (x, y)."""
        if self._elapsed is None:
            raise gymnasium.error.ResetNeeded("the point is nowhere yet: call reset()")
        return self._position.copy()

    def _begin(self, task: PointTask) -> None:
        self._position = np.zeros(2, dtype=np.float32)
        (self._goal,) = task.arrays()

    def get_keys_to_action(self) -> dict[tuple[str, ...], Any]:
        """W up, S down, A left, D right, for `gymnasium.utils.play.play`."""
        moves = {"w": (0, 1), "s": (0, -1), "a": (-1, 0), "d": (1, 0)}
        size = np.float32(self.max_step / self.action_scale)
        return {(key,): size * np.array(move, np.float32) for key, move in moves.items()}

    def _set_horizon(self, horizon: int) -> None:
        super()._set_horizon(horizon)
        self._set_spaces()

    def _set_spaces(self) -> None:
        self.observation_space, self.action_space = point_spaces(
            self.horizon, self.max_step, self.action_scale
        )

    def _read_action(self, action: Any) -> Vector:
        move = np.asarray(action, dtype=np.float32)
        if move.shape != (2,) or not np.isfinite(move).all():
            raise ValueError(f"action must be two finite numbers (dx, dy), got {action}")
        move = move * np.float32(self.action_scale)
        return np.clip(move, -np.float32(self.max_step), np.float32(self.max_step))

    def _advance(self, action: Vector) -> tuple[float, bool]:
        self._position = self._position + action
        x, y = self._position - self._goal
        near = abs(x) < np.float32(self.goal_radius) and abs(y) < np.float32(self.goal_radius)
        return -float(np.sqrt(x * x + y * y)), bool(near)

    def _observe(self) -> Vector:
        return self._position.copy()

    def _text(self) -> str:
        (x, y), goal = self._position.tolist(), self.task.goal
        return f"point ({x:.3f}, {y:.3f})  goal ({goal[0]:.3f}, {goal[1]:.3f})"


class PointNavigationVectorEnv(TensorEnv[PointTask]):
    """B points on a torch device; dynamics as in `PointNavigationEnv`.

    Observations are float32 [B, 2], actions float32 [B, 2] (clipped), the task's parameters the
    goals, float32 [B, 2]. Where `goal_radius` is above 0, episodes end at different times; see
    `envs.base.tensor` for what then happens.

    Args:
        num_envs: Number of points, B.
        tasks, horizon, max_step, goal_radius, action_scale: As in `PointNavigationEnv`.
        device, generator, autoreset_mode: As in `envs.base.tensor.TensorEnv`.
        validate_actions: Refuse actions that are not finite. Done on the CPU only: elsewhere the
            check would have to wait for the device.

    Raises:
        ValueError: If a setting is out of range.
    """

    task_type = PointTask

    def __init__(
        self,
        num_envs: int = 1,
        *,
        tasks: TaskSource[PointTask] | Sequence[PointTask] | None = None,
        horizon: int = 100,
        max_step: float = 0.1,
        goal_radius: float = 0.01,
        action_scale: float = 1.0,
        device: torch.device | str = "cpu",
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.DISABLED,
        validate_actions: bool = True,
    ) -> None:
        self.max_step, self.goal_radius, self.action_scale = check_point_settings(
            max_step, goal_radius, action_scale
        )
        self.may_terminate = self.goal_radius > 0
        self.reward_range = (-math.inf, 0.0)
        super().__init__(
            num_envs,
            PointTasks() if tasks is None else as_source(tasks, PointTask, PointTasks),
            horizon,
            {"goal": (2,)},
            *point_spaces(horizon, self.max_step, self.action_scale),
            device=device,
            generator=generator,
            autoreset_mode=autoreset_mode,
        )
        self._validate = validate_actions and self.device.type == "cpu"
        self._origin = torch.zeros(self.num_envs, 2, dtype=torch.float32, device=self.device)
        self._positions = self._origin

    @property
    def goals(self) -> torch.Tensor:
        """float32 [B, 2]. Do not write into it."""
        return self.task_parameters[0]

    def hand_over(self, worlds: Collection[str], num_steps: int) -> dict[str, Any] | None:
        """The numbers of the episodes that have begun, for who plays them all at once.

        They count as over then: the next call is a reset.

        Args:
            worlds: Names of what can be played so; this is ``"plane"``.
            num_steps: Steps that will be taken.

        Returns:
            The name of the world, where the points are and where they are to go, float32 [B, 2],
            and the settings. None where episodes are to be stepped: they have gone on, are longer,
            or start again by themselves; actions are checked; the dynamics are a subclass's.
        """
        fixed = self.device.type == "cpu" and type(self) is PointNavigationVectorEnv
        begun = self._elapsed == 0 and num_steps <= self.horizon
        stays = self.autoreset_mode is AutoresetMode.DISABLED and not self._validate
        if not (fixed and begun and stays and "plane" in worlds):
            return None
        self._elapsed = self.horizon
        return {
            "world": "plane",
            "starts": self._positions,
            "goals": self.goals,
            "max_step": self.max_step,
            "action_scale": self.action_scale,
            "goal_radius": self.goal_radius,
            "horizon": self.horizon,
        }

    def _check_parameters(self, *parameters: torch.Tensor) -> None:
        if not bool(torch.isfinite(parameters[0]).all()):
            raise ValueError("tasks given as numbers must be finite goals (x, y)")

    def _begin(self, started: torch.Tensor | None) -> None:
        self._positions = (
            self._origin
            if started is None
            else torch.where(started[:, None], self._origin, self._positions)
        )

    def _read_actions(self, actions: Any) -> torch.Tensor:
        moves = as_tensor(actions, self.device, torch.float32, "actions")
        self._check_shape(moves)
        if self._validate and not bool(torch.isfinite(moves).all()):
            row = int((~torch.isfinite(moves)).any(dim=1).nonzero()[0])
            raise ValueError(f"actions must be finite, got {moves[row].tolist()} for point {row}")
        if self.action_scale != 1.0:
            moves = moves * self.action_scale
        return moves.clamp(-self.max_step, self.max_step)

    def _advance(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        moved = self._positions + actions
        if self.may_terminate:
            moved = torch.where(self._ended[:, None], self._positions, moved)
        self._positions = moved
        x, y = (moved - self.goals).unbind(1)
        # float32's square root is only nearly rounded in torch: the single twin's is, as this is.
        rewards = -torch.sqrt((x * x + y * y).double()).float()
        if not self.may_terminate:
            return rewards, None
        return rewards, (x.abs() < self.goal_radius) & (y.abs() < self.goal_radius)

    def _observe(self) -> torch.Tensor:
        return self._positions.clone()


def point_spaces(horizon: int, max_step: float, action_scale: float) -> tuple[Box[Any], Box[Any]]:
    """Observation and action space: positions within a step more than can be reached, moves."""
    reach = (check_horizon(horizon) + 1) * max_step
    positions: Box[Any] = Box(-reach, reach, (2,), np.float32)
    longest = max_step / action_scale
    return positions, Box(-longest, longest, (2,), np.float32)


def check_point_settings(
    max_step: float, goal_radius: float, action_scale: float
) -> tuple[float, float, float]:
    """The two lengths and the scale, as floats.

    Raises:
        ValueError: If `max_step` or `action_scale` is not above 0, or `goal_radius` below 0.
    """
    if not (is_finite_number(action_scale) and action_scale > 0):
        raise ValueError(f"action_scale must be finite and above 0, got {action_scale}")
    if not (is_finite_number(max_step) and max_step > 0):
        raise ValueError(f"max_step must be finite and above 0, got {max_step}")
    if not (is_finite_number(goal_radius) and goal_radius >= 0):
        raise ValueError(f"goal_radius must be finite and at least 0, got {goal_radius}")
    return float(max_step), float(goal_radius), float(action_scale)


@dataclass(frozen=True)
class Point(BuiltIn):
    """MAML's point in the plane; an action of 1 is the longest step.

    Attributes:
        salt: Another one deals the tasks out differently to the sides.
    """

    name: ClassVar[str] = "point"
    observation: ClassVar[Space[Any]] = Box(-np.inf, np.inf, (2,), np.float32)
    actions: ClassVar[Space[Any]] = Box(-1.0, 1.0, (2,), np.float32)

    horizon: int = 100
    salt: str = SALT

    @cached_property
    def splits(self) -> Any:
        """Cells of the plane, dealt out."""
        return PointTasks().split(**FRACTIONS, salt=self.salt)

    @property
    def vector_env(self) -> Any:
        """Maker of points, as a tensor program."""
        return partial(PointNavigationVectorEnv, max_step=LONGEST_STEP, action_scale=LONGEST_STEP)

    def anchors(self, tasks: Sequence[Any]) -> Anchors:
        """Returns of standing still, and of the straight way."""
        floor, best = point_reference_returns(tasks, horizon=self.horizon)
        return Anchors(floor, best, "standing still")
