"""Mazes, end to end: ``python -m experiments.maze train|evaluate|compare|search|render|watch|...``.

Recurrent agents that learn a new maze within one trial: the two-timescale Warp-RNN of Flennerhag et
al. 2020, and baselines with one timescale, in the maze of Miconi et al. 2019, where the goal alone
is new in every trial, or (``--mazes``) in another maze every time.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from envs.base.pictures import Window
from envs.maze.play import Play
from envs.problems import RandomMazes
from metarl.compare.command import compare_command
from metarl.compare.plan import Comparable
from metarl.compare.work import Job, script_of
from metarl.evaluate.measures import TRIAL_RETURN, files_of
from metarl.evaluate.references import LADDER
from metarl.explore.command import ExploreSettings, explore
from metarl.methods.spaces import describe_spaces
from metarl.run import Recipe, Training, at_least, command, main
from metarl.run.export import ExportSettings, export
from metarl.run.showing import render, watch
from metarl.run.trials import check_fits, evaluate, validation_return
from metarl.runs.directory import RunDirectory
from metarl.search.command import search_command
from metarl.search.trials import Searchable

from .environments import ROOM, UED
from .maze_evaluation import (
    EvaluateSettings,
    RenderSettings,
    WatchSettings,
    check_asked,
    evaluate_again,
    measured_on,
    reader,
)
from .maze_settings import CORES, METHODS, TrainSettings, defaults

NUM_ANCHORS = 200
"""Mazes of training that returns to judge its curve by are means over."""

NUM_LEVELS = 40
"""The same of levels, whose explorers draw maps."""

QUICK_SIZE = 13
"""Up to it the reference returns take seconds; beyond, up to minutes."""


def place(settings: TrainSettings) -> Path:
    """Return a name that says what a run is, under ``runs/``."""
    mazes = "maze" if settings.is_room else f"{Path(settings.mazes).stem.replace(':', '-')}-"
    size = str(getattr(settings.environment, "size", "")).replace("..", "-")
    return Path("runs") / f"{mazes}{size}-{settings.core}-{settings.preset}"


def beside(settings: TrainSettings) -> dict[str, Any]:
    """Return what random actions, explorers and the oracle earn on training's goals or mazes."""
    maze = settings.environment
    if settings.is_room:
        if maze.size > QUICK_SIZE:
            size = f"{maze.size} x {maze.size}"
            print(f"planning the best walks of a {size} maze, to compare with", file=sys.stderr)
        known = maze.known(maze.train)
    else:
        count = NUM_LEVELS if settings.mazes == UED else NUM_ANCHORS
        known = maze.known(maze.train.sample(count, torch.Generator().manual_seed(0)))
    anchors = {name: known.returns[name] for name in LADDER if name in known.told}
    return {"anchors": anchors, "spaces": describe_spaces(maze)}


def _judge(
    run: RunDirectory, settings: TrainSettings, num_tasks: int | None, seed: int, device: str
) -> float:
    return validation_return(run, measured_on(settings).learning, num_tasks, seed, device)


@dataclass(frozen=True)
class PlaySettings:
    """Look for the hidden goal yourself: arrows or wasd move, n is another maze, q leaves."""

    environment: Annotated[RandomMazes, tyro.conf.arg(name="")] = field(default_factory=RandomMazes)
    """The mazes."""
    seed: int = 0
    """Seed of the mazes."""
    show_goal: bool = False
    """Show the goal from the beginning, not from the first find on."""
    cell_size: int | None = None
    """Pixels a cell. Default: by the size of the maze."""

    def __post_init__(self) -> None:
        at_least(0, self, "seed")
        at_least(4, self, "cell_size")


def play(asked: PlaySettings) -> None:
    """Play until the window is closed, and say what was earned."""
    game = Play(
        asked.environment,
        seed=asked.seed,
        show_goal=asked.show_goal,
        cell_size=asked.cell_size,
    )
    try:
        game.run()
    finally:
        print(f"returns: {', '.join(f'{value:g}' for value in game.returns)}")


def explore_mazes(asked: ExploreSettings) -> None:
    """Serve the page until it is stopped."""
    from .explore import Mazes  # which imports this recipe

    explore(asked, Mazes())


def unread(settings: TrainSettings) -> tuple[str, ...]:
    """Return what settings leave unread: a trial in the room is one."""
    return ("trial_episodes", "trial_steps") if settings.is_room else ()


RECIPE: Recipe[TrainSettings] = Recipe(
    name="experiments.maze",
    module=f"{__package__}.maze",
    defaults=defaults,
    training=lambda settings: Training(settings.trained(), settings.batch_size),
    place=place,
    methods=METHODS,
    picks=("preset", "method", "core", "mazes", "size", "curriculum"),
    former={"mazes": ROOM, "size": None, "curriculum": "dr"},
    commands={
        "evaluate": command(
            "measure a trained agent on fresh trials, or on held-out goals",
            EvaluateSettings,
            lambda asked: evaluate(asked, reader(asked, RECIPE.settings_of)),
            lambda asked: check_asked(asked, RECIPE.settings_of),
        ),
        "compare": compare_command(lambda: COMPARABLE),
        "search": search_command(lambda: SEARCHABLE),
        "render": command(
            "draw or film a trial",
            RenderSettings,
            lambda asked: render(asked, reader(asked, RECIPE.settings_of)),
        ),
        "watch": command(
            "show a trained agent in a window",
            WatchSettings,
            lambda asked: watch(asked, reader(asked, RECIPE.settings_of), Window),
        ),
        "play": command("look for the goal of a maze yourself, in a window", PlaySettings, play),
        "explore": command(
            "draw mazes and watch agents in them, on a page", ExploreSettings, explore_mazes
        ),
        "export": command("copy a run without what only its resume needs", ExportSettings, export),
    },
    unread=unread,
    train="train agents into a run directory",
    may_move=("cuda_graph",),
    beside=beside,
)


def title(settings: TrainSettings) -> str:
    """Return the mazes of settings in words."""
    size = str(getattr(settings.environment, "size", ""))
    where = "the published maze" if settings.mazes == ROOM else f"mazes of {settings.mazes}"
    return f"{where}, {size} x {size}" if size else where


def check_evaluation(job: Job) -> None:
    """Check that what is asked for of an evaluation can be measured, and fits this machine.

    Raises:
        UserError: It cannot, or does not.
    """
    check_fits(reader(job.evaluate, lambda _: job.train)({}).learning, job.evaluate)


COMPARABLE: Comparable = Comparable(
    RECIPE,
    script_of(RECIPE, evaluate_again, results=files_of()),
    EvaluateSettings,
    TRIAL_RETURN,
    tasks=("mazes", "environment", "trial_episodes"),
    title=title,
    methods=("warp", "gru", "lstm", "rnn"),
    known=(*METHODS, *CORES),
    names=lambda settings: (settings.method, settings.core),
    check=check_evaluation,
)

SEARCHABLE: Searchable = Searchable(
    RECIPE,
    _judge,
    tasks=("mazes", "size", "preset", "environment", "trial_episodes", "trial_steps"),
)

if __name__ == "__main__":
    main(RECIPE)
