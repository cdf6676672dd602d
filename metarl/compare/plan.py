"""From a comparison to its runs: every method's settings, refused before any work where wrong."""

from __future__ import annotations

import dataclasses
import shlex
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from metarl.compare.settings import Comparison, ComparisonEvaluation
from metarl.compare.work import Job, Script, check_same, chosen, script_of
from metarl.errors import UserError
from metarl.run import Recipe
from metarl.run.adaptation import EvaluateSettings, check_fits, evaluate
from metarl.run.command_line import parse
from metarl.run.training import by_option

OF_THE_COMPARISON = ("run_dir", "resume", "seeds", "method", "env", "device")
"""Options of `train` that `compare` has itself, or chooses."""


@dataclass(frozen=True)
class Comparable:
    """A recipe of environments and methods, whose methods can be compared.

    Attributes:
        recipe: Its settings have ``environment``, ``learner`` and ``learning()``; it picks ``env``
            and ``method``.
        script: Trains and evaluates its runs.
    """

    recipe: Recipe[Any]
    script: Script

    @property
    def families(self) -> dict[str, list[str]]:
        """Methods that share a panel of the picture, by its title."""
        found: dict[str, list[str]] = {}
        for name, method in self.recipe.methods.items():
            found.setdefault(method.family, []).append(name)
        return found


def comparable(recipe: Recipe[Any]) -> Comparable:
    """Return a recipe, whose runs `metarl.run.adaptation` evaluates, ready to be compared."""
    return Comparable(
        recipe, script_of(recipe, evaluate, results=("summary.json", "adaptation.json"))
    )


def jobs(
    comparable: Comparable,
    comparison: Comparison,
    folder: Path,
    device: str,
    only: Sequence[str] = (),
) -> list[Job]:
    """List all runs, seeds outermost, so that all methods have a first seed soon.

    Args:
        comparable: The script.
        comparison: What is compared.
        folder: Where.
        device: On what.
        only: Names of those that are wanted; empty: all.

    Raises:
        UserError: An option is unknown, or not the method's; the methods would not have the same
            tasks; a run that is there has other settings.
    """
    check_overrides(comparable, comparison)
    settings = {m: train_settings(comparable, comparison, m) for m in comparison.methods}
    evaluations = {m: evaluation(comparison, m) for m in comparison.methods}
    check_options(comparison, settings)
    check_same_tasks(settings)
    found = []
    for seed in comparison.seeds:
        for method in comparison.methods:
            path = folder / method / f"seed-{seed}"
            wanted = replace(settings[method], seeds=(seed,), run_dir=path, device=device)
            how = EvaluateSettings(path, device=device, **vars(evaluations[method]))
            found.append(Job(path, wanted, how, comparable.script))
    found = chosen(found, folder, only)
    for job in found:
        check_same(job)
        if not (job.path / "config.json").exists() and job.train.seeds == comparison.seeds[:1]:
            learning = job.train.learning()
            learning.check(device, job.train.meta_batch, job.train.init_from)
            check_fits(learning.problem, job.evaluate)
    return found


def train_settings(comparable: Comparable, comparison: Comparison, method: str) -> Any:
    """The method's defaults, with the options for all that it has, and its own on top."""
    default = comparable.recipe.defaults(comparison.env, method)
    own_options = options_of(default)
    common = [
        word
        for name, words in by_option(comparison.options)
        if name in own_options
        for word in words
    ]
    base = parse(type(default), "compare", common, default)
    own = [(path, value) for path, value in overrides(comparison, method) if path[0] != "evaluate"]
    words = _words(base, method, own, OF_THE_COMPARISON)
    if not words:
        return base
    flags = (tyro.conf.FlagConversionOff,)
    return parse(type(base), "compare --override", words, base, config=flags)


def evaluation(comparison: Comparison, method: str) -> ComparisonEvaluation:
    """Settings of evaluation as for all methods, with the method's own on top."""
    own = [(p[1:], value) for p, value in overrides(comparison, method) if p[0] == "evaluate"]
    words = _words(comparison.evaluate, f"{method}.evaluate", own)
    if not words:
        return comparison.evaluate
    return parse(ComparisonEvaluation, "compare --override", words, comparison.evaluate)


def overrides(comparison: Comparison, method: str) -> Iterator[tuple[list[str], str]]:
    """Paths and values of the options for one method."""
    for one in comparison.override:
        name, _, value = one.partition("=")
        owner, *path = name.replace("-", "_").split(".")
        if owner == method.replace("-", "_"):
            yield path, value


def _words(
    settings: Any, whose: str, own: Sequence[tuple[Sequence[str], str]], closed: Sequence[str] = ()
) -> list[str]:
    """Options for one method as the words of a command line.

    Raises:
        UserError: There is no such option, or it is one of ``closed``, the comparison's own.
    """
    found = []
    for path, value in own:
        check_path(settings, whose, path, closed)
        found += ["--" + ".".join(path).replace("_", "-"), *shlex.split(value)]
    return found


def check_path(settings: Any, whose: str, path: Sequence[str], closed: Sequence[str]) -> None:
    """Check that an option is there.

    Raises:
        UserError: There is none, or it is the comparison's own.
    """
    words = f"--override {whose}.{'.'.join(path)}"
    if path and path[0] in closed:
        raise UserError(f"{words}: {path[0].replace('_', '-')} is the whole comparison's")
    here: Any = settings
    for name in path:
        there = options_of(here)
        if name not in there:
            raise UserError(f"{words}: there is no {name}, but {', '.join(there) or 'nothing'}")
        here = there[name]
    if not path or dataclasses.is_dataclass(here):
        raise UserError(f"{words}: name one of {', '.join(options_of(here))} in it")


def options_of(settings: Any) -> dict[str, Any]:
    """Options of settings and their values; those of groups without a name are among them."""
    found: dict[str, Any] = {}
    if not dataclasses.is_dataclass(settings):
        return found
    hints = typing.get_type_hints(type(settings), include_extras=True)
    for each in dataclasses.fields(settings):
        value = getattr(settings, each.name)
        marks = typing.get_args(hints[each.name])[1:]
        nameless = any(getattr(mark, "name", None) == "" for mark in marks)
        found |= options_of(value) if nameless else {each.name: value}
    return found


def check_overrides(comparable: Comparable, comparison: Comparison) -> None:
    """Check that all overrides are METHOD.OPTION=VALUE, of methods that are compared.

    Raises:
        UserError: One is not.
    """
    for one in comparison.override:
        name, equals, value = one.partition("=")
        method, dot, _ = name.partition(".")
        if not (equals and dot and value):
            raise UserError(
                f"--override {one} must be METHOD.OPTION=VALUE, such as maml.iterations=100"
            )
        if method not in comparison.methods:
            here = method in comparable.recipe.methods
            known = "is not among --methods; add it" if here else "is no method"
            raise UserError(f"--override {one}: {method} {known}")


def check_options(comparison: Comparison, settings: Mapping[str, Any]) -> None:
    """Check that each option for all methods is one of a method, and none of the comparison's.

    Raises:
        UserError: One is not.
    """
    for name, (option, *_) in by_option(comparison.options):
        if name == "resume":
            raise UserError(
                "--resume is not for `compare`: name the folder with --run-dir, what is there goes "
                "on, and more --iterations, --methods or --seeds may be asked for"
            )
        if name in OF_THE_COMPARISON:
            raise UserError(f"{option} is not for `compare`; it chooses that itself")
        if not any(name in options_of(one) for one in settings.values()):
            raise UserError(f"{option}: none of {', '.join(comparison.methods)} has it")


def check_same_tasks(settings: Mapping[str, Any]) -> None:
    """Check that all methods would have the same tasks.

    Raises:
        UserError: Two differ.
    """
    (first, one), *others = settings.items()
    for method, other in others:
        for name in ("env", *options_of(one.environment)):
            here, there = (options_of(s).get(name) for s in (one, other))
            if here != there:
                raise UserError(
                    f"{first} has {name} {here}, {method} {there}: "
                    f"all are compared on the same tasks; give --{name} for all"
                )
