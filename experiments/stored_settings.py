"""Settings that come back from a run's `config.json`, and what `--resume` lets a user change."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from metarl.devices import resolve_device
from metarl.errors import RunDirectoryError, UserError
from metarl.foreign_bytes import understood
from metarl.run.counts import check_counts
from metarl.run.training import by_option
from metarl.runs import resume
from metarl.runs.directory import RunDirectory, create_runs, find_runs

SettingsT = TypeVar("SettingsT")


def from_config(
    kind: type[SettingsT], config: Mapping[str, Any], *, required: Sequence[str], what: str
) -> SettingsT:
    """The settings that a run's `config.json` keeps.

    Args:
        kind: The dataclass of settings.
        config: What the file holds.
        required: Settings without which it is another script's run.
        what: Whose run it should be, such as ``a regression run``.

    Raises:
        RunDirectoryError: It is another script's run, or another version's.
    """
    problem = f"is not that of {what} of this version"
    if not isinstance(config, Mapping):
        raise RunDirectoryError(f"config.json {problem}: it holds {config!r}")
    owner = script_of(config)
    lacking = [name for name in required if name not in config]
    if lacking:
        whose = f"it is that of a run of `python -m {owner}`" if owner else "name another run"
        raise RunDirectoryError(f"config.json {problem} (it has no {lacking[0]}); {whose}")
    names = {f.name for f in dataclasses.fields(typing.cast(Any, kind))}
    kept = {k: v for k, v in config.items() if k in names}
    with understood("config.json", problem, "restore it, or use the version that wrote it"):
        settings = _build(kind, kept, "config.json")
    try:
        check_counts(settings)
    except UserError as error:
        raise RunDirectoryError(f"config.json {problem}: {error}") from None
    return typing.cast(SettingsT, settings)


TELLING = {
    "protocol": "experiments.omniglot",
    "env": "experiments.maze_adapt",
    "family": "experiments.regression",
    "wall_penalty": "experiments.maze",
}
"""Settings that one script has, by which its runs are known; earlier ones are looked for first."""


def script_of(config: Mapping[str, Any]) -> str | None:
    """The module that a run's `config.json` is of, such as ``experiments.maze``; None: unknown."""
    return next((script for name, script in TELLING.items() if name in config), None)


def resumed(
    asked: SettingsT,
    given: Sequence[str],
    read: Callable[[Mapping[str, Any]], SettingsT],
    *,
    anew: Sequence[str] = (),
) -> tuple[SettingsT, list[RunDirectory]]:
    """The runs that ``--resume`` goes on with, and their own settings; without it what was asked.

    ``--iterations`` and ``--device`` may be given as well. Without ``--resume`` there are no runs
    yet.

    Args:
        asked: What the command line said. The settings have ``resume`` (a run, or the folder of
            several), ``iterations``, ``device``, ``seeds``.
        given: The words of the command line, of which the options are taken.
        read: The settings that a `config.json` keeps.
        anew: Other settings that may be given, such as where the data are; those that are not stay.

    Raises:
        UserError: Other settings were given, or a folder of seeds is not complete, or is of
            different numbers of iterations and none was given.
        RunDirectoryError: It is no run, or another script's.
    """
    now = typing.cast(Any, asked)
    if now.resume is None:
        return asked, []
    options = dict(by_option(given))
    may = ("resume", "iterations", "device", *anew)
    other = [words[0].partition("=")[0] for name, words in by_option(given) if name not in may]
    if other:
        raise UserError(
            "--resume takes its settings from the run, of which --iterations alone may be another "
            f"now; drop {', '.join(dict.fromkeys(other))}"
        )
    runs = find_runs(now.resume)
    kept = typing.cast(Any, read(runs[0].config))
    if runs[0].path != now.resume:
        runs = resume.complete(now.resume, runs, kept.seeds)
    changes = {name: getattr(now, name) for name in anew if getattr(now, name) is not None}
    if "iterations" in options:
        changes["iterations"] = now.iterations
    else:
        _check_same_iterations(runs)
    if now.device != "auto":
        changes["device"] = now.device
    seeds = tuple(run.seed for run in runs)
    found = dataclasses.replace(kept, resume=now.resume, seeds=seeds, **changes)
    return typing.cast(SettingsT, found), runs


def _check_same_iterations(runs: Sequence[RunDirectory]) -> None:
    """Refuse seeds of which some were extended alone.

    Raises:
        UserError: There are such; the message says how many iterations each is for.
    """
    planned = {run.path: run.config.get("iterations") for run in runs}
    if len(set(planned.values())) > 1:
        each = ", ".join(f"{path} {number}" for path, number in planned.items())
        raise UserError(
            f"the runs are for different numbers of iterations ({each}); name one for "
            "all of them with --iterations"
        )


def new_runs(settings: Any, usual: Path) -> list[RunDirectory]:
    """A run directory a seed, for settings with ``run_dir``, ``seeds`` and ``device``.

    Args:
        settings: Of the runs; their `config.json` keeps them.
        usual: Where they go if ``run_dir`` does not say.

    Raises:
        UserError: The device is not there, or the place is taken.
    """
    place, device = settings.run_dir or usual, resolve_device(settings.device)
    return create_runs(place, settings.seeds, settings, device=device)


def _build(kind: Any, value: Any, where: str) -> Any:
    """Turn JSON values back into (nested) dataclasses, tuples and paths, by their annotations.

    Raises:
        TypeError: A value is of another kind than its setting; the message says where.
        ValueError: It is none of the choices.
    """
    origin = typing.get_origin(kind)
    if origin is Annotated:
        return _build(get_args(kind)[0], value, where)
    if origin in (typing.Union, types.UnionType):
        return _build(_member(get_args(kind), value), value, where)
    if origin is Literal:
        if value not in get_args(kind):
            raise ValueError(
                f"{where} {value!r} is not one of {', '.join(map(str, get_args(kind)))}"
            )
        return value
    if origin is tuple and isinstance(value, list):
        return tuple(_build(get_args(kind)[0], item, where) for item in value)
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        hints = typing.get_type_hints(kind, include_extras=True)
        built = {k: _build(hints[k], v, k) for k, v in value.items()}
        return typing.cast(Any, kind)(**built)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind in (int, float) and type(value) in (int, float) and kind(value) == value:
        return kind(value)  # 13.0 is 13, in JSON that another program wrote
    if kind in (bool, str, types.NoneType) and type(value) is kind:
        return value
    raise TypeError(f"{where} is {value!r}")


def _member(kinds: Sequence[Any], value: Any) -> Any:
    """The member of a union that a JSON value is of: None, one of some words, or the one other."""
    if value is None:
        return types.NoneType
    words = [k for k in kinds if typing.get_origin(k) is Literal]
    others = [k for k in kinds if k not in words and k is not types.NoneType]
    return next((k for k in words if value in get_args(k)), [*others, *words][0])
