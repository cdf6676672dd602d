"""`export`: a run small enough to give away, its weights alone, or an agent's step as ONNX."""

from __future__ import annotations

import json
import logging
import shlex
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from torch import Tensor

from metarl import zoo
from metarl.errors import RunDirectoryError, UserError, understood
from metarl.methods.agent_step import AgentStep, example
from metarl.methods.loading import LoadedAgent, load
from metarl.runs import checkpoint
from metarl.runs.config import recipe_of
from metarl.runs.directory import RunDirectory
from metarl.runs.files import write_bytes, write_json
from metarl.runs.place import check_folder

KEPT = ("metrics.jsonl", "summary.json")

Format = Literal["run", "safetensors", "onnx"]


@dataclass(frozen=True)
class ExportSettings:
    """Copy a run without what only its resume needs, or write its weights for other programs."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RUN")]]
    """A run directory, or an agent of the package by name."""
    output: Path
    """What to make: a folder; for safetensors and onnx a file."""
    format: Format = "run"
    """run: a run directory of settings, curve, summary and weights. safetensors: the weights by
    their names. onnx: one step of an agent, from observation and state to what its actions are
    drawn from, its value and its next state."""


def export(settings: ExportSettings) -> None:
    """Write what was asked for; nothing that there is already is replaced.

    Raises:
        UserError: There is no such run, something is there already, or a package is missing.
    """
    run = RunDirectory.open(zoo.find(settings.run))
    if settings.output.exists():
        raise RunDirectoryError(f"{settings.output} is there already; name another --output")
    check_folder(settings.output.parent, "name another --output")
    match settings.format:
        case "run":
            write_run(run, settings.output)
        case "safetensors":
            write_safetensors(run, settings.output)
        case "onnx":
            write_onnx(run, settings.output)
    files = settings.output.rglob("*") if settings.output.is_dir() else (settings.output,)
    size = sum(path.stat().st_size for path in files)
    print(f"exported: {settings.output} ({size / 1e6:.2f} MB)")


def write_run(run: RunDirectory, output: Path) -> None:
    """Write a copy; `evaluate`, `render` and `plot` work on it, `train --resume` does not."""
    with understood(run.path / "config.json", "has no command line", "restore it"):
        config = without_folders(run.config)
    small = learned(run)
    output.mkdir(parents=True)
    write_json(output / "config.json", config)
    for name in KEPT:
        if (run.path / name).is_file():
            shutil.copyfile(run.path / name, output / name)
    checkpoint.save(output / "checkpoint.pt", small)


def learned(run: RunDirectory) -> dict[str, Any]:
    """Content of a checkpoint, without what only a resume needs.

    Where validation has chosen, that is the best learner alone.
    """
    state = run.load_checkpoint()
    with run.fits_settings():
        kept = ("iteration", "counted", "wall_seconds")
        small: dict[str, Any] = {n: state[n] for n in kept if n in state}
        learner, selection = state["learner"], state["learner"].get("selection")
        if selection is not None and selection["best"] is not None:
            best = selection["best"]
            learner = best["learner"]
            small["learner"] = {
                **_weights(learner),
                "selection": {"best": {**best, "learner": _weights(learner)}},
            }
        else:
            small["learner"] = _weights(learner)
    return small


def _weights(learner: Mapping[str, Any]) -> dict[str, Any]:
    """Weights that are meta-learned, and those that stood still with them."""
    frozen = {"frozen": learner["frozen"]} if "frozen" in learner else {}
    return {"params": learner["params"], **frozen}


def write_safetensors(run: RunDirectory, output: Path) -> None:
    """Write the weights, with method and recipe in the file's metadata.

    Raises:
        UserError: The package is missing.
    """
    try:
        from safetensors.torch import save
    except ModuleNotFoundError:
        raise _missing("safetensors") from None
    learner = learned(run)["learner"]
    params: dict[str, Tensor] = {**learner["params"], **learner.get("frozen", {})}
    told = {
        "recipe": str(recipe_of(run.config)),
        "method": str(run.config.get("method")),
        "config": json.dumps(without_folders(run.config)),
    }
    whole = {name: value.detach().cpu().contiguous() for name, value in params.items()}
    output.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(output, save(whole, told))


def write_onnx(run: RunDirectory, output: Path) -> None:
    """Write one step of an agent; any number of trials go through it side by side.

    Raises:
        UserError: The run has no agent that plays, or a package is missing.
    """
    agent = load(run.path)
    if not isinstance(agent, LoadedAgent):
        raise UserError(
            f"{run.path} adapts to examples: it has no step to export as ONNX; take safetensors"
        )
    step = AgentStep(agent).eval()
    inputs = example(step)
    batch = torch.export.Dim("batch")
    states = tuple({0: batch} for _ in inputs[1:])
    shapes = ({0: batch}, states) if states else ({0: batch},)
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        with quiet():
            program = torch.onnx.export(
                step,
                inputs,
                input_names=step.input_names(),
                output_names=step.output_names(),
                dynamic_shapes=shapes,
                dynamo=True,
                verbose=False,
            )
    except ImportError as error:
        if getattr(error, "name", None) not in ("onnx", "onnxscript", "onnx_ir"):
            raise
        raise _missing("onnx") from None
    assert program is not None
    program.save(str(output), external_data=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Say nothing of the exporter's own parts, nor of packages that it looks for."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _missing(extra: str) -> UserError:
    return UserError(f"--format {extra} needs another package: pip install 'metarl-maze[{extra}]'")


def without_folders(config: Mapping[str, Any]) -> dict[str, Any]:
    """Config of a run without the folders of the machine it was trained on.

    Of what it began from the name stays.
    """
    origin = config["provenance"]
    words = (word.partition("=") for word in shlex.split(origin.get("command_line", "")))
    command = shlex.join(f"{_name(first)}{sign}{_name(rest)}" for first, sign, rest in words)
    places = dict.fromkeys(("run_dir", *(n for n in ("resume", "data") if n in config)))
    begun = {n: _name(config[n]) for n in ("config", "init_from") if config.get(n) is not None}
    return {**config, **places, **begun, "provenance": {**origin, "command_line": command}}


def _name(word: str) -> str:
    """The last part of an absolute path; any other word as it is."""
    return Path(word).name if Path(word).is_absolute() else word
