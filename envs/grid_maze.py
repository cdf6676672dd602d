"""The grid maze, one at a time: a Gymnasium environment over the tables of `envs.dynamics`.

The maze of Miconi et al. (2018, 2019) and Flennerhag et al. (2020), written from the papers. The
faults of the published code are left out; the one that lies in the maze itself, teleports into
pillars, can be had with ``teleport="interior"``.
"""

from __future__ import annotations

from typing import Any, SupportsInt

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.dynamics import NUM_ACTIONS, PATCH_SIZE, TeleportMode, step_one, teleport_target
from envs.layout import Cell, Layout
from envs.rendering import draw, maze_caption
from envs.settings import MazeSettings, Tasks, check_options, check_task
from envs.tasks import MazeTask, TaskDistribution
from envs.window import Window

__all__ = ["GridMazeEnv"]

OPTIONS = ("task", "same_task", "teleports")
ACTION_NAMES = ("up", "down", "left", "right")

Observation = NDArray[np.float32]


class GridMazeEnv(gymnasium.Env[Observation, np.int64]):
    """Find the hidden goal, then go back to it as often as you can.

    ## Description
    A maze of walls with one goal, which the agent never sees: it only gets a reward on entering
    the goal, and is then moved to a random place. Good behaviour is to explore until the goal is
    found, to remember where it is, and to return to it by the shortest way from wherever one is.
    Goals differ from task to task, so what can be learned across tasks is how to do this.

    ## Action Space
    ``Discrete(4)``: 0 up, 1 down, 2 left, 3 right. A wall blocks the move.

    ## Observation Space
    ``Box(0, 1, (9,), float32)``: the 3 x 3 walls around the agent, row by row, 1 for a wall.
    `envs.MetaObservation` adds what a meta-learner needs.

    ## Rewards
    `reward` on entering the goal; ``-wall_penalty`` if a wall blocks the move; otherwise 0.

    ## Starting State
    The agent stands on the task's start cell (the centre). On entering the goal it is moved to a
    uniformly random free cell other than the goal.

    ## Episode End
    Never terminated. Truncated after `horizon` steps, by the environment itself.

    ## Tasks
    ``reset(options={"task": task})`` or ``env.unwrapped.task = task`` sets a task, which is kept
    until another is set; ``options={"task": None}`` goes back to drawing. Without a set task
    every reset draws one from `tasks` with the seeded generator. ``options={"same_task": True}``
    starts another episode on the task at hand. With a set task the seed drives nothing but the
    teleports. ``options={"teleports": int64 [horizon]}`` replaces their draws for one episode:
    entry t, in [0, C - 1), counts the places other than the goal. ``info["task_id"]`` names the
    task.

    ## Arguments
    ```python
    gymnasium.make("metarl/GridMaze-v0", size=13, horizon=200)
    ```
    * `size`: side of the pillar maze, odd, at least 5; if neither `layout` nor `tasks` is given
    * `layout`: the walls
    * `horizon`: steps in an episode
    * `reward`: paid on entering the goal
    * `wall_penalty`: taken off when a wall blocks a move
    * `tasks`: a `TaskDistribution` or a sequence of `MazeTask` to draw from; by default every
      free cell but the centre is a goal
    * `teleport`: ``"free"``, or ``"interior"`` for the published fault (pillars too)
    * `render_mode`: ``"ansi"`` (text), ``"rgb_array"`` (uint8 picture), ``"human"`` (a window)

    ## Version History
    * v0: first version
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  # Gymnasium's own declaration
        "render_modes": ["ansi", "rgb_array", "human"],
        "render_fps": 8,
    }
    step_options = ("teleports",)
    may_terminate = False

    def __init__(
        self,
        *,
        size: int = 13,
        layout: Layout | None = None,
        horizon: int = 200,
        reward: float = 10.0,
        wall_penalty: float = 0.0,
        tasks: Tasks | None = None,
        teleport: TeleportMode = "free",
        render_mode: str | None = None,
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
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(
                f"render_mode must be None or one of {self.metadata['render_modes']}, "
                f"got {render_mode!r}"
            )
        self.render_mode = render_mode
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (PATCH_SIZE,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(NUM_ACTIONS)
        self._patches = tuple(self.settings.tables.patch)
        self._fixed_task: MazeTask | None = None
        self._task: MazeTask | None = None
        self._elapsed: int | None = None
        self._return = 0.0
        self._last_action: int | None = None
        self._trail: list[Cell] = []
        self._window: Window | None = None

    # The episode ----------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode.

        Args:
            seed: Seeds the draw of tasks and teleports.
            options: ``task``, ``same_task``, ``teleports``; see the class.

        Returns:
            The first observation, float32 [9], and ``{"task_id": ...}``.

        Raises:
            ValueError: If an option is unknown, or its task is for another layout.
            TypeError: If the task is not a `MazeTask`.
        """
        super().reset(seed=seed)
        chosen = check_options(options, OPTIONS)
        if "task" in chosen:
            task = chosen["task"]
            self._fixed_task = None if task is None else check_task(task, self.layout)
        if self._fixed_task is not None:
            self._task = self._fixed_task
        elif chosen.get("same_task"):
            self._task = self.task
        else:
            (self._task,) = self.task_distribution.sample(1, self.np_random)
        self._draws = self._read_teleports(chosen.get("teleports"))
        self._goal = self._task.goal_number
        self._cell = self._task.start_number
        self._elapsed = 0
        self._return = 0.0
        self._last_action = None
        self._trail = [self.agent_position]
        if self.render_mode == "human":
            self.render()
        return self._patches[self._cell].copy(), self._info()

    def step(self, action: SupportsInt) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Moves once.

        Args:
            action: 0 up, 1 down, 2 left, 3 right.

        Returns:
            Observation float32 [9], the reward of this action, terminated (always False),
            truncated (True at the horizon), info.

        Raises:
            ValueError: If `action` is not one of the four.
            gymnasium.error.ResetNeeded: Before the first reset, or past the end of an episode.
        """
        if self._elapsed is None or self._elapsed == self.horizon:
            raise gymnasium.error.ResetNeeded(
                "call reset() before the first step"
                if self._elapsed is None
                else f"the episode ended after {self.horizon} steps: call reset()"
            )
        move = int(action)
        if not 0 <= move < NUM_ACTIONS or move != action:
            raise ValueError(f"action must be 0 up, 1 down, 2 left or 3 right, got {action}")
        settings, goal = self.settings, self._goal
        cell, hit, bumped = step_one(settings.tables, self._cell, move, goal)
        reward = settings.reward if hit else 0.0
        if bumped:
            reward -= settings.wall_penalty
        self._trail.append(settings.tables.places[cell])
        if hit:
            cell = teleport_target(self._next_draw(), goal)
            self._trail = [settings.tables.places[cell]]
        self._cell = cell
        self._elapsed += 1
        self._return += reward
        self._last_action = move
        if self.render_mode == "human":
            self.render()
        return (
            self._patches[cell].copy(),
            reward,
            False,
            self._elapsed == self.horizon,
            self._info(),
        )

    # What can be asked ----------------------------------------------------------------------

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
        """Where tasks come from when none is set."""
        return self.settings.tasks

    @property
    def task(self) -> MazeTask:
        """The task at hand. Setting it ends the episode: call ``reset`` next."""
        if self._task is None:
            raise gymnasium.error.ResetNeeded("there is no task yet: set one or call reset()")
        return self._task

    @task.setter
    def task(self, task: MazeTask) -> None:
        self._fixed_task = self._task = check_task(task, self.layout)
        self._elapsed = None

    @property
    def agent_position(self) -> Cell:
        """The agent's (row, column)."""
        if self._elapsed is None:
            raise gymnasium.error.ResetNeeded("the agent is nowhere yet: call reset()")
        return self.settings.tables.places[self._cell]

    # Pictures -------------------------------------------------------------------------------

    def render(self) -> Any:
        """A picture of the maze in the mode chosen at construction.

        Returns:
            A string for ``ansi``, uint8 [height, width, 3] for ``rgb_array``, None for ``human``
            (which draws in a window, at ``metadata["render_fps"]``) and without a mode.
        """
        if self.render_mode is None:
            return None
        if self.render_mode == "ansi":
            return self._text()
        action = "–" if self._last_action is None else ACTION_NAMES[self._last_action]
        picture = draw(
            self.layout,
            agent=self.agent_position,
            goal=self.task.goal,
            trail=self._trail,
            caption=maze_caption(
                f"Grid maze {self.layout.height} × {self.layout.width}",
                self._elapsed or 0,
                self.horizon,
                action,
                self._return,
            ),
        )
        if self.render_mode == "rgb_array":
            return picture
        if self._window is None:
            self._window = Window("metarl/GridMaze-v0", self.metadata["render_fps"])
        self._window.show(picture)
        return None

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def _text(self) -> str:
        """The task's picture with ``A`` on the agent, and a line of numbers."""
        grid = [list(row) for row in self.task.to_ascii().splitlines()]
        row, column = self.agent_position
        grid[row][column] = "A"
        picture = "\n".join("".join(line) for line in grid)
        return f"{picture}\nstep {self._elapsed}/{self.horizon}  reward so far {self._return:g}\n"

    # Helpers --------------------------------------------------------------------------------

    def _info(self) -> dict[str, Any]:
        return {"task_id": self.task.task_id}

    def _next_draw(self) -> int:
        """The teleport of this step: given beforehand, or drawn now."""
        if self._draws is None:
            return int(self.np_random.integers(self.settings.tables.num_draws))
        assert self._elapsed is not None
        return int(self._draws[self._elapsed])

    def _read_teleports(self, teleports: Any) -> NDArray[np.int64] | None:
        if teleports is None:
            return None
        draws, num_draws = np.asarray(teleports), self.settings.tables.num_draws
        if draws.shape != (self.horizon,) or not np.issubdtype(draws.dtype, np.integer):
            raise ValueError(
                f"teleports must be whole numbers of shape (horizon,) = ({self.horizon},), got "
                f"{draws.dtype} of shape {draws.shape}"
            )
        if draws.min() < 0 or draws.max() >= num_draws:
            raise ValueError(f"teleports must lie in [0, {num_draws}): they skip the goal")
        return draws.astype(np.int64)
