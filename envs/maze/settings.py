"""The settings the single and the tensor environment share, checked once, at construction.

Sizes of mazes are said in words too, and how long an episode of a size usually is.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast, get_args

import numpy as np

from ..base.checks import is_finite_number, whole_number
from ..base.tasks import TaskSet, TaskSource, as_source, check_task_type
from .bits import MOST_SIDE
from .dynamics import MazeTables, TeleportMode, compile_layout
from .family import MazeFamily
from .generators import make_layout
from .layout import Layout, Sizes
from .tasks import MazeTask, maze_tasks
from .views import Sight, View

__all__ = [
    "FACINGS",
    "FORMER_RULES",
    "MOST_DRAWS",
    "Facing",
    "GoalRule",
    "MazeSettings",
    "Observe",
    "Respawn",
    "Start",
    "Tasks",
    "check_pay",
    "same_rule",
    "same_sight",
]


Tasks = TaskSource[MazeTask] | Sequence[MazeTask]

Start = Literal["centre", "random"]
"""Starts of episodes: on the task's start cell (the centre, if it names none), or each on a free
cell other than the goal, all equally likely."""

Respawn = Literal["random", "start", "end"]
"""What a find does with the agent: sends it to a random place other than the goal (an agent that
turns then looks in a random direction), sends it back to where the episode started, or ends the
episode."""

Facing = Literal["right", "down", "left", "up", "random"]
"""The way an agent that turns looks at the start, where the task does not say; ``"random"``: drawn
for each episode."""

FACINGS: tuple[Facing, ...] = get_args(Facing)
"""The numbers of directions are their places here."""

GoalRule = Literal["teleports", "ends"]
"""Former names of ``respawn="random"`` and ``"end"``."""

FORMER_RULES: dict[GoalRule, Respawn] = {"teleports": "random", "ends": "end"}
"""Rules by their former names."""

Observe = Literal["walls", "walls_and_place"]
"""Former names of ``view="3x3"``, without and with ``position=True``."""

MOST_DRAWS = 2**31
"""Teleports are drawn from below this, modulo the places a maze has, where mazes differ."""


@dataclass(frozen=True)
class MazeSettings:
    """The settings that a grid maze environment was made with, complete and valid.

    Attributes:
        layout: The walls; None where tasks have layouts of their own.
        tasks: Source of tasks when none is set.
        sizes: The sizes of the tasks' layouts.
        horizon: Steps in an episode.
        reward: Paid on entering the goal.
        wall_penalty: Taken off when a wall blocks a move.
        teleport: Destinations of an agent that finds the goal.
        start: The start of episodes.
        respawn: What a find does.
        sight: The view of an agent.
        facing: The way an agent that turns looks at first.
        exploration_bonus: Paid for a new cell before the first find.
        tables: The compiled layout; None where there are several.
    """

    layout: Layout | None
    tasks: TaskSource[MazeTask]
    sizes: Sizes
    horizon: int
    reward: float
    wall_penalty: float
    teleport: TeleportMode
    start: Start
    respawn: Respawn
    sight: Sight
    facing: Facing
    exploration_bonus: float
    tables: MazeTables | None

    @property
    def endless(self) -> bool:
        """Whether tasks are drawn from a family, with fresh layouts."""
        return not isinstance(self.tasks, TaskSet)

    @cached_property
    def num_draws(self) -> int:
        """Teleports are drawn from ``range(num_draws)``."""
        return MOST_DRAWS if self.tables is None else self.tables.num_draws

    @property
    def reward_range(self) -> tuple[float, float]:
        """The least and the largest reward of a step."""
        most = max(0.0, self.reward, self.exploration_bonus)
        return min(0.0, self.reward, -self.wall_penalty), most

    def compiled(self, layout: Layout) -> MazeTables:
        """The tables of a layout for an agent of this sight."""
        return compile_layout(layout, self.teleport, turning=self.sight.turning)

    def check_task(self, task: Any) -> MazeTask:
        """The task itself, if it can be played.

        Raises:
            TypeError: If it is not a `MazeTask`.
            ValueError: If it is for another layout where that cannot be played.
        """
        checked = check_task_type(task, MazeTask)
        if checked.layout != self.layout:
            if self.teleport == "interior":
                raise ValueError(
                    f"task {checked.task_id} is for another layout:\n{checked.layout}\nand "
                    f"teleport='interior' is a fault of one published maze: make an environment "
                    f"with layout=task.layout, or use teleport='free'"
                )
            Sizes.of_layouts([checked.layout])
        return checked

    @classmethod
    def check(
        cls,
        *,
        maze: str,
        size: int,
        layout: Layout | None,
        tasks: Tasks | None,
        horizon: int,
        reward: float,
        wall_penalty: float,
        teleport: TeleportMode,
        start: Start,
        respawn: Respawn,
        sight: Sight,
        facing: Facing,
        exploration_bonus: float,
    ) -> MazeSettings:
        """Fills in the defaults and checks every value.

        Raises:
            ValueError: If a value is out of range or two of them contradict each other.
            TypeError: If `tasks` are of another kind.
        """
        layout, source = _layout_and_tasks(maze, size, layout, tasks)
        if not is_finite_number(reward):
            raise ValueError(f"reward must be finite, got {reward}")
        for name, value in (
            ("start", start),
            ("respawn", respawn),
            ("facing", facing),
        ):
            known = get_args({"start": Start, "respawn": Respawn, "facing": Facing}[name])
            if value not in known:
                raise ValueError(f"{name} must be one of {known}, got {value!r}")
        if layout is None and teleport == "interior":
            raise ValueError(
                "teleport='interior' is a fault of one published maze, and the tasks have several "
                "layouts: use teleport='free'"
            )
        return cls(
            layout,
            source,
            _sizes(layout, source),
            whole_number(horizon, "horizon"),
            float(reward),
            _not_negative(wall_penalty, "wall_penalty is subtracted, so it"),
            teleport,
            start,
            respawn,
            sight,
            facing,
            _not_negative(exploration_bonus, "exploration_bonus"),
            None if layout is None else compile_layout(layout, teleport, turning=sight.turning),
        )


def same_rule(respawn: Respawn, goal: GoalRule | None) -> Respawn:
    """`respawn`, or what the former name `goal` says of it.

    Raises:
        ValueError: If `goal` is unknown, or they contradict each other.

    Warns:
        DeprecationWarning: If `goal` is given.
    """
    if goal is None:
        return respawn
    if goal not in FORMER_RULES:
        raise ValueError(f"goal must be one of {tuple(FORMER_RULES)}, got {goal!r}")
    rule = FORMER_RULES[goal]
    if respawn not in ("random", rule):
        raise ValueError(
            f"goal={goal!r} is the former name of respawn={rule!r}, and respawn={respawn!r} was "
            f"given too: leave goal out"
        )
    warnings.warn(f"goal={goal!r} is now respawn={rule!r}", DeprecationWarning, stacklevel=3)
    return rule


def same_sight(view: View, position: bool, see_through: bool, observe: Observe | None) -> Sight:
    """The sight of these settings, or what the former name `observe` says of it.

    Raises:
        ValueError: If one is unknown, or they contradict each other.
    """
    if observe is None:
        return Sight(view, position, see_through)
    former: dict[Observe, bool] = {"walls": False, "walls_and_place": True}
    if observe not in former:
        raise ValueError(f"observe must be one of {tuple(former)}, got {observe!r}")
    if view != "3x3" or see_through:
        raise ValueError(
            f"observe={observe!r} is a former name of view='3x3', and view={view!r} was given "
            f"too: leave observe out"
        )
    return Sight("3x3", position or former[observe])


def _layout_and_tasks(
    maze: str, size: int, layout: Layout | None, tasks: Tasks | None
) -> tuple[Layout | None, TaskSource[MazeTask]]:
    """The one layout, None if tasks have several, and the source of tasks.

    The layout is `layout`, else that of all `tasks`, else the maze of this name and size, whose
    goals then are the tasks.

    Raises:
        ValueError: If there is no such maze, or tasks are for another layout than `layout`.
    """
    if tasks is None:
        layout = make_layout(maze, size) if layout is None else layout
        return layout, maze_tasks(layout)
    source = as_source(tasks, MazeTask, MazeFamily)
    if not isinstance(source, TaskSet):
        if layout is not None:
            raise ValueError(
                "give a layout or a family of mazes, whose layouts are drawn, not both"
            )
        return None, source
    if layout is None:
        first = source[0].layout
        return (first if all(task.layout == first for task in source) else None), source
    for task in source:
        if task.layout != layout:
            raise ValueError(
                f"tasks are for another layout than the environment's:\n{task.layout}\nand\n"
                f"{layout}\ngive only tasks, and the environment takes their layouts"
            )
    return layout, source


def _sizes(layout: Layout | None, source: TaskSource[MazeTask]) -> Sizes:
    """The sizes of the layouts that tasks can have."""
    if layout is not None:
        return Sizes(layout.num_free, layout.height, layout.width)
    if isinstance(source, TaskSet):
        return Sizes.of_layouts([task.layout for task in source])
    side = int(np.max(cast(Any, source).size))
    if side > MOST_SIDE:
        raise ValueError(
            f"mazes of different layouts have at most {MOST_SIDE} rows and columns, got a family "
            f"of mazes of up to {side}"
        )
    return Sizes((side - 2) ** 2, side, side)


def check_pay(reward: float, **costs: float) -> None:
    """Checks what a problem pays for a find, and the numbers beside it.

    Raises:
        ValueError: If the reward is not above 0, or another is negative.
    """
    if not (is_finite_number(reward) and reward > 0):
        raise ValueError(f"reward must be above 0, got {reward}")
    for name, value in costs.items():
        _not_negative(value, name)


def _not_negative(value: float, name: str) -> float:
    if not (is_finite_number(value) and value >= 0):
        raise ValueError(f"{name} must be finite and at least 0, got {value}")
    return float(value)


# Sizes in words -----------------------------------------------------------------------------------


def sizes_of(size: str) -> tuple[int, int]:
    """The smallest and the largest size of a size or a range: 13, 9..25 or 9-25.

    Raises:
        ValueError: It is neither.
    """
    found = re.fullmatch(r"(\d{1,9})(?:(?:\.\.|-)(\d{1,9}))?", size.strip())
    if found is None:
        raise ValueError(
            f"size must be a number such as 13, or a range such as 9..25, got {size!r}"
        )
    low, high = int(found[1]), int(found[2] or found[1])
    if low > high:
        raise ValueError(f"size must be a range from a smaller to a larger number, got {size!r}")
    return low, high


def side_of(size: str) -> int:
    """The number of a size in words, where a range is none.

    Raises:
        ValueError: It is no number.
    """
    if re.fullmatch(r"\d{1,9}", size.strip()) is None:
        raise ValueError(f"size must be a whole number, such as 13, got {size!r}")
    return int(size)


def usual_horizon(size: int) -> int:
    """Steps in which a goal is found and gone back to some times: about 5.6 for each room.

    A multiple of 100: 100 at 9 x 9, 200 at 13 x 13, 500 at 19 x 19, 800 at 25 x 25.
    """
    return 100 * max(1, round(5.6 * (size // 2) ** 2 / 100))
