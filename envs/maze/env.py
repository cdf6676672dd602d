"""The grid maze, one at a time: a Gymnasium environment over the tables of `envs.maze.dynamics`.

The maze of Miconi et al. (2018, 2019) and Flennerhag et al. (2020), written from the papers. The
faults of the published code are left out; the one that lies in the maze itself, teleports into
pillars, can be had with ``teleport="interior"``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from ..base.checks import check_discrete
from ..base.single import TaskEnv
from .drawing import draw, maze_caption
from .dynamics import NUM_ACTIONS, TeleportMode, step_one, teleport_target
from .layout import Cell, Layout
from .settings import GoalRule, MazeSettings, Start, Tasks, check_task
from .tasks import MazeTask
from .views import View, view_space, views

__all__ = ["GridMazeEnv"]

ACTION_NAMES = ("up", "down", "left", "right")


class GridMazeEnv(TaskEnv[MazeTask, np.int64]):
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
    `envs.MetaObservation` adds what a meta-learner needs. With ``observe="walls_and_place"``
    ``Box(-1, 1, (23,), float32)``: and where the agent is (`envs.maze.views`).

    ## Rewards
    `reward` on entering the goal; ``-wall_penalty`` if a wall blocks the move; otherwise 0.

    ## Starting State
    The agent stands on the task's start cell (the centre), or with ``start="random"`` on a
    uniformly random free cell other than the goal. On entering the goal it is moved to such a cell.

    ## Episode End
    Truncated after `horizon` steps, by the environment itself. Never terminated, unless with
    ``goal="ends"``: entering the goal then pays and ends the episode.

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
    * `maze`, `size`: name of a maze (``"pillars"``, see `envs.maze.generators`) and its side (odd,
      at least 5), if neither `layout` nor `tasks` is given
    * `layout`: the walls
    * `horizon`: steps in an episode
    * `reward`: paid on entering the goal
    * `wall_penalty`: taken off when a wall blocks a move
    * `tasks`: a `TaskSet` or a sequence of `MazeTask` to draw from; by default every free cell but
      the centre is a goal
    * `teleport`: ``"free"``, or ``"interior"`` for the published fault (pillars too)
    * `start`: ``"centre"`` (the task's start cell), or ``"random"``
    * `goal`: what it does when it has paid, ``"teleports"`` or ``"ends"``
    * `observe`: ``"walls"``, or ``"walls_and_place"``
    * `render_mode`: ``"ansi"`` (text), ``"rgb_array"`` (uint8 picture), ``"human"`` (a window)

    ## Version History
    * v0: first version
    """

    task_type = MazeTask
    step_options = ("teleports",)

    def __init__(
        self,
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
        render_mode: str | None = None,
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
        super().__init__(self.settings.tasks, self.settings.horizon, render_mode)
        self.observation_space = view_space(observe)
        self.action_space = gymnasium.spaces.Discrete(NUM_ACTIONS)
        self.reward_range = self.settings.reward_range
        self.bounds = {"teleports": self.settings.tables.num_draws}
        self.may_terminate = goal == "ends"
        self._views = tuple(views(self.settings.tables, observe))
        self._last_action: int | None = None
        self._trail: list[Cell] = []

    # The episode ----------------------------------------------------------------------------

    def _begin(self, task: MazeTask) -> None:
        self._goal, self._cell = task.goal_number, task.start_number
        if self.settings.start == "random":
            draw = int(self.np_random.integers(self.layout.num_free - 1))
            self._cell = teleport_target(draw, self._goal)
        self._last_action = None
        self._trail = [self.agent_position]

    def _read_action(self, action: Any) -> np.int64:
        return check_discrete(action, NUM_ACTIONS, "0 up, 1 down, 2 left or 3 right")

    def _advance(self, action: np.int64) -> tuple[float, bool]:
        settings, goal, move = self.settings, self._goal, int(action)
        cell, hit, bumped = step_one(settings.tables, self._cell, move, goal)
        reward = settings.reward if hit else 0.0
        if bumped:
            reward -= settings.wall_penalty
        self._trail.append(settings.tables.places[cell])
        if hit and not self.may_terminate:
            cell = teleport_target(self._random("teleports"), goal)
            self._trail = [settings.tables.places[cell]]
        self._cell = cell
        self._last_action = move
        return reward, hit and self.may_terminate

    def _observe(self) -> NDArray[np.float32]:
        seen: NDArray[np.float32] = self._views[self._cell].copy()
        return seen

    # What can be asked ----------------------------------------------------------------------

    @property
    def layout(self) -> Layout:
        """The walls."""
        return self.settings.layout

    @property
    def agent_position(self) -> Cell:
        """The agent's (row, column)."""
        if self._elapsed is None:
            raise gymnasium.error.ResetNeeded("the agent is nowhere yet: call reset()")
        return self.settings.tables.places[self._cell]

    # Pictures -------------------------------------------------------------------------------

    def get_keys_to_action(self) -> dict[tuple[str, ...], Any]:
        """W up, S down, A left, D right, for `gymnasium.utils.play.play`."""
        return {(key,): action for action, key in enumerate("wsad")}

    def _picture(self) -> NDArray[np.uint8]:
        action = "–" if self._last_action is None else ACTION_NAMES[self._last_action]
        return draw(
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

    def _text(self) -> str:
        """The task's picture with ``A`` on the agent."""
        grid = [list(row) for row in self.task.to_ascii().splitlines()]
        row, column = self.agent_position
        grid[row][column] = "A"
        return "\n".join("".join(line) for line in grid)

    # Helpers --------------------------------------------------------------------------------

    def _check_task(self, task: Any) -> MazeTask:
        return check_task(task, self.layout)

    def _set_horizon(self, horizon: int) -> None:
        super()._set_horizon(horizon)
        self.settings = replace(self.settings, horizon=horizon)
