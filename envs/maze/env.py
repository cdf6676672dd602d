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
from .drawing import TURN_NAMES, draw, maze_caption
from .dynamics import (
    GOES,
    NUM_ACTIONS,
    TURNING_ACTIONS,
    TURNS,
    TeleportMode,
    step_one,
    teleport_target,
)
from .layout import Cell, Layout
from .settings import (
    FACINGS,
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
from .tasks import ARROWS, MazeTask
from .views import View, views

__all__ = ["GridMazeEnv"]

ACTION_NAMES = ("up", "down", "left", "right")


class GridMazeEnv(TaskEnv[MazeTask, np.int64]):
    """Find the hidden goal, then go back to it as often as you can.

    ## Description
    A maze of walls with one goal, which the agent never sees: it only gets a reward on entering
    the goal, and is then moved to a random place. Good behaviour is to explore until the goal is
    found, to remember where it is, and to return to it by the shortest way from wherever one is.
    Goals differ from task to task, and walls may, so what can be learned across tasks is how to
    do this.

    ## Action Space
    ``Discrete(4)``: 0 up, 1 down, 2 left, 3 right. A wall blocks the move. With an egocentric view
    the agent turns, and it is ``Discrete(3)``: 0 turn left, 1 turn right, 2 go ahead.

    ## Observation Space
    ``Box(0, 1, (9,), float32)``: the 3 x 3 walls around the agent, row by row, 1 for a wall.
    `envs.MetaObservation` adds what a meta-learner needs. Other views:

    * ``"5x5"``: ``Box(0, 1, (25,))``, the 5 x 5 walls around it, 1 outside the maze
    * ``"egocentric-5"``, ``"egocentric-7"``: ``Box(-1, 1, (25 or 49,))``, the square ahead of an
      agent that turns, row by row from the farthest, each from left to right; the agent stands in
      the middle of the last row. 1 for a wall, 0 for a free cell, -1 for one that is not seen:
      walls hide what is behind them by Minigrid's rule (`envs.maze.views`). With
      ``see_through=True`` everything is seen, ``Box(0, 1, ...)``

    With ``position=True`` 14 numbers in [-1, 1] follow that say where the agent is
    (`envs.maze.views.written_places`), and four more, one-hot, the way it faces, if it turns.

    ## Rewards
    `reward` on entering the goal; ``-wall_penalty`` if a wall blocks the move; otherwise 0. With
    an `exploration_bonus`, that too, for entering a cell for the first time in the episode before
    its first find; ``info["bonus"]`` is what of a step's reward it is.

    ## Starting State
    The agent stands on the task's start cell (by default the free cell nearest to the centre), or
    with ``start="random"`` on a uniformly random free cell other than the goal. One that turns
    looks in the task's direction, or as `facing` says.

    ## After a Find
    ``respawn="random"`` moves the agent to a uniformly random place other than the goal (one that
    turns to look in a random direction), ``"start"`` to where the episode started.

    ## Episode End
    Truncated after `horizon` steps, by the environment itself. Never terminated, unless with
    ``respawn="end"``: entering the goal then pays and ends the episode.

    ## Tasks
    ``reset(options={"task": task})`` or ``env.unwrapped.task = task`` sets a task of any layout,
    which is kept until another is set; ``options={"task": None}`` goes back to drawing. Without a
    set task every reset draws one from `tasks` with the seeded generator.
    ``options={"same_task": True}`` starts another episode on the task at hand. With a set task the
    seed drives nothing but the teleports. ``options={"teleports": int64 [horizon]}`` replaces
    their draws for one episode: entry t, in [0, C - 1), counts the places other than the goal
    (`envs.maze.tensor.GridMazeVectorEnv` says more). ``info["task_id"]`` names the task.

    ## Arguments
    ```python
    gymnasium.make("metarl/GridMaze-v0", size=13, horizon=200)
    ```
    * `maze`, `size`: name of a maze (``"pillars"``, see `envs.maze.generators`) and its side (odd,
      at least 5), if neither `layout` nor `tasks` is given; of random mazes it is the first of seed
      0, and ``tasks=envs.MazeFamily(name, size)`` draws another for every task
    * `layout`: the walls
    * `horizon`: steps in an episode
    * `reward`: paid on entering the goal
    * `wall_penalty`: taken off when a wall blocks a move
    * `tasks`: a `TaskSet` or a sequence of `MazeTask` to draw from, of any layouts, or a family of
      mazes; by default every free cell but the start is a goal of the one layout
    * `teleport`: ``"free"``, or ``"interior"`` for the published fault (pillars too)
    * `start`: ``"centre"`` (the task's start cell), or ``"random"``
    * `respawn`: what a find does, ``"random"``, ``"start"`` or ``"end"``
    * `view`, `position`, `see_through`: what the agent sees, as above
    * `facing`: ``"right"``, ``"down"``, ``"left"``, ``"up"`` or ``"random"``
    * `exploration_bonus`: see above; for training, 0 where returns are measured
    * `goal`, `observe`: former names of `respawn` (``"teleports"``, ``"ends"``) and of `view`
      (``"walls"``, or ``"walls_and_place"`` with the position)
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
        respawn: Respawn = "random",
        view: View = "3x3",
        position: bool = False,
        see_through: bool = False,
        facing: Facing = "right",
        exploration_bonus: float = 0.0,
        goal: GoalRule | None = None,
        observe: Observe | None = None,
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
            respawn=same_rule(respawn, goal),
            sight=same_sight(view, position, see_through, observe),
            facing=facing,
            exploration_bonus=exploration_bonus,
        )
        super().__init__(self.settings.tasks, self.settings.horizon, render_mode)
        self._turning = self.settings.sight.turning
        self.observation_space = self.settings.sight.space
        self.action_space = gymnasium.spaces.Discrete(
            TURNING_ACTIONS if self._turning else NUM_ACTIONS
        )
        self.reward_range = self.settings.reward_range
        self.bounds = {"teleports": self.settings.num_draws}
        self.may_terminate = self.settings.respawn == "end"
        self._last_action: int | None = None
        self._trail: list[Cell] = []
        self._entered: set[Cell] = set()
        self._found = False
        self._bonus = 0.0  # of the last step

    # The episode ----------------------------------------------------------------------------

    def _begin(self, task: MazeTask) -> None:
        settings, poses = self.settings, self.settings.sight.poses
        self._tables = settings.compiled(task.layout)
        self._views = views(self._tables, settings.sight)
        self.bounds = {"teleports": self._tables.num_draws}
        self._goal, start = task.goal_number, task.start_number
        if settings.start == "random":
            draw = int(self.np_random.integers(task.layout.num_free - 1))
            start = teleport_target(draw, self._goal)
        self._place = self._start = poses * start + self._direction(task)
        self._last_action = None
        self._trail = [self.agent_position]
        self._entered, self._found = {self.agent_position}, False

    def _direction(self, task: MazeTask) -> int:
        """The way the agent looks at the start; 0 of one that does not turn."""
        if not self._turning:
            return 0
        facing = self.settings.facing
        drawn = facing == "random"
        usual = (
            int(self.np_random.integers(self.settings.sight.poses))
            if drawn
            else FACINGS.index(facing)
        )
        return usual if task.direction is None else task.direction

    def _read_action(self, action: Any) -> np.int64:
        if self._turning:
            return check_discrete(action, TURNING_ACTIONS, TURNS)
        return check_discrete(action, NUM_ACTIONS, GOES)

    def _advance(self, action: np.int64) -> tuple[float, bool]:
        settings, tables, goal = self.settings, self._tables, self._goal
        place, hit, bumped = step_one(tables, self._place, int(action), goal)
        reward = settings.reward if hit else 0.0
        if bumped:
            reward -= settings.wall_penalty
        cell = tables.places[place]
        self._found = self._found or hit
        self._bonus = 0.0 if self._found or cell in self._entered else settings.exploration_bonus
        self._entered.add(cell)
        self._trail.append(cell)
        if hit and not self.may_terminate:
            place = self._start if settings.respawn == "start" else self._teleported()
            self._trail = [tables.places[place]]
        self._place = place
        self._last_action = int(action)
        return reward + self._bonus, hit and self.may_terminate

    def _teleported(self) -> int:
        """The place to which a find now sends the agent at random."""
        poses, others = self._tables.poses, self._tables.num_draws
        return teleport_target(self._random("teleports") % others, self._goal, poses)

    def _observe(self) -> NDArray[np.float32]:
        seen: NDArray[np.float32] = self._views[self._place].copy()
        return seen

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Takes a step, as `envs.base.single.TaskEnv.step`; ``info["bonus"]`` where one is paid."""
        result = super().step(action)
        if self.settings.exploration_bonus:
            result[-1]["bonus"] = self._bonus
        return result

    # What can be asked ----------------------------------------------------------------------

    @property
    def layout(self) -> Layout:
        """The walls: of the task at hand, or before there is one those all tasks share."""
        if self._task is not None:
            return self._task.layout
        if self.settings.layout is None:
            raise gymnasium.error.ResetNeeded("tasks have layouts of their own: call reset()")
        return self.settings.layout

    @property
    def agent_position(self) -> Cell:
        """The agent's (row, column)."""
        if self._elapsed is None:
            raise gymnasium.error.ResetNeeded("the agent is nowhere yet: call reset()")
        return self._tables.places[self._place]

    @property
    def agent_direction(self) -> int | None:
        """The way the agent looks: 0 right, 1 down, 2 left, 3 up; None if it does not turn."""
        if self._elapsed is None:
            raise gymnasium.error.ResetNeeded("the agent is nowhere yet: call reset()")
        return self._place % self._tables.poses if self._turning else None

    # Pictures -------------------------------------------------------------------------------

    def get_keys_to_action(self) -> dict[tuple[str, ...], Any]:
        """W up, S down, A left, D right, for `gymnasium.utils.play.play`.

        Of an agent that turns A and D turn it, and W goes ahead.
        """
        return {(key,): action for action, key in enumerate("adw" if self._turning else "wsad")}

    def _picture(self) -> NDArray[np.uint8]:
        names = TURN_NAMES if self._turning else ACTION_NAMES
        action = "–" if self._last_action is None else names[self._last_action]
        return draw(
            self.layout,
            agent=self.agent_position,
            facing=self.agent_direction,
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
        way = self.agent_direction
        grid[row][column] = "A" if way is None else ARROWS[way]
        return "\n".join("".join(line) for line in grid)

    # Helpers --------------------------------------------------------------------------------

    def _check_task(self, task: Any) -> MazeTask:
        return self.settings.check_task(task)

    def _read_step_option(self, name: str, chosen: dict[str, Any]) -> NDArray[Any] | None:
        task = chosen.get("task", self._fixed_task)
        alike = self.settings.layout is not None and (
            task is None or task.layout == self.settings.layout
        )
        usual = self.bounds
        self.bounds = {name: self.settings.num_draws if alike else MOST_DRAWS}
        try:
            return super()._read_step_option(name, chosen)
        finally:
            self.bounds = usual

    def _set_horizon(self, horizon: int) -> None:
        super()._set_horizon(horizon)
        self.settings = replace(self.settings, horizon=horizon)
