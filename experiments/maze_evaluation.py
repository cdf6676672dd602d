"""`evaluate` and `render` of `experiments.maze`: on which mazes, and how they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from envs.maze.generators import GENERATORS
from envs.problems import HiddenGoals, RandomMazes
from experiments.maze_problems import MINIGRID, Grids, TrialMazes
from experiments.maze_references import GridReferences, LayoutReferences, RoomReferences
from experiments.maze_settings import TrainSettings
from metarl.errors import UserError
from metarl.methods.recurrent import RecurrentLearning
from metarl.rl.problem import is_finite
from metarl.run import at_least, trials
from metarl.run.command_line import refused


@dataclass(frozen=True)
class Elsewhere:
    """Options that say which mazes a run is measured on."""

    mazes: str | None = None
    """Other mazes than those of the run: a generator, named (the named test mazes), or a file."""
    size: str | None = None
    """Rows and columns of the mazes, such as 13 or 9..25. Default: as in training."""
    horizon: int | None = None
    """Steps of an episode. Default: as in training; in mazes of another size, in proportion."""


@dataclass(frozen=True)
class EvaluateSettings(Elsewhere, trials.EvaluateSettings):
    """Play trials on unseen tasks, and sum them up in summary.json."""


@dataclass(frozen=True)
class RenderSettings(Elsewhere, trials.RenderSettings):
    """Draw or film one trial of a trained agent: the maze, its trail, the hidden goal."""


def reader(
    asked: Elsewhere, settings_of: Callable[[Mapping[str, Any]], TrainSettings]
) -> trials.Read:
    """Return what reads the settings of a run, and says which mazes it is measured on.

    Raises:
        UserError: An episode there would have no step.
    """
    at_least(1, asked, "horizon")
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
        if isinstance(maze, Grids):
            told = {"mazes": maze.mazes, "horizon": maze.horizon}
            return {"protocol": f"fresh trials, unseen grids ({maze.env_id})", **told}
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

    def references(
        self, tasks: Sequence[Any]
    ) -> RoomReferences | LayoutReferences | GridReferences:
        """What agents are judged by."""
        if isinstance(self.environment, HiddenGoals):
            return RoomReferences(self.environment, self.environment.test)
        trained_on, learned = 0, self.settings.environment
        if isinstance(learned, RandomMazes | Grids) and type(learned) is type(self.environment):
            trained_on = learned.num_trained_on(tasks)
        episodes = self.settings.trial_episodes
        if isinstance(self.environment, Grids):
            return GridReferences(self.environment, tasks, trained_on, episodes)
        return LayoutReferences(self.environment, tasks, trained_on, episodes)

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
    if settings.is_room and given and mazes is None:
        raise UserError(
            "this run learned the published maze, whose goals it is measured on; name other mazes "
            "with --mazes, such as --mazes dfs --size 13"
        )
    if settings.is_room and not given:
        return Measured(settings, settings.environment, given)
    try:
        return Measured(settings, _mazes(settings.environment, mazes, size, horizon), given)
    except ValueError as error:
        raise refused(error) from error


def _mazes(
    trained: Any, mazes: str | None, size: str | None, horizon: int | None
) -> TrialMazes | Grids:
    """Mazes to measure in, in which exploring pays nothing.

    Raises:
        UserError: Mazes that have the sizes they have were asked for in another one.
        ValueError: There are no such mazes.
    """
    if isinstance(trained, Grids) or (mazes or "").startswith(MINIGRID):
        return _grids(trained, mazes, size, horizon)
    plain: Any = {"exploration_bonus": 0.0, "size_schedule": ""}
    if mazes is None:
        environment: TrialMazes = replace(trained, **plain)
    elif isinstance(trained, HiddenGoals):
        reward = trained.reward
        environment = TrialMazes(mazes=mazes, size=size or str(trained.size), reward=reward)
    else:
        few = trained.num_layouts if mazes == trained.mazes else 0
        environment = replace(trained, mazes=mazes, num_layouts=few, **plain)
    if environment.is_named or environment.is_file:
        if size is not None:
            raise UserError(
                f"--size {size}: the mazes of {environment.mazes} have the sizes they have"
            )
        layouts = [task.layout for task in environment.every_task]
        size = str(max(max(y.height, y.width) for y in layouts))
    if size is not None:
        environment = environment.of_size(size)
    return environment if horizon is None else replace(environment, horizon=horizon)


def _grids(trained: Any, mazes: str | None, size: str | None, horizon: int | None) -> Grids:
    """Grids of Minigrid to measure in.

    Raises:
        UserError: The agent learned other mazes, or a size was asked for.
    """
    if not isinstance(trained, Grids) or not (mazes or MINIGRID).startswith(MINIGRID):
        raise UserError(
            f"--mazes {mazes}: an agent of Minigrid sees and does other things than one of mazes; "
            "name grids of the kind that it has learned"
        )
    if size is not None:
        raise UserError(f"--size {size}: the grids of Minigrid have the sizes they have")
    env_id = trained.env_id if mazes is None else mazes.removeprefix(MINIGRID)
    steps = trained.max_steps if horizon is None else horizon
    return replace(trained, env_id=env_id, max_steps=steps)
