"""Random mazes as a problem: another layout in every trial, and unseen ones to test on.

    from envs.problems import RandomMazes
    from metarl.experiment import Experiment

    Experiment(RandomMazes("dfs", "9"), METHODS["rl2"]()).train("runs/mazes")

Layouts are dealt out by their hash (`envs.maze.identity`): eight tenths to train on, one to choose
settings by and one to test on. What a layout is dealt to does not depend on the family that drew
it, so that a layout to test on is never drawn in training. Of mazes that are always the same
(`SAME`) the goals are dealt out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from gymnasium.spaces import Discrete, Space

from ..base.checks import whole_number
from ..base.problem import SALT, Anchors, BuiltIn, Known, check_dealt_out
from ..base.tasks import Splits, TaskSet
from .bits import MOST_SIDE
from .drawing import MazePictures
from .family import MazeFamily
from .few import FewLayouts
from .files import tasks_from_file
from .generators import GENERATORS, make_layout
from .identity import layout_hash
from .ladder import ANCHORS, LayoutAnchors, layout_anchors, layout_curves
from .layout import Layout
from .levels import MazeLevels
from .named import named_layouts, named_mazes
from .parts import split_by_layout
from .perfect import is_perfect
from .settings import Respawn, check_pay, sizes_of, usual_horizon
from .tasks import MazeTask, maze_tasks
from .tensor import GridMazeVectorEnv
from .views import Sight, View

FRACTIONS: dict[str, Any] = {"train": 0.8, "validation": 0.1, "test": 0.1}
"""Shares of the layouts to train on, to choose by and to test on, dealt out by their hash."""

NAMED = "named"
"""The named mazes (`envs.named_mazes`), which are for tests alone."""

SAME = ("pillars", "empty")
"""Generators that make one maze alone: its goals are dealt out, and no layout is unseen."""

PERFECT = ("dfs", "ust", "mst", "prim")
"""Generators of perfect mazes: spanning trees of rooms at odd rows and columns."""

SHOWN = ("ceiling", "explorer", "right_hand", "random")
"""Whose curves are drawn beside an agent's."""

BONUS_UNTIL = 0.7
"""Share of a training after which exploring pays nothing any more."""


class Stage(NamedTuple):
    """A part of a training: the share that is over when it begins, and what is learned in it."""

    begins: float
    problem: RandomMazes


@dataclass(frozen=True)
class RandomMazes(MazePictures, BuiltIn):
    """Mazes of a generator, or of a file, each with a hidden goal.

    Attributes:
        mazes: Generator of the mazes (`envs.maze.generators`); a text file with pictures of them
            (`envs.maze.files`); or named, those of `envs.named_mazes`, which are for tests alone.
        size: Rows and columns, border included: a number, or a range such as 9..25, of which each
            maze has a size of its own. Files say it themselves.
        horizon: Steps of an episode; 0: as many as suit the size (`usual_horizon`).
        respawn: Where a find leads: to the start, to a random cell, or to the episode's end.
        view: The view of an agent; where it is egocentric, the agent turns.
        position: Show an agent where it is.
        see_through: Walls hide nothing from an agent that turns.
        loops: Share of loops, see `envs.MazeFamily`.
        reward: Paid for a find.
        wall_penalty: Taken off when a wall blocks a move.
        num_layouts: Train on so many layouts alone; 0: on as many as there are.
        size_schedule: Smaller mazes first, such as 9:0.4, which is 9 x 9 for the first 40 % of the
            training, or 9:0.3,11:0.6. Empty: none.
        exploration_bonus: Paid in training for each cell that is new in an episode before its first
            find; it falls to 0 within the first 70 % of the training.
        salt: Another one deals the layouts out differently.

    Raises:
        ValueError: A setting is out of range or contradicts another.
    """

    name: ClassVar[str] = "mazes"

    horizon: int = field(default=0, kw_only=True)
    mazes: str = "dfs"
    size: str = "13"
    respawn: Respawn = "start"
    view: View = "3x3"
    position: bool = False
    see_through: bool = False
    loops: float = 0.0
    reward: float = 1.0
    wall_penalty: float = 0.0
    num_layouts: int = 0
    size_schedule: str = ""
    exploration_bonus: float = 0.0
    salt: str = SALT

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", str(self.size))
        largest = sizes_of(self.size)[1]
        if self.horizon == 0:
            object.__setattr__(self, "horizon", usual_horizon(largest))
        super().__post_init__()
        whole_number(self.num_layouts, "num_layouts", least=0)
        bonus, penalty = self.exploration_bonus, self.wall_penalty
        check_pay(self.reward, wall_penalty=penalty, exploration_bonus=bonus)
        _ = self._sight, self.splits, self.stages  # which refuse what they cannot be made of

    def check_sides(self) -> None:
        """Check that there are mazes to train on and others to test on.

        Raises:
            ValueError: There are not: a file has too few, or they are for tests alone.
        """
        if self.is_named:
            raise ValueError(
                "mazes must be others than named, which are for tests alone: train on --mazes dfs, "
                "say, then evaluate RUN --mazes named"
            )
        if isinstance(self.train, TaskSet):
            remedy = "take a larger size, or another salt"
            if self.is_file:
                remedy = (
                    "draw more mazes into the file, name another salt, or train on a generator and "
                    "evaluate on this file"
                )
            check_dealt_out(self.splits, self.mazes, "tasks", remedy)

    # What is learned -------------------------------------------------------------------------

    @property
    def is_named(self) -> bool:
        """Whether they are the named mazes."""
        return self.mazes == NAMED

    @property
    def is_file(self) -> bool:
        """Whether they are those of a file."""
        return not self.is_named and self.mazes not in GENERATORS

    @cached_property
    def splits(self) -> Splits[Any]:
        """Mazes to train on, to choose settings by and to report on."""
        if self.is_named:
            return Splits(*[self.every_task] * 3)
        if self.is_file:
            return self._of_file()
        low, high = sizes_of(self.size)
        if self.mazes in SAME:
            return self.every_task.split(**FRACTIONS, salt=self.salt)
        family = MazeFamily(self.mazes, low if low == high else (low, high), loops=self.loops)
        parts: Splits[Any] = family.split(**FRACTIONS, salt=self.salt)
        if not self.num_layouts:
            return parts
        return Splits(FewLayouts(parts.train, self.num_layouts), parts.validation, parts.test)

    @cached_property
    def every_task(self) -> TaskSet[MazeTask]:
        """All tasks of a file, of the named mazes, or of a maze that is always the same.

        Raises:
            ValueError: There is no such file, or it holds no mazes.
        """
        if self.is_named:
            return named_mazes()
        if self.mazes in SAME:
            low, high = sizes_of(self.size)
            if low != high:
                raise ValueError(f"size must be one number for {self.mazes}, got {self.size!r}")
            return maze_tasks(make_layout(self.mazes, low))
        path = Path(self.mazes)
        if not path.is_file():
            raise ValueError(
                f"mazes must be one of {', '.join(GENERATORS)}, {NAMED} (for tests alone), or a "
                f"text file with pictures of mazes, got {self.mazes!r}"
            )
        tasks = tasks_from_file(path)
        widest = max(task.layout.width for task in tasks)
        if widest > MOST_SIDE:
            raise ValueError(
                f"{self.mazes} has a maze of {widest} columns, and mazes are told apart up to "
                f"{MOST_SIDE}: draw smaller ones"
            )
        return tasks

    def _of_file(self) -> Splits[TaskSet[MazeTask]]:
        """The tasks of a file, by the hash of their layouts; a side may have none."""
        return split_by_layout(self.every_task, **FRACTIONS, salt=self.salt)

    @cached_property
    def levels(self) -> MazeLevels:
        """Mazes of training as numbers, for curricula.

        Raises:
            ValueError: They are not those of a generator.
        """
        train = self.train
        if not isinstance(train, MazeFamily):
            raise ValueError(
                f"a curriculum chooses among endlessly many mazes of a generator, got those of "
                f"{self.mazes}{f', {self.num_layouts} layouts' if self.num_layouts else ''}"
            )
        return MazeLevels(train, turning=self._sight.turning)

    @property
    def drawn(self) -> Any:
        """Mazes to train on; where there is none, those of the file, which are set at a reset."""
        return self.every_task if self.is_file and not len(self.train) else self.train

    def num_trained_on(self, tasks: Sequence[MazeTask]) -> int:
        """Number of layouts of tasks that training may have drawn: of its part, and of its kind.

        Args:
            tasks: Of any layouts.
        """
        train: Any = self.train
        layouts = {task.layout for task in tasks}
        if self.is_file or self.mazes in SAME:
            return len(layouts & {task.layout for task in train})
        layouts -= named_layouts()  # which no generator comes upon
        return sum(any(one.problem._may_draw(y) for one in self.stages) for y in layouts)

    def _may_draw(self, layout: Layout) -> bool:
        """Whether training may draw a layout of the full size: of its part and its kind."""
        train: Any = self.train
        if not train.contains(layout):
            return False
        if self.mazes not in PERFECT or self.loops:
            return True
        low, high = sizes_of(self.size)
        height, width = layout.extents
        return height == width and height in range(low, high + 1, 2) and is_perfect(layout)

    @property
    def _sight(self) -> Sight:
        return Sight(self.view, self.position, self.see_through)

    @property
    def observation(self) -> Space[Any]:  # type: ignore[override]
        """Observations of one environment."""
        return self._sight.space

    @property
    def actions(self) -> Space[Any]:
        """Four moves, or those of an agent that turns."""
        return Discrete(3 if self._sight.turning else 4)

    @property
    def vector_env(self) -> Any:
        """Maker of mazes, as a tensor program."""
        return partial(
            GridMazeVectorEnv,
            respawn=self.respawn,
            view=self.view,
            position=self.position,
            see_through=self.see_through,
            reward=self.reward,
            wall_penalty=self.wall_penalty,
            exploration_bonus=self.exploration_bonus,
        )

    def anchors(self, tasks: Sequence[Any]) -> Anchors:
        """Returns of random actions, and of who knows the walls and the goal."""
        means = self.ladder(tasks).means()
        return Anchors(means["random"], means["oracle"])

    def ladder(self, tasks: Sequence[MazeTask], num_episodes: int = 1) -> LayoutAnchors:
        """Returns of all that tasks are judged by, each task's own.

        In the episodes after the first, an explorer that has found the goal is an oracle. (One that
        has not, in a short episode, goes on searching, which is left out.)
        """
        found = layout_anchors(tasks, **self.episode)
        if num_episodes == 1:
            return found
        ends = layout_anchors(tasks, **{**self.episode, "respawn": "end", "reward": 1.0})
        more = num_episodes - 1
        alike = ("random", "oracle", "right_hand", "left_hand")  # in every episode
        return replace(
            found,
            explorer=found.explorer + more * ends.explorer * found.oracle,
            ceiling=found.ceiling + more * ends.ceiling * found.oracle,
            **{name: getattr(found, name) * num_episodes for name in alike},
        )

    def known(self, tasks: Sequence[MazeTask], num_episodes: int = 1) -> Known:
        """References for agents; step by step in trials of one episode alone."""
        ladder, layouts = self.ladder(tasks, num_episodes), [task.layout for task in tasks]
        curves = layout_curves(tasks, **self.episode) if num_episodes == 1 else None
        names = {layout: f"{layout_hash(layout) & (2**64 - 1):016x}" for layout in set(layouts)}
        means = ladder.means()
        return Known(
            {name: means[name] for name in ANCHORS},
            ANCHORS,
            {name: getattr(curves, name) for name in SHOWN} if curves is not None else {},
            layouts=[names[layout] for layout in layouts],
            num_layouts=len(names),
            facts={n: [getattr(y, n) for y in layouts] for n in ("height", "width")},
            each={name: getattr(ladder, name) for name in ANCHORS},
            first_find=ladder.first_find,
            shortest=ladder.shortest,
            ends_at=self.horizon if self.respawn == "end" else None,
            mazes=[named_mazes().called(task) for task in tasks] if self.is_named else None,
        )

    @property
    def question(self) -> Mapping[str, Any]:
        """Entries of a summary that say what is measured."""
        own = f"{self.mazes} {self.size}" if self.mazes in GENERATORS else self.mazes
        return {
            "protocol": f"fresh trials, unseen layouts ({own})",
            **{name: getattr(self, name) for name in ("mazes", "size", "horizon", "respawn")},
        }

    @property
    def episode(self) -> dict[str, Any]:
        """Rules of an episode, as `envs.layout_anchors` takes them."""
        return {
            "horizon": self.horizon,
            "reward": self.reward,
            "respawn": self.respawn,
            "wall_penalty": self.wall_penalty,
            "turning": self._sight.turning,
        }

    # How it changes while it is learned ------------------------------------------------------

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Parts of a training (`metarl.rl.problem`), the last in mazes of the full size.

        Raises:
            ValueError: The schedule is none.
        """
        if not self.size_schedule:
            return (Stage(0.0, self),)
        begins, stages = 0.0, []
        for part in self.size_schedule.split(","):
            size, _, until = part.partition(":")
            try:
                ends = float(until)
            except ValueError:
                ends = math.nan
            if not begins < ends < 1:
                raise ValueError(
                    "size_schedule must be sizes and the shares of the training that they end at, "
                    f"which rise and stay below 1, such as 9:0.4, got {self.size_schedule!r}"
                )
            stages.append(Stage(begins, self.of_size(size)))
            begins = ends
        return (*stages, Stage(begins, replace(self, size_schedule="")))

    @property
    def eases(self) -> bool:
        """Whether `ease` changes anything."""
        return self.exploration_bonus > 0

    def ease(self, env: Any, done: float) -> None:
        """Lower the bonus for exploring, which is 0 from `BONUS_UNTIL` on.

        Args:
            env: Environments that `make_env` made.
            done: Share of the training that is over.
        """
        if self.eases:
            env.unwrapped.exploration_bonus = self.exploration_bonus * max(
                0.0, 1 - done / BONUS_UNTIL
            )

    def of_size(self, size: str) -> Self:
        """Return the problem with mazes of another size, and a horizon that goes with it.

        Args:
            size: As `size`.
        """
        before, after = (usual_horizon(sizes_of(s)[1]) for s in (self.size, size))
        horizon = max(1, round(self.horizon * after / before))
        return replace(self, size=size, horizon=horizon, size_schedule="")
