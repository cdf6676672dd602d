"""`export`: a run directory small enough to give away."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from metarl.errors import RunDirectoryError, understood
from metarl.runs import checkpoint
from metarl.runs.directory import RunDirectory
from metarl.runs.files import write_json

KEPT = ("metrics.jsonl", "summary.json")


@dataclass(frozen=True)
class ExportSettings:
    """Copy a run without what only its resume needs: settings, curve, summary and weights stay."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
    """A run directory."""
    output: Path
    """The folder to make."""


def export(settings: ExportSettings) -> None:
    """Write the copy; `evaluate`, `render` and `plot` work on it, `train --resume` does not."""
    run = RunDirectory.open(settings.run)
    state = run.load_checkpoint()
    with run.fits_settings():
        small: dict[str, Any] = {n: state[n] for n in ("iteration", "counted") if n in state}
        small["learner"] = {"params": state["learner"]["params"]}
    with understood(run.path / "config.json", "has no command line", "restore it"):
        config = without_folders(run.config)
    if settings.output.exists():
        raise RunDirectoryError(f"{settings.output} is there already; name another --output")
    settings.output.mkdir(parents=True)
    write_json(settings.output / "config.json", config)
    for name in KEPT:
        if (run.path / name).is_file():
            shutil.copyfile(run.path / name, settings.output / name)
    checkpoint.save(settings.output / "checkpoint.pt", small)
    size = sum(path.stat().st_size for path in settings.output.iterdir())
    print(f"exported: {settings.output} ({size / 1e6:.1f} MB)")


def without_folders(config: Mapping[str, Any]) -> dict[str, Any]:
    """Config of a run without the folders of the machine it was trained on."""
    origin = config["provenance"]
    words = (word.partition("=") for word in shlex.split(origin.get("command_line", "")))
    command = shlex.join(f"{_name(first)}{sign}{_name(rest)}" for first, sign, rest in words)
    return {**config, "run_dir": None, "provenance": {**origin, "command_line": command}}


def _name(word: str) -> str:
    """The last part of an absolute path; any other word as it is."""
    return Path(word).name if Path(word).is_absolute() else word
