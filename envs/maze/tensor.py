"""Thousands of grid mazes as one tensor program: the twin of `envs.maze.env.GridMazeEnv`.

The mazes move in lock step, each with its own hidden goal, in one layout or each in its own, whose
tables lie side by side in a bank (`envs.maze.bank`). The teleports of an episode are drawn ahead in
blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from ..base.checks import as_actions, check_render_mode
from ..base.tasks import Tensors
from ..base.tensor import KEEP, TensorEnv
from .boards import Boards, Draws
from .drawing import draw
from .dynamics import GOES, NUM_ACTIONS, TURNING_ACTIONS, TURNS, TeleportMode, step_many
from .exploration import Explored
from .layout import Layout
from .look_up import HandsOver, Targets
from .numbers import TaskReader, parameter_shapes
from .settings import (
    MOST_DRAWS,
    Facing,
    GoalRule,
    MazeSettings,
    Observe,
    Respawn,
    Start,
    Tasks,
    same_rule,
    same_sight,
)
from .tasks import MazeTask
from .views import View

__all__ = ["GridMazeVectorEnv"]

MAX_FRAMES = 16
"""Mazes drawn by `render`, at most."""


class GridMazeVectorEnv(HandsOver, TensorEnv[MazeTask]):
    """B grid mazes on a torch device; dynamics as in `envs.maze.env.GridMazeEnv`.

    Observations are float32 [B, I], as of the single environment (9 numbers by default); actions
    int64 [B]. A task's parameters are the cell numbers of goal and start, int64 [B] each; where
    tasks have several layouts, their walls, int64 [B, H] (`envs.maze.bits`); of an agent that
    turns, the direction at the start, int64 [B], -1 where the task says none. ``info["goals"]`` of
    a reset are the goals. With an `exploration_bonus`, ``info["bonus"]`` of a step is what of the
    rewards it is, float32 [B]. Where a find ends the episode, episodes end at different times; see
    `envs.base.tensor` for what then happens.

    Reset options (all optional):
        tasks: B tasks of any layouts, kept for later resets: a sequence of `MazeTask`, or rows of
            `task_tensor`. None goes back to drawing.
        goals: The same as int64 [B] cell numbers of the one layout, with the default start cell.
        same_task: True starts another episode on the tasks at hand.
        teleports: int64 [horizon, B], for one episode, instead of random draws: entry (t, b) in
            [0, C - 1) counts the places other than the goal where maze b is sent if it finds
            its goal at step t. For replay and tests. C is the number of free cells; four times
            that many places of an agent that turns, of which four are on the goal. Where layouts
            differ, entries are taken modulo each maze's number of other places.
        reset_mask: Only all True: mazes in lock step are reset together.

    Attributes:
        exploration_bonus: Paid from the next reset on; may be set.

    Args:
        num_envs: Number of mazes, B.
        maze: Name of the maze, if neither `layout` nor `tasks` is given; see
            `envs.maze.generators`. Of random mazes it is the first of seed 0;
            ``tasks=envs.MazeFamily(name, size)`` draws another for every task.
        size: Side of the maze.
        layout: The walls.
        horizon: Steps in an episode.
        reward: Paid on entering the goal.
        wall_penalty: Taken off when a wall blocks a move.
        tasks: Source of tasks when none are set: a `TaskSet` or a sequence of `MazeTask` to
            draw from uniformly, of any layouts, or a family of mazes, from which every episode
            gets fresh layouts. Every goal but the start of the one layout by default.
        teleport: ``"free"`` or ``"interior"``, see `envs.maze.dynamics.TeleportMode`.
        start: The start of episodes, see `envs.maze.settings.Start`.
        respawn: What a find does, see `envs.maze.settings.Respawn`.
        view: What an agent sees, and whether it turns, see `envs.maze.views.View`.
        position: Whether it also sees its place.
        see_through: Whether walls hide nothing from an agent that turns.
        facing: The way an agent that turns looks at first, see `envs.maze.settings.Facing`.
        exploration_bonus: Paid for entering a cell for the first time in the episode before its
            first find; for training, 0 where returns are measured.
        goal: Former name of `respawn`: ``"teleports"`` for ``"random"``, ``"ends"`` for ``"end"``.
        observe: Former name of `view`: ``"walls"``, or ``"walls_and_place"`` with the position.
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
        respawn: Respawn = "random",
        view: View = "3x3",
        position: bool = False,
        see_through: bool = False,
        facing: Facing = "right",
        exploration_bonus: float = 0.0,
        goal: GoalRule | None = None,
        observe: Observe | None = None,
        device: torch.device | str = "cpu",
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.DISABLED,
        render_mode: str | None = None,
        validate_actions: bool = True,
    ) -> None:
        self.settings = settings = MazeSettings.check(
            maze=maze,
            size=size,
            layout=layout,
            tasks=tasks,
            horizon=horizon,
            reward=reward,
            wall_penalty=wall_penalty,
            teleport=teleport,
            start=start,
            respawn=same_rule(respawn, goal),
            sight=same_sight(view, position, see_through, observe),
            facing=facing,
            exploration_bonus=exploration_bonus,
        )
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.reward_range = settings.reward_range
        self.may_terminate = settings.respawn == "end"
        self._turning = settings.sight.turning
        super().__init__(
            num_envs,
            settings.tasks,
            settings.horizon,
            parameter_shapes(settings),
            settings.sight.space,
            gymnasium.spaces.Discrete(TURNING_ACTIONS if self._turning else NUM_ACTIONS),
            device=device,
            generator=generator,
            autoreset_mode=autoreset_mode,
            bounds={"teleports": settings.num_draws},
        )
        self.render_mode = render_mode
        self._set_up(settings, validate_actions)

    # The environment ------------------------------------------------------------------------

    def _set_up(self, settings: MazeSettings, validate: bool) -> None:
        """Makes what plays: the boards, the draws and the agents on them."""
        self._validate = validate and self.device.type == "cpu"
        self._reward = self._zero + settings.reward
        self._wall_penalty = settings.wall_penalty
        self._goes_back = settings.respawn == "start"
        self._batch_shape = torch.Size((self.num_envs,))
        self._reader = TaskReader(settings, self.num_envs, self.device)
        self._boards = Boards(self.num_envs, settings, self.device)
        self._bank = self._boards.bank
        self._room = self._bank.room(self.num_envs)
        self._draws = Draws(settings, self._boards)
        self._places = torch.zeros(self._batch_shape, dtype=torch.int64, device=self.device)
        self._starts = self._goal_cells = self._places
        self._targets = Targets()
        self.exploration_bonus = settings.exploration_bonus
        self._explored: Explored | None = None

    def _begin(self, started: torch.Tensor | None) -> None:
        boards, settings = self._boards, self.settings
        bank = boards.settle(self._reader.layouts(self._params), self._fixed is None, started)
        if bank is not self._bank:
            self._bank, self._room = bank, bank.room(self.num_envs)
        goals, starts = self._params[:2]
        if settings.start == "random":
            starts = self._draws.starts(self._generators, goals, started)
        if self._turning:
            directions = self._draws.directions(self._generators, self._params[-1])
            starts = starts * settings.sight.poses + directions
        self._goal_cells, places = boards.cells(goals), boards.places(starts)
        if started is not None:
            places = torch.where(started, places, self._places)
            self._starts = torch.where(started, places, self._starts)
        else:
            self._starts = places
            self._random.bounds = self._bounds_of(self._fixed)
            # In one layout drawn whatever a find does: goals and starts do not depend on it.
            if settings.respawn == "random" or boards.slots is None:
                self._targets = Targets(self._next_targets)
            self._start_exploration()
        self._places = places
        if self._explored is not None:
            self._explored.start(boards.own_cells(places), started)

    def _start_exploration(self) -> None:
        """Takes the bonus that holds until the next reset of all mazes."""
        bonus, self._explored = self.exploration_bonus, None
        if bonus or self._told:  # once told of, told of to the end
            self._told = {"bonus": torch.zeros_like(self._false, dtype=torch.float32)}
        if bonus:  # without one a step has nothing to add
            num_cells = self._bank.sizes.cells
            self._explored = Explored(self.num_envs, num_cells, bonus, self.device)

    def _read_actions(self, actions: Any) -> torch.Tensor:
        moves = as_actions(actions, self.device)
        if moves.shape != self._batch_shape:
            self._check_shape(moves)
        if self._validate and not torch.equal(moves & (NUM_ACTIONS - 1), moves):
            self._refuse(moves)
        if self._turning and self._validate and bool((moves == TURNING_ACTIONS).any()):
            self._refuse(moves)
        return moves

    def _refuse(self, moves: torch.Tensor) -> NoReturn:
        names = TURNS if self._turning else GOES
        raise ValueError(
            f"actions must be {names}, got values from {int(moves.min())} to {int(moves.max())}"
        )

    def _advance(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        before, bank = self._places, self._bank
        index, reached, hits = step_many(
            bank.next_place, before, actions, self._goal_cells, self._turning, self._room
        )
        rewards = torch.where(hits, self._reward, self._zero)
        if self._wall_penalty:
            blocked = bank.blocked(index, before, reached)
            rewards = rewards.sub_(blocked, alpha=self._wall_penalty)
        if self._explored is not None:
            cells = self._boards.own_cells(reached)
            bonus = self._explored.enter(cells, hits).masked_fill_(self._ended, 0.0)
            self._told = {"bonus": bonus}
            rewards = rewards.add_(bonus)
        if self.may_terminate:  # an agent that has found its goal stays on it
            self._places = torch.where(self._ended, before, reached)
            return rewards, hits
        targets = self._starts if self._goes_back else self._targets.next()
        self._places = torch.where(hits, targets, reached)
        return rewards, None

    def _observe(self) -> torch.Tensor:
        whole = self._bank.whole
        if whole is not None:  # a call less in the usual step
            return torch.index_select(whole, 0, self._places)
        return self._bank.observe(self._places, self._room)

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """Pictures of the first 16 mazes, uint8 [height, width, 3] each; None without a mode."""
        if self.render_mode is None:
            return None
        cells = self.agent_positions[:MAX_FRAMES].tolist()
        ways = self.agent_directions[:MAX_FRAMES].tolist() if self._turning else [None] * len(cells)
        return tuple(
            draw(task.layout, agent=(row, column), goal=task.goal, facing=way)
            for task, (row, column), way in zip(
                self._reader.values(self._params, self._boards, len(cells)),
                cells,
                ways,
                strict=True,
            )
        )

    # What can be asked ----------------------------------------------------------------------

    @property
    def layout(self) -> Layout:
        """The walls, where all tasks that are drawn have the same."""
        if self.settings.layout is None:
            raise AttributeError("these mazes have layouts of their own: ask `tasks` for them")
        return self.settings.layout

    @property
    def options(self) -> tuple[str, ...]:
        """The reset options it knows."""
        return ("goals", *super().options)

    @property
    def task_parameters(self) -> Tensors:
        """The arrays of the tasks at hand, [B, ...] each. Do not write into them."""
        self._check_running()
        return self._reader.shown(self._params, self._boards)

    @property
    def tasks(self) -> tuple[MazeTask, ...]:
        """The B tasks at hand. Waits for the device."""
        self._check_running()
        return self._reader.values(self._params, self._boards, self.num_envs)

    @property
    def goals(self) -> torch.Tensor:
        """int64 [B], the cell numbers of the goals. Do not write into it."""
        return self.task_parameters[0]

    @property
    def agent_cells(self) -> torch.Tensor:
        """int64 [B], the cell numbers of the agents (pillars behind the free cells)."""
        self._check_running()
        return self._boards.own_cells(self._places)

    @property
    def agent_directions(self) -> torch.Tensor:
        """int64 [B], the ways that agents look: 0 right, 1 down, 2 left, 3 up.

        Raises:
            ValueError: If agents do not turn.
        """
        self._check_running()
        if not self._turning:
            raise ValueError("these agents do not turn: make the mazes with an egocentric view")
        return self._places.to(torch.int64) % self.settings.sight.poses

    @property
    def agent_positions(self) -> torch.Tensor:
        """int64 [B, 2], the agents' (row, column)."""
        self._check_running()
        return self._boards.bank.positions(self._places)

    # Tasks ----------------------------------------------------------------------------------

    def task_tensor(self, tasks: Sequence[Any]) -> torch.Tensor:
        """The numbers of N tasks, as the reset option ``tasks`` takes them.

        Args:
            tasks: N tasks.

        Returns:
            int64 [N, D] on `device`: cell numbers of goal and start; the rows of the walls, unless
            all are those of the environment's one layout; of agents that turn the direction at
            the start, -1 where a task says none. Row n repeated is task n in several mazes.

        Raises:
            TypeError: If a task is of another kind.
            ValueError: If a task cannot be played.
        """
        return self._reader.numbers(tasks)

    def _bounds_of(self, fixed: Any) -> Mapping[str, int]:
        kept = self._fixed if fixed is KEEP else fixed
        alike = self.settings.layout is not None and (
            kept is None or self._reader.layouts(kept) is None
        )
        return {"teleports": self.settings.num_draws if alike else MOST_DRAWS}

    def _read_fixed(self, chosen: dict[str, Any]) -> Any:
        return self._reader.read(chosen)

    def _check_parameters(self, *parameters: torch.Tensor) -> None:
        """Does nothing: the reader of tasks has checked them."""

    def _info(self) -> dict[str, Any]:
        shown: Any = self._reader.shown(self._params, self._boards)
        if self.speaks_numpy:  # where everything is an array, or a dict of arrays
            shown = self._reader.named(shown)
        return {"goals": self._params[0], "task_parameters": shown}

    # Draws ----------------------------------------------------------------------------------

    def _drawn_tasks(self, where: torch.Tensor | None) -> Tensors:
        return self._draws.tasks(self._generators, where, self._params)

    def _next_targets(self) -> torch.Tensor:
        """The places to which finds in the next steps send the agents, [T', B]."""
        return self._boards.targets(self._random.block("teleports"), self._params[0])
