"""`render`: film the same maze at every step of adaptation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import torch
import tyro
from PIL import Image

from envs import MazeTask
from experiments.maze.render import FORMATS, PlayedTrial, film, frame, write_film
from experiments.maze_adapt.dispatch import kind_of
from experiments.maze_adapt.kinds import Film
from experiments.maze_adapt.settings import from_config
from metarl.errors import UserError
from metarl.run.counts import Held
from metarl.runs.directory import RunDirectory

CPU = torch.device("cpu")


@dataclass(frozen=True)
class RenderSettings:
    """Film one unseen maze, side by side at every step of adaptation."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
    """A run directory of mazes."""
    output: Path = Path("adaptation.gif")
    """.gif or .mp4: a film; .png: whole episodes in one picture."""
    steps: int | None = None
    """Gradient steps (default: 3); of rl2 and warp-rnn further episodes of the trial (default: as
    in training)."""
    task: int = 0
    """Which of the unseen goals, from 0, in the order of their hash split."""
    seed: int = 10_000
    """Of the episodes."""
    fps: int = 10
    """Steps a second."""
    cell_size: int | None = None
    """Pixels a cell. Default: by the size of the maze."""
    greedy: bool = False
    """Take the most probable action instead of drawing from the policy."""

    HELD: ClassVar[Held] = ((75, "cell_size", "cell_size"),)  # 5 x 5 cells in three colours

    def __post_init__(self) -> None:
        """Refuse, before any work starts, what cannot be drawn."""
        if self.output.suffix not in FORMATS:
            raise UserError(f"--output {self.output} must end in {', '.join(FORMATS)}")
        for name, least in (("steps", 0), ("task", 0), ("seed", 0), ("fps", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UserError(f"--{name} must be at least {least}, got {value}")
        if self.cell_size is not None and self.cell_size < 4:
            raise UserError(f"--cell-size must be at least 4, got {self.cell_size}")


def render(settings: RenderSettings) -> None:
    """Adapt to one unseen maze, play an episode with every set of weights, write the film."""
    run = RunDirectory.open(settings.run)
    trained = from_config(run.config)
    if trained.env != "maze":
        raise UserError(
            f"{run.path} is of --env {trained.env}, and only mazes are filmed; `evaluate` draws "
            "its curve"
        )
    goals = trained.world().test
    tasks: tuple[MazeTask, ...] = goals.tasks  # type: ignore[attr-defined]
    if settings.task >= len(tasks):
        raise UserError(f"--task must be below {len(tasks)}, the unseen goals, got {settings.task}")
    task = tasks[settings.task]
    loaded = kind_of(trained.method).load(run, trained, CPU)
    steps = loaded.usual.steps if settings.steps is None else settings.steps
    film_of = loaded.trained.film(task, steps, settings.seed, greedy=settings.greedy)
    episodes = played(task, film_of)
    settings.output.parent.mkdir(parents=True, exist_ok=True)
    if settings.output.suffix == ".png":
        picture = frame(episodes, trained.horizon, settings.cell_size, whole_trail=True)
        Image.fromarray(picture).save(settings.output)
    else:
        frames = film(episodes, trained.horizon, settings.cell_size)
        write_film(frames, settings.output, settings.fps)
    earned = ", ".join(f"{e.title}: return {sum(e.rewards):g}" for e in episodes)
    print(f"drawn: {settings.output} ({earned})")


def played(task: MazeTask, film: Film) -> list[PlayedTrial]:
    """The episodes as the drawing takes them."""
    return [
        PlayedTrial(
            title,
            task.layout,
            task.goal,
            tuple((int(row), int(column)) for row, column in cells),
            tuple(int(action) for action in actions),
            tuple(float(reward) for reward in rewards),
        )
        for title, cells, actions, rewards in zip(*film, strict=True)
    ]
