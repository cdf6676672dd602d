"""Omniglot, end to end: ``python -m experiments.omniglot download|train|evaluate|sweep``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, cast, get_args

from experiments.learners import Method
from experiments.omniglot import fewshot_settings, multishot_presets
from experiments.omniglot.fewshot_settings import FewShotSettings
from experiments.omniglot.multishot_settings import MultiShotMethod, MultiShotSettings, Preset
from metarl.errors import UserError
from metarl.run.command_line import option, parse, run_command, run_training
from metarl.runs.directory import find_runs

PROGRAM = "python -m experiments.omniglot"
COMMANDS = {
    "download": "get the images from their authors",
    "train": "meta-train learners into a run directory",
    "evaluate": "measure accuracy on unseen characters, step by step, and draw it",
    "sweep": "train and evaluate several learners, seeds and numbers of alphabets",
}

Protocol = Literal["fewshot", "multishot"]
SETTINGS: dict[Protocol, type[Any]] = {"fewshot": FewShotSettings, "multishot": MultiShotSettings}
METHODS: dict[Protocol, tuple[str, ...]] = {
    "fewshot": fewshot_settings.METHODS,
    "multishot": get_args(MultiShotMethod),
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
            run_download(parse(DownloadSettings, prog, arguments))
        case "train":
            run_train(prog, arguments)
        case "evaluate":
            from experiments.omniglot.evaluate import evaluate
            from experiments.omniglot.evaluate_settings import EvaluateSettings

            evaluate(parse(EvaluateSettings, prog, arguments))
        case "sweep":
            from experiments.omniglot.sweep import run_sweep

            run_sweep(prog, arguments)


def run_download(settings: DownloadSettings) -> None:
    """Download what is not there."""
    from metarl.supervised.omniglot.download import default_folder, download

    folder = settings.data or default_folder()
    download(folder)
    print(f"the images are in {folder}")


def run_train(prog: str, arguments: Sequence[str]) -> None:
    """Train; protocol, preset, method and ways choose the defaults that other options change."""
    if protocol_of(arguments) == "multishot":
        run_train_multishot(prog, arguments)
        return
    from experiments.omniglot.fewshot_train import default_run_dir, train

    check_options(arguments, "fewshot")
    method = method_option(arguments, "fewshot", "maml")
    default = fewshot_settings.defaults(method, ways_option(arguments))
    settings = parse(FewShotSettings, prog, arguments, default)
    place = settings.resume or settings.run_dir or default_run_dir(settings)
    run_training(prog, place, lambda: train(settings, arguments))


def run_train_multishot(prog: str, arguments: Sequence[str]) -> None:
    """Train on alphabets."""
    from experiments.omniglot.multishot_train import default_run_dir, train

    check_options(arguments, "multishot")
    preset = cast(Preset, option(arguments, "--preset", "default", get_args(Preset)))
    method = cast(MultiShotMethod, method_option(arguments, "multishot", "warp-leap"))
    default = multishot_presets.defaults(preset, method)
    settings = parse(MultiShotSettings, prog, arguments, default)
    place = settings.resume or settings.run_dir or default_run_dir(settings)
    run_training(prog, place, lambda: train(settings, arguments))


def protocol_of(arguments: Sequence[str]) -> str:
    """The protocol that was asked for, or that of the run to resume."""
    asked = option(arguments, "--protocol", "fewshot", ("fewshot", "multishot"))
    resumed = option(arguments, "--resume", "", ())
    return str(find_runs(resumed)[0].config.get("protocol", asked)) if resumed else asked


def check_options(arguments: Sequence[str], protocol: Protocol) -> None:
    """Refuse an option that only the other protocol has.

    Raises:
        UserError: There is one; the message names the protocol.
    """
    (other,) = SETTINGS.keys() - {protocol}
    own, foreign = ({f.name for f in fields(SETTINGS[p])} for p in (protocol, other))
    for argument in arguments:
        name = argument.removeprefix("--").split("=")[0].split(".")[0]
        plain = name.replace("-", "_").removeprefix("no_")
        if argument.startswith("--") and plain in foreign - own:
            raise UserError(f"--{name} is an option of --protocol {other}, this is {protocol}")


def method_option(arguments: Sequence[str], protocol: Protocol, default: Method) -> Method:
    """The value of ``--method``, before the other options are read.

    Raises:
        UserError: The protocol has no such learner; the message says which has it, or why not.
    """
    methods = METHODS[protocol]
    (other,) = METHODS.keys() - {protocol}
    value = option(arguments, "--method", default, ())
    if value not in methods and value in fewshot_settings.WHY_NOT:
        raise UserError(fewshot_settings.WHY_NOT[value])
    if value not in methods and value in METHODS[other]:
        raise UserError(
            f"--method {value} is a learner of --protocol {other}; {protocol} has "
            f"{', '.join(methods)}"
        )
    return cast(Method, option(arguments, "--method", default, methods))


def ways_option(arguments: Sequence[str]) -> int:
    """The value of ``--ways``, before the other options are read."""
    value = option(arguments, "--ways", "5", ())
    try:
        return int(value)
    except ValueError:
        raise UserError(f"--ways must be a number of characters, got {value!r}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
