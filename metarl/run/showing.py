"""Settings of every command that shows an agent; `render` and `watch` of one trial.

A film or a picture goes into a file, a trial that is watched into a window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Protocol

import torch
import tyro

from metarl.errors import UserError
from metarl.evaluate.film import (
    FORMATS,
    Filmed,
    Frame,
    Scene,
    frames_of,
    require_filmed,
    write,
    write_finds,
)
from metarl.methods.recurrent import RecurrentAdapter
from metarl.run.counts import Held
from metarl.run.settings import at_least
from metarl.run.trials import STREAMS, Read, Trained, adapter
from metarl.runs.directory import RunDirectory
from metarl.runs.place import check_file
from metarl.seeding import spawn_generators


@dataclass(frozen=True)
class ShowSettings:
    """Show an agent of a run."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
    """A run directory, of an environment that is drawn."""
    seed: int = 0
    """Seed of the task, of what the environment draws and of the actions."""
    fps: int = 10
    """Steps a second."""
    cell_size: int | None = None
    """Pixels a cell. Default: by the size of the maze."""
    greedy: bool = False
    """Take the most probable action instead of drawing from the policy."""

    HELD: ClassVar[Held] = ((75, "cell_size", "cell_size"),)  # 5 x 5 cells in three colours

    def __post_init__(self) -> None:
        at_least(0, self, "seed")
        at_least(1, self, "fps")
        at_least(4, self, "cell_size")


@dataclass(frozen=True)
class FilmSettings(ShowSettings):
    """Draw or film an agent of a run."""

    output: Path = Path("film.gif")
    """.gif or .mp4: a film; .png: all in one picture."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output.suffix not in FORMATS:
            raise UserError(f"--output {self.output} must end in {', '.join(FORMATS)}")
        check_file(self.output)


def film(
    settings: FilmSettings,
    scenes: Sequence[Scene],
    problem: Filmed,
    num_steps: int,
    finds: Sequence[int] = (),
) -> None:
    """Write what was played, and say where it is and what was earned.

    Args:
        settings: Where to, how fast and how large.
        scenes: What was played.
        problem: Draws it.
        num_steps: Steps that are shown.
        finds: Show the ways to these finds instead, in one picture.
    """
    if finds:
        write_finds(scenes, problem, settings.output, finds, settings.cell_size)
    else:
        write(
            scenes,
            problem,
            settings.output,
            num_steps=num_steps,
            fps=settings.fps,
            cell_size=settings.cell_size,
        )
    earned = ", ".join(f"{scene.title}: return {scene.earned(num_steps):g}" for scene in scenes)
    print(f"drawn: {settings.output} ({earned})")


# `render` and `watch` of agents that learn within one trial ---------------------------------------


LEAVE = ("escape", "q")
"""Keys that close the window."""


@dataclass(frozen=True)
class RenderSettings(FilmSettings):
    """Draw or film one trial of a trained agent: the maze, its trail, the hidden goal."""

    output: Path = Path("trial.gif")
    """.gif or .mp4: a film; .png: the whole trial in one picture."""
    finds: tuple[int, ...] = ()
    """Show the ways to these finds, such as 1 2 3 6, in one picture (.png), not the whole trial."""
    side_by_side: bool = False
    """Show the same agent before training beside it, in the same maze."""
    steps: int | None = None
    """Show only the first steps of the trial. Default: all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "steps")
        if self.finds and (self.output.suffix != ".png" or min(self.finds) < 1):
            raise UserError(
                f"--finds {' '.join(map(str, self.finds))} are numbers of finds from 1, whose ways "
                f"are drawn into a picture: --output must end in .png, got {self.output}"
            )


def render(settings: RenderSettings, read: Read) -> None:
    """Play the trial and write the picture.

    The same seed gives the same goal and teleports, whoever plays.

    Args:
        settings: Which run, and what to show.
        read: Reads its settings.
    """
    run = RunDirectory.open(settings.run)
    trained = read(run.config)
    learning = trained.learning
    problem = require_filmed(learning.problem)
    loaded = learning.load(run, torch.device("cpu"))
    players = [(f"trained, {loaded.iteration:,} iterations", adapter(loaded.trained))]
    if settings.side_by_side:
        players.insert(0, ("untrained", adapter(loaded.untrained)))
    scenes = [
        scene
        for title, player in players
        for scene in played(trained, player, title, settings.seed, greedy=settings.greedy)
    ]
    num_steps = min(settings.steps or learning.num_steps, learning.num_steps)
    film(settings, scenes, problem, num_steps, settings.finds)


def played(
    trained: Trained, player: RecurrentAdapter, title: str, seed: int, *, greedy: bool
) -> list[Scene]:
    """The first episode of a trial on a task; the seed says task, dynamics and noise.

    Args:
        trained: Draws the task.
        player: Who plays.
        title: Words above it.
        seed: The same gives the same goal and teleports, whoever plays.
        greedy: Take the most probable action instead of drawing one.
    """
    streams = spawn_generators(seed, STREAMS)
    (task,) = trained.draw(1, streams["tasks"])
    agent = player.agent(streams["policy"], greedy=greedy)
    return player.scenes(agent, task, [title], streams["environment"], num_episodes=1)


class Window(Protocol):
    """A window that pictures are shown in."""

    def show(self, picture: Frame, /) -> None:
        """Show a picture; waits until it is time for it."""

    def pressed(self) -> list[str]:
        """Names of the keys that were pressed since the last call."""

    def close(self) -> None:
        """Close it."""


@dataclass(frozen=True)
class WatchSettings(ShowSettings):
    """Watch a trained agent in a window, in one maze after the other; q or Esc leaves."""

    trials: int | None = None
    """Leave after so many trials, each of the next seed. Default: when the window is closed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "trials")


def watch(settings: WatchSettings, read: Read, open_window: Callable[[str, int], Window]) -> None:
    """Play trial after trial, and show each.

    Args:
        settings: Which run, and what to show.
        read: Reads its settings.
        open_window: Opens a window, given its title and pictures per second.
    """
    run = RunDirectory.open(settings.run)
    trained = read(run.config)
    learning = trained.learning
    problem = require_filmed(learning.problem)
    player = adapter(learning.load(run, torch.device("cpu")).trained)
    window = open_window(str(settings.run), settings.fps)
    try:
        seed = settings.seed
        while settings.trials is None or seed < settings.seed + settings.trials:
            title = f"trial {seed - settings.seed + 1}"
            scenes = played(trained, player, title, seed, greedy=settings.greedy)
            for frame in frames_of(scenes, problem, learning.problem.horizon, settings.cell_size):
                window.show(frame)
                if any(key in LEAVE for key in window.pressed()):
                    return
            seed += 1
    finally:
        window.close()
