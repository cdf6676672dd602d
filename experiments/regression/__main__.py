"""Regression, end to end: ``python -m experiments.regression train|evaluate``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import cast

from experiments.command_line import option, parse, run_command, run_training
from experiments.learners import Method
from experiments.regression.settings import (
    FAMILIES,
    METHODS,
    Family,
    TrainSettings,
    default_method,
    defaults,
)

COMMANDS = {
    "train": "meta-train learners into a run directory",
    "evaluate": "measure the fit to unseen functions, step by step, and draw it",
}


def main(arguments: Sequence[str]) -> None:
    """Run one command."""
    run_command("python -m experiments.regression", COMMANDS, run, arguments)


def run(command: str, prog: str, arguments: Sequence[str]) -> None:
    """Import only what the command needs: training has no use for the drawing libraries."""
    if command == "train":
        run_train(prog, arguments)
        return
    from experiments.regression.evaluate import EvaluateSettings, evaluate

    evaluate(parse(EvaluateSettings, prog, arguments))


def run_train(prog: str, arguments: Sequence[str]) -> None:
    """Train; family and method choose the defaults that the other options change."""
    from experiments.regression.train import default_run_dir, train

    family = cast(Family, option(arguments, "--family", "sine", FAMILIES))
    method = cast(Method, option(arguments, "--method", default_method(family), METHODS))
    default = defaults(family, method)
    settings = parse(TrainSettings, prog, arguments, default)
    place = settings.resume or settings.run_dir or default_run_dir(settings)
    run_training(prog, place, lambda: train(settings, arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
