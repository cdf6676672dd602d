"""Omniglot, end to end: ``python -m experiments.omniglot download|train|evaluate|sweep``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import tyro

from experiments.command_line import option, run_command, run_training
from experiments.learners import Method
from experiments.omniglot import fewshot_settings, multishot_presets
from experiments.omniglot.fewshot_settings import FewShotSettings
from experiments.omniglot.multishot_settings import MultiShotMethod, MultiShotSettings, Preset
from metarl.errors import UserError
from metarl.run_directory import find_runs

PROGRAM = "python -m experiments.omniglot"
COMMANDS = {
    "download": "get the images from their authors",
    "train": "meta-train learners into a run directory",
    "evaluate": "measure accuracy on unseen characters, step by step, and draw it",
    "sweep": "train and evaluate several learners, seeds and numbers of alphabets",
}


@dataclass(frozen=True)
class DownloadSettings:
    """Download the archives (about 15 MB) from their authors' repository, and check them."""

    data: Path | None = None
    """Where to put them. Default: $METARL_DATA/omniglot, else data/omniglot."""


def main(arguments: Sequence[str]) -> None:
    """Run one command."""
    run_command(PROGRAM, COMMANDS, run, arguments)


def run(command: str, prog: str, arguments: Sequence[str]) -> None:
    """Import only what the command needs: training has no use for the drawing libraries."""
    match command:
        case "download":
            run_download(tyro.cli(DownloadSettings, prog=prog, args=arguments))
        case "train":
            run_train(prog, arguments)
        case "evaluate":
            from experiments.omniglot.evaluate import evaluate
            from experiments.omniglot.evaluate_settings import EvaluateSettings

            evaluate(tyro.cli(EvaluateSettings, prog=prog, args=arguments))
        case "sweep":
            from experiments.omniglot.sweep import run_sweep

            run_sweep(prog, arguments)


def run_download(settings: DownloadSettings) -> None:
    """Download what is not there."""
    from metarl.fewshot.omniglot_download import default_folder, download

    folder = settings.data or default_folder()
    download(folder)
    print(f"the images are in {folder}")


def run_train(prog: str, arguments: Sequence[str]) -> None:
    """Train; protocol, preset, method and ways choose the defaults that other options change."""
    if protocol_of(arguments) == "multishot":
        run_train_multishot(prog, arguments)
        return
    from experiments.omniglot.fewshot_train import default_run_dir, train

    method = cast(Method, option(arguments, "--method", "maml", fewshot_settings.METHODS))
    default = fewshot_settings.defaults(method, ways_option(arguments))
    settings = tyro.cli(FewShotSettings, prog=prog, args=arguments, default=default)
    place = settings.resume or settings.run_dir or default_run_dir(settings)
    run_training(prog, place, lambda: train(settings))


def run_train_multishot(prog: str, arguments: Sequence[str]) -> None:
    """Train on alphabets."""
    from experiments.omniglot.multishot_train import default_run_dir, train

    preset = cast(Preset, option(arguments, "--preset", "default", get_args(Preset)))
    methods = get_args(MultiShotMethod)
    method = cast(MultiShotMethod, option(arguments, "--method", "warp-leap", methods))
    default = multishot_presets.defaults(preset, method)
    settings = tyro.cli(MultiShotSettings, prog=prog, args=arguments, default=default)
    place = settings.resume or settings.run_dir or default_run_dir(settings)
    run_training(prog, place, lambda: train(settings))


def protocol_of(arguments: Sequence[str]) -> str:
    """The protocol that was asked for, or that of the run to resume."""
    asked = option(arguments, "--protocol", "fewshot", ("fewshot", "multishot"))
    resumed = option(arguments, "--resume", "", ())
    return str(find_runs(resumed)[0].config.get("protocol", asked)) if resumed else asked


def ways_option(arguments: Sequence[str]) -> int:
    """The value of ``--ways``, before the other options are read."""
    value = option(arguments, "--ways", "5", ())
    try:
        return int(value)
    except ValueError:
        raise UserError(f"--ways must be a number of characters, got {value!r}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
