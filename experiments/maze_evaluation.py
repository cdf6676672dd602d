"""Mazes that an agent of `experiments.maze` is measured or shown in, and how to ask."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from envs.maze.elsewhere import elsewhere
from envs.maze.settings import side_of
from envs.problems import HiddenGoals, RandomMazes
from metarl.errors import UserError
from metarl.evaluate.evaluation_result import EvaluationResult
from metarl.run import at_least, showing, trials
from metarl.run.commands import refused
from metarl.runs.directory import RunDirectory

from .environments import MINIGRID, Grids, Levels
from .maze_settings import TrainSettings


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
class RenderSettings(Elsewhere, showing.RenderSettings):
    """Draw or film one trial of a trained agent: the maze, its trail, the hidden goal."""


@dataclass(frozen=True)
class WatchSettings(Elsewhere, showing.WatchSettings):
    """Watch a trained agent in a window, in one maze after the other; q or Esc leaves."""


SettingsOf = Callable[[Mapping[str, Any]], TrainSettings]
"""Reads the settings of a run from its `config.json`."""


def reader(asked: Elsewhere, settings_of: SettingsOf) -> trials.Read:
    """Return what reads the settings of a run, and says which mazes it is measured on.

    Raises:
        UserError: An episode there would have no step.
    """
    at_least(1, asked, "horizon")
    return lambda config: measured_on(
        settings_of(config), mazes=asked.mazes, size=asked.size, horizon=asked.horizon
    )


def check_asked(asked: EvaluateSettings, settings_of: SettingsOf) -> None:
    """Check that a run can be measured as asked.

    Raises:
        UserError: It cannot; or there is no such run.
    """
    reader(asked, settings_of)(RunDirectory.open(asked.run).config).on(asked.split)


def evaluate_again(asked: EvaluateSettings, read: SettingsOf) -> EvaluationResult:
    """Evaluate runs; what was measured of them before is replaced.

    Args:
        asked: Which runs, on which mazes, and how.
        read: Reads the settings of a run.
    """
    return trials.evaluate(replace(asked, output=asked.run), reader(asked, read))


def measured_on(
    settings: TrainSettings,
    *,
    mazes: str | None = None,
    size: str | None = None,
    horizon: int | None = None,
) -> trials.Trained:
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
    learned = environment = settings.environment
    if given or not settings.is_room:
        try:
            environment = _mazes(learned, mazes, size, horizon)
        except ValueError as error:
            raise refused(error) from error
    words = (_word(name, value) for name, value in given.items())
    foreign = getattr(environment, "is_file", False) and (
        getattr(learned, "mazes", None) != environment.mazes
    )
    return trials.Trained(
        settings.learning(environment),
        settings.batch_size,
        learned,
        source=environment.every_task if foreign else None,
        in_turn=not isinstance(environment, HiddenGoals),
        place="-".join(("on", *words)) if given else "",
    )


def _word(name: str, value: Any) -> str:
    """Word for an option in the name of a folder: another one for another value, or other mazes."""
    if name == "horizon":
        return f"{value}-steps"
    path = Path(str(value))
    word = path.name.replace("..", "-").replace(":", "-")
    if name == "mazes" and path.is_file():
        word += f"-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
    return word


def _mazes(
    trained: Any, mazes: str | None, size: str | None, horizon: int | None
) -> RandomMazes | Grids | Levels:
    """Mazes to measure in.

    Raises:
        UserError: An agent of Minigrid is asked into other mazes, or into other sizes.
        ValueError: There are no such mazes.
    """
    if isinstance(trained, Grids) or (mazes or "").startswith(MINIGRID):
        return _grids(trained, mazes, size, horizon)
    if isinstance(trained, Levels):
        side = None if size is None else side_of(size)
        changes: dict[str, Any] = {"mazes": mazes, "size": side, "horizon": horizon}
        return replace(trained, **{n: v for n, v in changes.items() if v is not None})
    return elsewhere(trained, mazes, size, horizon)


def _grids(trained: Any, mazes: str | None, size: str | None, horizon: int | None) -> Grids:
    """Grids of Minigrid to measure in.

    Raises:
        UserError: The agent learned other mazes, or a size was asked for.
        ValueError: There are no such grids, or the tensor environment does not play them.
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
    found = replace(trained, env_id=env_id, max_steps=steps)
    found.check_played()
    seen, known = (math.prod(one.observation.shape or ()) for one in (found, trained))
    if seen != known:
        raise UserError(
            f"--mazes {mazes}: an agent of {trained.env_id} sees {known} numbers, in these grids "
            f"there are {seen}: name grids of the kind that it has learned"
        )
    return found
