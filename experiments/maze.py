"""Mazes, end to end: ``python -m experiments.maze train|evaluate|compare|search|render|watch|...``.

Recurrent agents that learn a new maze within one trial: the two-timescale Warp-RNN of Flennerhag et
al. 2020, and baselines with one timescale, in the maze of Miconi et al. 2019, where the goal alone
is new in every trial, or (``--mazes``) in another maze every time.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from envs.maze.play import Play
from envs.problems import RandomMazes
from metarl.compare.command import compare_command
from metarl.compare.plan import Comparable
from metarl.evaluate.references import LADDER
from metarl.methods.spaces import describe_spaces
from metarl.run import Command, Recipe, Training, at_least, command, main
from metarl.run.commands import parse
from metarl.runs.directory import RunDirectory
from metarl.search.command import search_command
from metarl.search.trials import Searchable

from .environments import UED
from .maze_settings import METHODS, ROOM, TrainSettings, defaults

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


def _evaluate(prog: str, arguments: Sequence[str]) -> None:
    from metarl.run.trials import evaluate

    from .maze_evaluation import EvaluateSettings, reader

    asked = parse(EvaluateSettings, prog, arguments)
    evaluate(asked, reader(asked, RECIPE.settings_of))


def _comparable() -> Comparable:
    from .maze_evaluation import COMPARABLE

    return COMPARABLE


def _judge(
    run: RunDirectory, settings: TrainSettings, num_tasks: int | None, seed: int, device: str
) -> float:
    from metarl.run.trials import validation_return

    from .maze_evaluation import measured_on

    return validation_return(run, measured_on(settings).learning, num_tasks, seed, device)


def _render(prog: str, arguments: Sequence[str]) -> None:
    from metarl.run.showing import render

    from .maze_evaluation import RenderSettings, reader

    asked = parse(RenderSettings, prog, arguments)
    render(asked, reader(asked, RECIPE.settings_of))


def _watch(prog: str, arguments: Sequence[str]) -> None:
    from envs.base.pictures import Window
    from metarl.run.showing import watch

    from .maze_evaluation import WatchSettings, reader

    asked = parse(WatchSettings, prog, arguments)
    watch(asked, reader(asked, RECIPE.settings_of), Window)


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


def _explore(prog: str, arguments: Sequence[str]) -> None:
    from metarl.explore.command import ExploreSettings, explore

    from .explore import Mazes

    explore(parse(ExploreSettings, prog, arguments), Mazes())


def _export(prog: str, arguments: Sequence[str]) -> None:
    from metarl.run.export import ExportSettings, export

    export(parse(ExportSettings, prog, arguments))


def unread(settings: TrainSettings) -> tuple[str, ...]:
    """Return what settings leave unread: a trial in the room is one."""
    return ("trial_episodes", "trial_steps") if settings.is_room else ()


RECIPE = Recipe(
    name="experiments.maze",
    module=f"{__package__}.maze",
    defaults=defaults,
    training=lambda settings: Training(settings.trained(), settings.batch_size),
    place=place,
    methods=METHODS,
    picks=("preset", "method", "core", "mazes", "size", "curriculum"),
    former={"mazes": ROOM, "size": None, "curriculum": "dr"},
    commands={  # what they import, training has no use for: the drawing libraries
        "evaluate": Command(
            "measure a trained agent on fresh trials, or on held-out goals", _evaluate
        ),
        "compare": compare_command(_comparable),
        "search": search_command(lambda: SEARCHABLE),
        "render": Command("draw or film a trial", _render),
        "watch": Command("show a trained agent in a window", _watch),
        "play": command("look for the goal of a maze yourself, in a window", PlaySettings, play),
        "explore": Command("draw mazes and watch agents in them, on a page", _explore),
        "export": Command("copy a run without what only its resume needs", _export),
    },
    unread=unread,
    train="train agents into a run directory",
    may_move=("cuda_graph",),
    beside=beside,
)

SEARCHABLE: Searchable = Searchable(
    RECIPE,
    _judge,
    tasks=("mazes", "size", "preset", "environment", "trial_episodes", "trial_steps"),
)

if __name__ == "__main__":
    main(RECIPE)
