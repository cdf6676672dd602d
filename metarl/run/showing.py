"""What every command that shows an agent is asked for, in a window or in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from metarl.errors import UserError
from metarl.evaluate.film import FORMATS, Filmed, Scene, write, write_finds
from metarl.run.counts import Held
from metarl.run.settings import at_least


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
