"""`--config`: settings of another run, or options from a file, that a training begins from.

A run gives all its settings, and what is on the command line changes them. A file gives options by
the names that they have on the command line, before those that are there:

    method: lstm                    # --method lstm
    seeds: [0, 1, 2]                # --seeds 0 1 2
    loss: {gamma: 0.97}             # --loss.gamma 0.97
    cuda-graph: true                # --cuda-graph
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from metarl import zoo
from metarl.errors import RunDirectoryError, UserError, understood
from metarl.run.recipe import Recipe, RunT
from metarl.runs.config import OWN, recipe_of, upgraded
from metarl.runs.directory import RunDirectory
from metarl.runs.files import once, strict_json, to_json

OPTION = re.compile(r"[A-Za-z][\w.-]*")

FILES = (".json", ".toml", ".yaml", ".yml")

NOT_IN_A_FILE = ("config", "help", "resume")
"""Options of the command line alone."""

NOT_TAKEN = (*OWN, "run_dir", "resume", "config", "init_from")
"""Entries of `config.json` that belong to that run alone."""


def is_file(source: Path) -> bool:
    """Whether a source is a file of options, not a run."""
    return source.suffix.lower() in FILES and not source.is_dir()


def options_of(source: Path) -> list[str]:
    """The options of a file as words of a command line.

    Raises:
        UserError: There is no such file, it is not what its ending says, or a name or value is no
            option's.
    """
    if not source.is_file():
        raise UserError(f"--config {source}: there is no such file")
    data = source.read_bytes()
    ending = source.suffix.lower()
    kind = "YAML" if ending == ".yml" else ending[1:].upper()
    with understood(source, f"is not valid {kind}", "mend it", UserError):
        match ending:
            case ".json":
                content = strict_json(data)
            case ".toml":
                content = tomllib.loads(data.decode())
            case _:
                content = _yaml(data)
    if not isinstance(content, Mapping):
        raise UserError(f"--config {source}: it must map options to values")
    if "provenance" in content:
        raise UserError(f"--config {source} is of a run: name its folder, {source.parent}")
    return _words(content, source)


def _yaml(data: bytes) -> Any:
    try:
        import yaml
    except ModuleNotFoundError:
        raise UserError(
            "--config: YAML needs another package: pip install 'metarl-maze[yaml]', or write the "
            "options as .toml or .json"
        ) from None

    class Plain(yaml.BaseLoader):  # type: ignore[misc]
        """Words as they stand there: of old, YAML took ``off`` and ``no`` for false, 1:30 for 90.

        A name that is there twice is an error.
        """

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
            names = [self.construct_object(key, deep=True) for key, _ in node.value]
            return once(
                [
                    (n, self.construct_object(v, deep=True))
                    for n, (_, v) in zip(names, node.value, strict=True)
                ]
            )

    return _typed(yaml.load(data, Plain))


def _typed(value: Any) -> Any:
    """Truths, and what there is none of, instead of their words in YAML.

    An empty document is None.
    """
    match value:
        case dict():
            return {name: _typed(inner) for name, inner in value.items()}
        case list():
            return [_typed(inner) for inner in value]
        case None | "" | "~" | "null" | "Null" | "NULL":
            return None
    return {"true": True, "false": False}.get(value.lower(), value)


def _words(content: Mapping[str, Any], source: Path, group: str = "") -> list[str]:
    found: list[str] = []
    for name, value in content.items():
        option = f"{group}{str(name).replace('_', '-')}"
        if not OPTION.fullmatch(option) or option in NOT_IN_A_FILE:
            raise UserError(f"--config {source}: {option} is no option of a file; drop it")
        match value:
            case Mapping():
                found += _words(value, source, f"{option}.")
            case True | False:
                head, _, last = option.rpartition(".")
                negated = f"{head}.no-{last}" if head else f"no-{last}"
                found.append(f"--{option if value else negated}")
            case list():
                found += [f"--{option}", *(_word(one, option, source) for one in value)]
            case _:
                found += [f"--{option}", _word(value, option, source)]
    return found


def _word(value: Any, option: str, source: Path) -> str:
    """A value as a word of a command line.

    Raises:
        UserError: It is none, or another option would begin there.
    """
    plain = isinstance(value, str | int | float | None) and not isinstance(value, bool)
    if not plain or str(value).startswith("--"):
        raise UserError(f"--config {source}: {option} is {value!r}, which is no option's")
    return str(value)


def settings_of(recipe: Recipe[RunT], source: Path, picked: Mapping[str, Any]) -> RunT:
    """The settings of a run, for a new one.

    Args:
        recipe: Of the training.
        source: A run directory, or an agent of the package by name.
        picked: Options of the command line that choose which settings there are. Where they are
            other than the run's, what the run says of settings that there are not now is left out.

    Raises:
        UserError: There is no such run, or it is of another recipe or version.
    """
    run = RunDirectory.open(zoo.find(source))
    whose = recipe_of(run.config)
    if whose != recipe.name:
        raise RunDirectoryError(f"--config {source}: it is a run of {whose}, not of {recipe.name}")
    kept = run.config if "recipe" in run.config else upgraded(run.config)
    with understood(run.path / "config.json", "is not that of a run", "restore it"):
        own = {name: value for name, value in kept.items() if name not in NOT_TAKEN}
        before = {**recipe.former, **own}
        picks = {name: before[name] for name in recipe.picks if before.get(name) is not None}
        for name in led_by(recipe, picks, picked):
            del picks[name], own[name]
        chosen = {**picks, **picked}
        usual = recipe.defaults(**chosen)
        base = {f.name: getattr(usual, f.name) for f in fields(usual)}
        now = {name: value for name, value in chosen.items() if name in base}
        same = all(picks.get(name, value) == value for name, value in chosen.items())
        merged = over(to_json(base, "config"), {**own, **now}, strict=same)
    settings = recipe.settings_of({**merged, "recipe": recipe.name})
    return replace(settings, run_dir=None, resume=None)


def led_by(recipe: Recipe[Any], picks: Mapping[str, Any], picked: Mapping[str, Any]) -> list[str]:
    """Picks of a run that other picks of the command line choose, as a method its core."""
    found: list[str] = []
    changed = any(picks.get(name, value) != value for name, value in picked.items())
    while changed:
        left = {name: value for name, value in picks.items() if name not in found}
        more = [name for name in left.keys() - picked.keys() if _led(recipe, name, left, picked)]
        found += more
        changed = bool(more)
    return found


def _led(
    recipe: Recipe[Any], name: str, picks: Mapping[str, Any], picked: Mapping[str, Any]
) -> bool:
    """Whether what is usual for a pick of a run changes with the picks of the command line."""
    others = {n: v for n, v in picks.items() if n != name}
    try:
        usual = [recipe.defaults(**of) for of in (others, {**others, **picked})]
    except UserError:  # another pick goes first, which does not go with these
        return False
    one, two = (getattr(settings, name, None) for settings in usual)
    return bool(one != two)


def over(base: Mapping[str, Any], new: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    """Values of a base, and over them others.

    Args:
        base: JSON values; mappings are groups.
        new: What comes over them.
        strict: Whether names that the base does not have are taken too, to be refused.
    """
    found = dict(base)
    for name, value in new.items():
        inside = isinstance(base.get(name), Mapping) and isinstance(value, Mapping)
        if inside:
            found[name] = over(base[name], value, strict=strict)
        elif strict or name in base:
            found[name] = value
    return found


def without_file(arguments: Sequence[str]) -> list[str]:
    """Arguments without ``--config FILE``, whose options are among them."""
    left: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--config":
            next(words, None)
        elif not word.startswith("--config="):
            left.append(word)
    return left
