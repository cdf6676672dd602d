"""Thousands of grid mazes as one tensor program: the twin of `envs.maze.env.GridMazeEnv`.

All mazes share a layout and move in lock step, each with its own hidden goal. Everything stays a
torch tensor on the chosen device and a step never waits for it: the step counter is a Python
integer, so that truncation is known without asking the device, and the teleports of an episode
are drawn ahead in blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from ..base.checks import check_render_mode
from ..base.tensor_environment import StepResult, TensorEnv
from .drawing import draw
from .dynamics import (
    NUM_ACTIONS,
    PATCH_SIZE,
    TeleportMode,
    TensorTables,
    as_actions,
    step_many,
    teleport_targets,
)
from .layout import Layout
from .settings import MazeSettings, Tasks, check_task
from .tasks import MazeTask, TaskDistribution

__all__ = ["GridMazeVectorEnv"]

MAX_FRAMES = 16
"""Mazes drawn by `render`, at most."""

KEEP: Any = object()
"""Stands for tasks that stay set, or unset."""

Read = tuple[Any, bool, torch.Tensor | None]
"""Goals and starts to set (None to draw, or `KEEP`), the same tasks again or not, teleports."""


class GridMazeVectorEnv(TensorEnv):
    """B grid mazes on a torch device; dynamics as in `envs.maze.env.GridMazeEnv`.

    ``reset`` returns float32 [B, 9] and an info dict with ``goals``, int64 [B], the cell numbers
    of the goals. ``step`` takes int64 [B] and returns observations float32 [B, 9], rewards
    float32 [B], terminated bool [B] (always False), truncated bool [B] and an info dict. The two
    flags are constants shared between steps: do not write into them.

    Reset options (all optional):
        tasks: A sequence of B `MazeTask`, kept for later resets; None goes back to drawing.
        goals: The same as int64 [B] cell numbers, with the default start cell.
        same_task: True starts another episode on the tasks at hand.
        teleports: int64 [horizon, B], for one episode, instead of random draws: entry (t, b) in
            [0, C - 1) counts the places other than the goal where maze b is sent if it finds
            its goal at step t. For replay and tests.
        reset_mask: Only all True: mazes in lock step are reset together.

    Args:
        num_envs: Number of mazes, B.
        size: Side of the pillar maze, if neither `layout` nor `tasks` is given.
        layout: The walls.
        horizon: Steps in an episode.
        reward: Paid on entering the goal.
        wall_penalty: Taken off when a wall blocks a move.
        tasks: Where goals come from when none are set: a `TaskDistribution` or a sequence of
            tasks to draw from uniformly. Every goal but the start by default.
        teleport: ``"free"`` or ``"interior"``, see `envs.maze.dynamics.TeleportMode`.
        device: Where all tensors live.
        generator: The source of tasks and teleports: one generator on `device`, or G of them, of
            which each drives B / G mazes in a row exactly as it would drive an environment of
            B / G mazes alone. By default the environment's own, seeded by ``reset(seed=...)``.
        autoreset_mode: What happens at the horizon. DISABLED: call ``reset``. SAME_STEP: the last
            step returns the next episode's first observation, and ``info["final_obs"]`` the last
            of this one. NEXT_STEP: the step after the last ignores its actions and resets.
        render_mode: None or ``"rgb_array"`` (frames of the first 16 mazes).
        validate_actions: Refuse actions out of range, which costs about 3 us a step. Done on the
            CPU only: elsewhere the check would have to wait for the device.

    Raises:
        ValueError: If a setting is out of range or settings contradict each other.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  # Gymnasium's own declaration
        "render_modes": ["rgb_array"],
        "render_fps": 8,
        "autoreset_mode": AutoresetMode.DISABLED,
    }
    options = ("tasks", "goals", "same_task", "teleports", "reset_mask")
    step_options = ("teleports",)
    may_terminate = False

    def __init__(
        self,
        num_envs: int = 1,
        *,
        size: int = 13,
        layout: Layout | None = None,
        horizon: int = 200,
        reward: float = 10.0,
        wall_penalty: float = 0.0,
        tasks: Tasks | None = None,
        teleport: TeleportMode = "free",
        device: torch.device | str = "cpu",
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.DISABLED,
        render_mode: str | None = None,
        validate_actions: bool = True,
    ) -> None:
        self.settings = MazeSettings.check(
            size=size,
            layout=layout,
            tasks=tasks,
            horizon=horizon,
            reward=reward,
            wall_penalty=wall_penalty,
            teleport=teleport,
        )
        check_render_mode(render_mode, self.metadata["render_modes"])
        super().__init__(
            num_envs,
            gymnasium.spaces.Box(0.0, 1.0, (PATCH_SIZE,), np.float32),
            gymnasium.spaces.Discrete(NUM_ACTIONS),
            device=device,
            generator=generator,
            autoreset_mode=autoreset_mode,
        )
        self.render_mode = render_mode
        self._validate = validate_actions and self.device.type == "cpu"
        self._tables = TensorTables.on(self.settings.tables, self.device)
        self._constants()
        self._fixed: tuple[torch.Tensor, torch.Tensor] | None = None
        self._block_start = 0
        self._targets: tuple[torch.Tensor, ...] = ()
        self._cells = self._default_starts

    # The environment ------------------------------------------------------------------------

    def step_tensors(self, actions: Any) -> StepResult:
        """`step`, always with tensors."""
        elapsed = self._elapsed
        if elapsed is None or elapsed == self.horizon:
            return self._step_past_the_end()
        actions = as_actions(actions, self.device)
        if actions.shape != self._batch_shape:
            self._check_shape(actions)
        if self._validate and not torch.equal(actions & (NUM_ACTIONS - 1), actions):
            raise ValueError(
                f"actions must be 0 up, 1 down, 2 left or 3 right, got values from "
                f"{int(actions.min())} to {int(actions.max())}"
            )
        offset = elapsed - self._block_start
        if offset == len(self._targets):
            self._draw_block()
            offset = 0
        self._cells, hits, index = step_many(
            self._tables, self._cells, actions, self._goals, self._targets[offset]
        )
        rewards = torch.where(hits, self._reward, self._zero)
        if self.settings.wall_penalty:
            blocked = torch.index_select(self._tables.bumped, 0, index)
            rewards = rewards.sub_(blocked, alpha=self.settings.wall_penalty)
        self._elapsed = elapsed + 1
        if self._elapsed == self.horizon:
            if self.autoreset_mode is AutoresetMode.SAME_STEP:
                return self._finish_all(rewards, self._false, self._true)
            return self._observe(), rewards, self._false, self._true, {}
        return self._observe(), rewards, self._false, self._false, {}

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """Pictures of the first 16 mazes, uint8 [height, width, 3] each; None without a mode."""
        if self.render_mode is None:
            return None
        agents = self.agent_positions[:MAX_FRAMES].tolist()
        goals = self._goals[:MAX_FRAMES].tolist()
        return tuple(
            draw(self.layout, agent=(row, column), goal=self.layout.free_cells[goal])
            for (row, column), goal in zip(agents, goals, strict=True)
        )

    # Public: what can be asked --------------------------------------------------------------

    @property
    def layout(self) -> Layout:
        """The walls."""
        return self.settings.layout

    @property
    def horizon(self) -> int:
        """Steps in an episode."""
        return self.settings.horizon

    @property
    def reward_range(self) -> tuple[float, float]:
        """The least and the largest reward of a step."""
        return self.settings.reward_range

    @property
    def task_distribution(self) -> TaskDistribution:
        """Where goals come from when none are set."""
        return self.settings.tasks

    @property
    def goals(self) -> torch.Tensor:
        """int64 [B], the cell numbers of the goals. Do not write into it."""
        self._check_running()
        return self._goals

    @property
    def agent_cells(self) -> torch.Tensor:
        """int64 [B], the places of the agents (``settings.tables.places``)."""
        self._check_running()
        return self._cells

    @property
    def agent_positions(self) -> torch.Tensor:
        """int64 [B, 2], the agents' (row, column)."""
        places = torch.tensor(self.settings.tables.places, device=self.device)
        return places.index_select(0, self.agent_cells)

    @property
    def tasks(self) -> tuple[MazeTask, ...]:
        """The B tasks at hand. Waits for the device."""
        self._check_running()
        cells = self.layout.free_cells
        pairs = zip(self._goals.tolist(), self._starts.tolist(), strict=True)
        return tuple(MazeTask(self.layout, cells[goal], cells[start]) for goal, start in pairs)

    # Tasks and episodes ---------------------------------------------------------------------

    def _read_options(self, chosen: dict[str, Any]) -> Read:
        if chosen.get("tasks") is not None and chosen.get("goals") is not None:
            raise ValueError("give tasks or goals in the reset options, not both")
        fixed = KEEP
        if chosen.get("tasks") is not None:
            fixed = self._read_tasks(chosen["tasks"])
        elif chosen.get("goals") is not None:
            fixed = self._read_goals(chosen["goals"]), self._default_starts
        elif "tasks" in chosen or "goals" in chosen:
            fixed = None
        same = fixed is KEEP and bool(chosen.get("same_task"))
        if same and self._fixed is None:
            self._check_running()
        teleports = chosen.get("teleports")
        return fixed, same, None if teleports is None else self._read_teleports(teleports)

    def _start_all(self, read: Read) -> tuple[torch.Tensor, dict[str, Any]]:
        fixed, same, teleports = read
        if fixed is not KEEP:
            self._fixed = fixed
        if self._fixed is not None:
            self._goals, self._starts = self._fixed
        elif not same:
            self._goals = self._generators.goals(self.task_distribution)
            self._starts = self._default_starts
        self._cells = self._starts
        self._elapsed = self._block_start = 0
        self._targets = ()
        if teleports is None:
            self._draw_block()
        else:
            self._targets = teleport_targets(teleports, self._goals).unbind(0)
        return self._observe(), {"goals": self._goals}

    def _read_tasks(self, tasks: Sequence[MazeTask]) -> tuple[torch.Tensor, torch.Tensor]:
        if len(tasks) != self.num_envs:
            raise ValueError(f"got {len(tasks)} tasks for {self.num_envs} mazes: give one for each")
        checked = [check_task(task, self.layout) for task in tasks]
        goals = [task.goal_number for task in checked]
        starts = [task.start_number for task in checked]
        return torch.tensor(goals, device=self.device), torch.tensor(starts, device=self.device)

    def _read_goals(self, goals: torch.Tensor) -> torch.Tensor:
        goals = torch.as_tensor(goals, device=self.device)
        if goals.dtype != torch.int64 or goals.shape != self._batch_shape:
            raise ValueError(
                f"goals must be int64 of shape ({self.num_envs},), got {goals.dtype} of shape "
                f"{tuple(goals.shape)}"
            )
        start = self.layout.cell_number(self.task_distribution.start)
        wrong = (goals < 0) | (goals >= self.layout.num_free) | (goals == start)
        if bool(wrong.any()):
            raise ValueError(
                f"goal {int(goals[wrong][0])} is no cell number in [0, {self.layout.num_free}) "
                f"other than the start's, {start}"
            )
        return goals.clone()

    def _draw_block(self) -> None:
        """Draws the teleports of the steps that follow, a block at a time."""
        self._block_start += len(self._targets)
        draws = self._generators.integers(
            self.settings.tables.num_draws, self.horizon - self._block_start
        )
        self._targets = teleport_targets(draws, self._goals).unbind(0)

    def _read_teleports(self, teleports: torch.Tensor) -> torch.Tensor:
        draws = torch.as_tensor(teleports, device=self.device)
        expected, num_draws = (self.horizon, self.num_envs), self.settings.tables.num_draws
        if draws.dtype != torch.int64 or tuple(draws.shape) != expected:
            raise ValueError(
                f"teleports must be int64 of shape (horizon, num_envs) = {expected}, got "
                f"{draws.dtype} of shape {tuple(draws.shape)}"
            )
        if bool(((draws < 0) | (draws >= num_draws)).any()):
            raise ValueError(f"teleports must lie in [0, {num_draws}): they skip the goal")
        return draws

    def _observe(self) -> torch.Tensor:
        """float32 [B, 9], a new tensor."""
        return torch.index_select(self._tables.patch, 0, self._cells)

    # Set-up and checks ----------------------------------------------------------------------

    def _constants(self) -> None:
        """Tensors that no step has to make."""
        self._batch_shape = torch.Size((self.num_envs,))
        self._reward = self._zero + self.settings.reward
        start = self.layout.cell_number(self.task_distribution.start)
        self._default_starts = torch.full((self.num_envs,), start, device=self.device)
