"""Omniglot, end to end: ``python -m experiments.omniglot download|train|evaluate``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import cast

import tyro

from experiments.command_line import option, run_command, run_training
from experiments.learners import Method
from experiments.omniglot.fewshot_settings import METHODS, FewShotSettings, defaults

COMMANDS = {
    "download": "get the images from their authors",
    "train": "meta-train learners into a run directory",
    "evaluate": "measure accuracy on unseen characters, step by step, and draw it",
}


def main(arguments: Sequence[str]) -> None:
    """Run one command."""
    run_command("python -m experiments.omniglot", COMMANDS, run, arguments)


def run(command: str, prog: str, arguments: Sequence[str]) -> None:
    """Import only what the command needs."""
    run_train(prog, arguments)


def run_train(prog: str, arguments: Sequence[str]) -> None:
    """Train; protocol, method and ways choose the defaults that the other options change."""
    from experiments.omniglot.fewshot_train import default_run_dir, train

    method = cast(Method, option(arguments, "--method", "maml", METHODS))
    default = defaults(method)
    settings = tyro.cli(FewShotSettings, prog=prog, args=arguments, default=default)
    place = settings.resume or settings.run_dir or default_run_dir(settings)
    run_training(prog, place, lambda: train(settings))


if __name__ == "__main__":
    main(sys.argv[1:])
