"""Adaptation to new tasks: ``python -m experiments.maze_adapt train|evaluate|compare|render``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import cast

from experiments.maze_adapt.methods import METHODS, Method
from experiments.maze_adapt.settings import ENVS, TrainSettings, defaults
from experiments.maze_adapt.worlds import EnvName
from metarl.run.command_line import option, parse, run_command, run_training

COMMANDS = {
    "train": "meta-train policies into a run directory",
    "evaluate": "adapt to unseen tasks, measure every step of the way and draw it",
    "compare": "many methods on one task distribution: train, evaluate, one table, one picture",
    "render": "film the same maze at every step of adaptation",
}


def main(arguments: Sequence[str]) -> None:
    """Run one command."""
    run_command("python -m experiments.maze_adapt", COMMANDS, run, arguments)


def run(command: str, prog: str, arguments: Sequence[str]) -> None:
    """Import only what the command needs: training has no use for the drawing libraries."""
    match command:
        case "train":
            run_train(prog, arguments)
        case "evaluate":
            from experiments.maze_adapt.evaluate import EvaluateSettings, evaluate

            evaluate(parse(EvaluateSettings, prog, arguments))
        case "compare":
            from experiments.maze_adapt.compare import COMPARABLE
            from metarl.compare.command import run_compare

            run_compare(COMPARABLE, prog, arguments)
        case "render":
            from experiments.maze_adapt.render import RenderSettings, render

            render(parse(RenderSettings, prog, arguments))


def run_train(prog: str, arguments: Sequence[str]) -> None:
    """Train; environment and method choose the defaults that the other options change."""
    from experiments.maze_adapt.train import default_run_dir, train

    env = cast(EnvName, option(arguments, "--env", "point", ENVS))
    method = cast(Method, option(arguments, "--method", "maml", METHODS))
    default = defaults(env, method)
    settings = parse(TrainSettings, prog, arguments, default)
    place = settings.resume or settings.run_dir or default_run_dir(settings)
    run_training(prog, place, lambda: train(settings, arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
