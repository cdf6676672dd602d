"""Thousands of grid mazes as one tensor program: the twin of `envs.maze.env.GridMazeEnv`.

All mazes share a layout and move in lock step, each with its own hidden goal; the teleports of an
episode are drawn ahead in blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from ..base.checks import as_actions, check_render_mode
from ..base.tasks import Tensors
from ..base.tensor import TensorEnv
from .drawing import draw
from .dynamics import (
    NUM_ACTIONS,
    TeleportMode,
    TensorTables,
    step_many,
    teleport_targets,
)
from .layout import Layout
from .settings import GoalRule, MazeSettings, Start, Tasks, check_task
from .tasks import MazeTask
from .views import View, view_space, views

__all__ = ["GridMazeVectorEnv"]

MAX_FRAMES = 16
"""Mazes drawn by `render`, at most."""


class GridMazeVectorEnv(TensorEnv[MazeTask]):
    """B grid mazes on a torch device; dynamics as in `envs.maze.env.GridMazeEnv`.

    Observations are float32 [B, 9], or [B, 23] with ``observe="walls_and_place"``; actions int64
    [B]; a task's parameters the cell numbers of goal and start, int64 [B] each. ``info["goals"]``
    of a reset are the goals. Where the goal ends the episode, episodes end at different times; see
    `envs.base.tensor` for what then happens.

    Reset options (all optional):
        tasks: B tasks, kept for later resets: a sequence of `MazeTask`, or int64 [B, 2], the cell
            numbers of goal and start. None goes back to drawing.
        goals: The same as int64 [B] cell numbers, with the default start cell.
        same_task: True starts another episode on the tasks at hand.
        teleports: int64 [horizon, B], for one episode, instead of random draws: entry (t, b) in
            [0, C - 1) counts the places other than the goal where maze b is sent if it finds
            its goal at step t. For replay and tests.
        reset_mask: Only all True: mazes in lock step are reset together.

    Args:
        num_envs: Number of mazes, B.
        maze: Name of the maze, if neither `layout` nor `tasks` is given; see
            `envs.maze.generators`.
        size: Side of the maze.
        layout: The walls.
        horizon: Steps in an episode.
        reward: Paid on entering the goal.
        wall_penalty: Taken off when a wall blocks a move.
        tasks: Source of goals when none are set: a `TaskSet` or a sequence of `MazeTask` to
            draw from uniformly. Every goal but the start by default.
        teleport: ``"free"`` or ``"interior"``, see `envs.maze.dynamics.TeleportMode`.
        start: The start of episodes, see `envs.maze.settings.Start`.
        goal: The goal's rule when it has paid, see `envs.maze.settings.GoalRule`.
        observe: The view of an agent, see `envs.maze.views.View`.
        device: Device of all tensors.
        generator: The source of tasks and teleports: one generator on `device`, or G of them, of
            which each drives B / G mazes in a row exactly as it would drive an environment of
            B / G mazes alone. By default the environment's own, seeded by ``reset(seed=...)``.
        autoreset_mode: Behaviour at the horizon. DISABLED: call ``reset``. SAME_STEP: the last
            step returns the next episode's first observation, and ``info["final_obs"]`` the last
            of this one. NEXT_STEP: the step after the last ignores its actions and resets.
        render_mode: None or ``"rgb_array"`` (frames of the first 16 mazes).
        validate_actions: Refuse actions out of range, which costs about 3 us per step. Done on the
            CPU only: elsewhere the check would have to wait for the device.

    Raises:
        ValueError: If a setting is out of range or settings contradict each other.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  # Gymnasium's own declaration
        "render_modes": ["rgb_array"],
        "render_fps": 8,
        "autoreset_mode": AutoresetMode.DISABLED,
    }
    task_type = MazeTask
    parameter_dtype = torch.int64
    step_options = ("teleports",)

    def __init__(
        self,
        num_envs: int = 1,
        *,
        maze: str = "pillars",
        size: int = 13,
        layout: Layout | None = None,
        horizon: int = 200,
        reward: float = 10.0,
        wall_penalty: float = 0.0,
        tasks: Tasks | None = None,
        teleport: TeleportMode = "free",
        start: Start = "centre",
        goal: GoalRule = "teleports",
        observe: View = "walls",
        device: torch.device | str = "cpu",
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.DISABLED,
        render_mode: str | None = None,
        validate_actions: bool = True,
    ) -> None:
        self.settings = MazeSettings.check(
            maze=maze,
            size=size,
            layout=layout,
            tasks=tasks,
            horizon=horizon,
            reward=reward,
            wall_penalty=wall_penalty,
            teleport=teleport,
            start=start,
            goal=goal,
            observe=observe,
        )
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.reward_range = self.settings.reward_range
        self.may_terminate = goal == "ends"
        super().__init__(
            num_envs,
            self.settings.tasks,
            self.settings.horizon,
            {"goal": (), "start": ()},
            view_space(observe),
            gymnasium.spaces.Discrete(NUM_ACTIONS),
            device=device,
            generator=generator,
            autoreset_mode=autoreset_mode,
            bounds={"teleports": self.settings.tables.num_draws},
        )
        self.render_mode = render_mode
        self._validate = validate_actions and self.device.type == "cpu"
        self._tables = TensorTables.on(self.settings.tables, self.device)
        self._views = torch.tensor(views(self.settings.tables, observe), device=self.device)
        self._wall_penalty = self.settings.wall_penalty
        self._reward = self._zero + self.settings.reward
        self._batch_shape = torch.Size((self.num_envs,))
        self._cells = torch.zeros(self._batch_shape, dtype=torch.int64, device=self.device)

    # The environment ------------------------------------------------------------------------

    def _begin(self, started: torch.Tensor | None) -> None:
        self._goals, starts = self._params
        if self.settings.start == "random":
            starts = self._draw_starts(started)
        if started is not None:
            self._cells = torch.where(started, starts, self._cells)
            return
        self._cells = starts
        # Drawn whatever the goal does, so that goals and starts do not depend on it.
        self._targets = self._next_targets()

    def _read_actions(self, actions: Any) -> torch.Tensor:
        moves = as_actions(actions, self.device)
        if moves.shape != self._batch_shape:
            self._check_shape(moves)
        if self._validate and not torch.equal(moves & (NUM_ACTIONS - 1), moves):
            raise ValueError(
                f"actions must be 0 up, 1 down, 2 left or 3 right, got values from "
                f"{int(moves.min())} to {int(moves.max())}"
            )
        return moves

    def _advance(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        before = self._cells
        # An agent whose goal ends the episode stays on it: it is sent to where it is.
        targets = self._goals if self.may_terminate else next(self._targets, None)
        if targets is None:
            self._targets = self._next_targets()
            targets = next(self._targets)
        cells, hits, index = step_many(self._tables, before, actions, self._goals, targets)
        rewards = torch.where(hits, self._reward, self._zero)
        if self._wall_penalty:
            blocked = torch.index_select(self._tables.bumped, 0, index)
            rewards = rewards.sub_(blocked, alpha=self._wall_penalty)
        if not self.may_terminate:
            self._cells = cells
            return rewards, None
        self._cells = torch.where(self._ended, before, cells)
        return rewards, hits

    def _observe(self) -> torch.Tensor:
        return torch.index_select(self._views, 0, self._cells)

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

    # What can be asked ----------------------------------------------------------------------

    @property
    def layout(self) -> Layout:
        """The walls."""
        return self.settings.layout

    @property
    def options(self) -> tuple[str, ...]:
        """The reset options it knows."""
        return ("goals", *super().options)

    @property
    def goals(self) -> torch.Tensor:
        """int64 [B], the cell numbers of the goals. Do not write into it."""
        return self.task_parameters[0]

    @property
    def agent_cells(self) -> torch.Tensor:
        """int64 [B], the places of the agents (``settings.tables.places``)."""
        self._check_running()
        return self._cells

    @property
    def agent_positions(self) -> torch.Tensor:
        """int64 [B, 2], the agents' (row, column)."""
        places = torch.tensor(self.settings.tables.places, device=self.device)
        return torch.index_select(places, 0, self.agent_cells)

    # Tasks ----------------------------------------------------------------------------------

    def _read_fixed(self, chosen: dict[str, Any]) -> Any:
        if chosen.get("goals") is None:
            return (
                None if "goals" in chosen and "tasks" not in chosen else super()._read_fixed(chosen)
            )
        if chosen.get("tasks") is not None:
            raise ValueError("give tasks or goals in the reset options, not both")
        return self._read_goals(chosen["goals"])

    def _read_goals(self, goals: torch.Tensor) -> Tensors:
        goals = torch.as_tensor(goals, device=self.device)
        if goals.dtype != torch.int64 or goals.shape != self._batch_shape:
            raise ValueError(
                f"goals must be int64 of shape ({self.num_envs},), got {goals.dtype} of shape "
                f"{tuple(goals.shape)}"
            )
        usual = {task.start_number for task in self.settings.tasks}
        if len(usual) > 1:
            raise ValueError(
                "goals alone do not say a task here, where tasks start on different cells: give "
                "tasks in the reset options"
            )
        starts = torch.full_like(goals, usual.pop())
        self._check_parameters(goals, starts)
        return goals.clone(), starts

    def _check_parameters(self, *parameters: torch.Tensor) -> None:
        goals, starts = parameters
        num_free = self.layout.num_free
        outside = (starts < 0) | (starts >= num_free)
        if bool(outside.any()):
            raise ValueError(
                f"start {int(starts[outside][0])} is no cell number in [0, {num_free})"
            )
        wrong = (goals < 0) | (goals >= num_free) | (goals == starts)
        if bool(wrong.any()):
            raise ValueError(
                f"goal {int(goals[wrong][0])} is no cell number in [0, {num_free}) "
                f"other than the start's, {int(starts[wrong][0])}"
            )

    def _check_task(self, task: Any) -> MazeTask:
        return check_task(task, self.layout)

    def _task_of(self, *arrays: NDArray[Any]) -> MazeTask:
        cells = self.layout.free_cells
        goal, start = (cells[int(number)] for number in arrays)
        return MazeTask(self.layout, goal, start)

    def _info(self) -> dict[str, Any]:
        return {"goals": self._params[0], **super()._info()}

    def _next_targets(self) -> Iterator[torch.Tensor]:
        """Yields the places to which finds in the next steps send the agents, int64 [B] each."""
        draws = self._random.block("teleports")  # [T', B]
        return iter(teleport_targets(draws, self._goals).unbind(0))

    def _draw_starts(self, started: torch.Tensor | None) -> torch.Tensor:
        """int64 [B], free cells other than the goals."""
        if started is None:
            # For nothing: so drew version 0.1, whose runs are resumed to the same numbers.
            self._generators.integers(self.settings.tables.num_draws, self.horizon)
        draws = self._generators.integers(self.layout.num_free - 1, 1)[0]
        return teleport_targets(draws, self._goals)
