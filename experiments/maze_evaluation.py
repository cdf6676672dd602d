"""`evaluate` and `render` of `experiments.maze`: on which mazes, and how they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from envs.maze.generators import GENERATORS
from envs.random_mazes import RandomMazes
from experiments.maze_problems import HiddenGoals, TrialMazes
from experiments.maze_references import LayoutReferences, RoomReferences
from experiments.maze_settings import TrainSettings
from metarl.errors import UserError
from metarl.methods.recurrent import RecurrentLearning
from metarl.rl.problem import is_finite
from metarl.run import at_least, trials


@dataclass(frozen=True)
class EvaluateSettings(trials.EvaluateSettings):
    """Play trials on unseen tasks, and sum them up in summary.json."""

    mazes: str | None = None
    """Other mazes than those of the run: a generator, named (the named test mazes), or a file."""
    size: str | None = None
    """Rows and columns of the mazes, such as 13 or 9..25. Default: as in training."""
    horizon: int | None = None
    """Steps of an episode. Default: as in training; in mazes of another size, in proportion."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "horizon")


@dataclass(frozen=True)
class RenderSettings(trials.RenderSettings):
    """Draw or film one trial of a trained agent: the maze, its trail, the hidden goal."""

    mazes: str | None = None
    """Other mazes than those of the run: a generator, named (the named test mazes), or a file."""
    size: str | None = None
    """Rows and columns of the mazes, such as 13 or 9..25. Default: as in training."""
    horizon: int | None = None
    """Steps of an episode. Default: as in training; in mazes of another size, in proportion."""


def reader(
    asked: EvaluateSettings | RenderSettings,
    settings_of: Callable[[Mapping[str, Any]], TrainSettings],
) -> trials.Read:
    """Return what reads the settings of a run, and says which mazes it is measured on."""
    return lambda config: measured_on(
        settings_of(config), mazes=asked.mazes, size=asked.size, horizon=asked.horizon
    )


@dataclass(frozen=True)
class Measured:
    """What a run is measured on (`metarl.run.trials.Trained`): its own mazes, or others.

    Attributes:
        settings: Of the run.
        environment: The mazes to be measured in; there, exploring pays nothing.
        given: Options that say which mazes these are; none: those of the run.
    """

    settings: TrainSettings
    environment: Any
    given: Mapping[str, Any]

    @property
    def core(self) -> str:
        """Name of the agent."""
        return self.settings.core

    @property
    def batch_size(self) -> int:
        """Trials per iteration."""
        return self.settings.batch_size

    @property
    def place(self) -> str:
        """Folder of its results within the run; empty: the run itself."""
        words = (Path(str(value)).stem.replace("..", "-") for value in self.given.values())
        return "-".join(("on", *words)) if self.given else ""

    @property
    def question(self) -> dict[str, Any]:
        """Entries of a summary that say what it is measured on."""
        maze = self.environment
        if isinstance(maze, HiddenGoals):
            whole = maze.test is maze.train
            protocol = "fresh trials, all goals" if whole else "held-out goals"
            return {"num_goals": len(maze.test), "protocol": protocol}
        own = f"{maze.mazes} {maze.size}" if maze.mazes in GENERATORS else maze.mazes
        return {
            "protocol": f"fresh trials, unseen layouts ({own})",
            **{name: getattr(maze, name) for name in ("mazes", "size", "horizon", "respawn")},
        }

    def measured(self) -> RecurrentLearning:
        """The method and agent that were trained, in these mazes."""
        return self.settings.learning(self.environment)

    def draw(self, num_tasks: int, generator: torch.Generator) -> Sequence[Any]:
        """Tasks to be measured on: drawn, or of finitely many random mazes all in turn."""
        source = self._source
        if isinstance(self.environment, HiddenGoals) or not is_finite(source):
            return source.sample(num_tasks, generator)
        tasks = tuple(source)
        return tuple(tasks[n % len(tasks)] for n in range(num_tasks))

    def references(self, tasks: Sequence[Any]) -> RoomReferences | LayoutReferences:
        """What agents are judged by."""
        if isinstance(self.environment, HiddenGoals):
            return RoomReferences(self.environment, self.environment.test)
        trained_on = 0
        if isinstance(self.settings.environment, RandomMazes):
            trained_on = self.settings.environment.num_trained_on(tasks)
        return LayoutReferences(self.environment, tasks, trained_on)

    @property
    def _source(self) -> Any:
        """Unseen mazes; of a file that the run has not learned from all."""
        maze = self.environment
        own = isinstance(self.settings.environment, RandomMazes) and (
            self.settings.environment.mazes == maze.mazes
        )
        if isinstance(maze, RandomMazes) and maze.is_file and not own:
            return maze.every_task
        return maze.test


def measured_on(
    settings: TrainSettings,
    *,
    mazes: str | None = None,
    size: str | None = None,
    horizon: int | None = None,
) -> Measured:
    """Return what a run is measured on.

    Args:
        settings: Of the run.
        mazes: A generator, a file, or named; None: those of the run.
        size: Of the mazes; None: that of the run.
        horizon: Steps of an episode; None: as in training, or, in mazes of another size, in
            proportion.

    Raises:
        UserError: There are no such mazes, or the run has no size to change.
    """
    given = {"mazes": mazes, "size": size, "horizon": horizon}
    given = {name: value for name, value in given.items() if value is not None}
    environment = settings.environment
    if not given:
        changes = {} if settings.is_room else {"exploration_bonus": 0.0, "size_schedule": ""}
        return Measured(settings, replace(environment, **changes), given)
    if settings.is_room:
        if mazes is None:
            raise UserError(
                "this run learned the published maze, whose goals it is measured on; name other "
                "mazes with --mazes, such as --mazes dfs --size 13"
            )
        environment = TrialMazes(mazes=mazes, size=str(environment.size), reward=environment.reward)
    environment = replace(
        environment,
        mazes=mazes or environment.mazes,
        num_layouts=0,
        exploration_bonus=0.0,
        size_schedule="",
    )
    if environment.is_named or environment.is_file:
        if size is not None:
            raise UserError(f"--size {size}: the mazes of {mazes} have the sizes they have")
        size = str(max(max(t.layout.height, t.layout.width) for t in environment.every_task))
    if size is not None:
        environment = environment.of_size(size)
    if horizon is not None:
        environment = replace(environment, horizon=horizon)
    return Measured(settings, environment, given)
