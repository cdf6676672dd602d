"""Plans of comparisons: every method's settings and runs, refused before any work where wrong."""

from __future__ import annotations

import dataclasses
import shlex
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import tyro

from metarl.compare.settings import CompareSettings, Comparison, evaluation_of
from metarl.compare.work import Job, Script, check_same, chosen
from metarl.errors import UserError
from metarl.evaluate.measures import Measure
from metarl.run import Recipe
from metarl.run.command_line import picked_by
from metarl.run.commands import parse
from metarl.run.recipe import by_option

OF_THE_COMPARISON = ("run_dir", "resume", "seeds", "method", "device")
"""Options of `train` that `compare` has itself, or chooses."""

SAME_TASKS = ("seed", "tasks", "split", "points", "test_points", "query_shots")
"""Options of an evaluation that say which tasks there are, and what is shown of them."""

NO_CONFIG = (
    "--config is not for `compare`: give its options by their names, those of one method as "
    "--override METHOD.OPTION=VALUE"
)
"""Refusal of settings of another run: each method begins from its own."""


def _by_method(settings: Any) -> tuple[str, ...]:
    return (settings.method,)


def _nothing(job: Job) -> None:
    return None


@dataclass(frozen=True)
class Comparable:
    """A recipe whose methods can be compared.

    Attributes:
        recipe: It picks ``method``.
        script: Trains and evaluates its runs, and what an evaluation leaves: a summary, and the
            values of every task (`metarl.evaluate.measures`).
        evaluate: Settings of evaluation, an `EvaluationSettings`.
        measure: What the values of a task are.
        tasks: Settings that say what the tasks are, which all methods have in common.
        title: Name of the tasks of settings, for the head of tables and pictures.
        methods: What is compared where nothing else is asked for.
        known: Names of what can be compared; empty: the methods of the recipe.
        names: Names by which settings may be compared.
        defaults: Makes settings, given the options that choose them; None: those of the recipe.
        check: Checks, before the first run is trained, what all runs of a method need beside what
            the recipe's `prepared` checks.
        beside_test: End of the names of what an evaluation leaves of validation tasks, where it
            lies beside what it leaves of test tasks.
    """

    recipe: Recipe[Any]
    script: Script
    evaluate: type[Any]
    measure: Measure
    tasks: tuple[str, ...]
    title: Callable[[Any], str]
    methods: tuple[str, ...]
    known: tuple[str, ...] = ()
    names: Callable[[Any], tuple[str, ...]] = _by_method
    defaults: Callable[..., Any] | None = None
    check: Callable[[Job], None] = _nothing
    beside_test: str = ""

    @property
    def families(self) -> dict[str, list[str]]:
        """Methods that share a panel of the picture, by its title."""
        found: dict[str, list[str]] = {}
        for name, method in self.recipe.methods.items():
            found.setdefault(method.family, []).append(name)
        return found

    @property
    def every_name(self) -> tuple[str, ...]:
        """All that can be compared."""
        return self.known or tuple(self.recipe.methods)

    @cached_property
    def usual(self) -> CompareSettings:
        """Settings of a comparison of which nothing is said."""
        return CompareSettings(methods=self.methods, evaluate=evaluation_of(self.evaluate)())

    def of_side(self, how: Any) -> str:
        """End of the names of the files that an evaluation leaves."""
        return self.beside_test if getattr(how, "split", "test") == "validation" else ""

    def settings(self, words: Sequence[str], **own: Any) -> Any:
        """Return the defaults that the words of a command line choose."""
        make = self.defaults or self.recipe.defaults
        return make(**{**picked_by(self.recipe, words), **own})

    def check_names(self, methods: Iterable[str]) -> None:
        """Check that all names are of something that can be compared.

        Raises:
            UserError: One is not.
        """
        for method in methods:
            if method not in self.every_name:
                raise UserError(f"--methods {method!r} is not one of {', '.join(self.every_name)}")

    def tasks_of(self, settings: Any) -> dict[str, Any]:
        """Return what says which tasks settings have, option by option."""
        found: dict[str, Any] = {}
        for name in self.tasks:
            value = getattr(settings, name)
            found |= options_of(value) if dataclasses.is_dataclass(value) else {name: value}
        return found


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
    check_same_tasks(comparable, settings)
    found = []
    for seed in comparison.seeds:
        for method in comparison.methods:
            path = folder / method / f"seed-{seed}"
            wanted = replace(settings[method], seeds=(seed,), run_dir=path, device=device)
            asked = {**vars(evaluations[method]), "run": path, "device": device}
            found.append(Job(path, wanted, comparable.evaluate(**asked), comparable.script))
    found = chosen(found, folder, only)
    for job in found:
        check_same(job)
        if not (job.path / "config.json").exists() and job.train.seeds == comparison.seeds[:1]:
            comparable.recipe.prepared(job.train)
            comparable.check(job)
    return found


def train_settings(comparable: Comparable, comparison: Comparison, method: str) -> Any:
    """The method's defaults, with the options for all that it has, and its own on top."""
    own = [(path, value) for path, value in overrides(comparison, method) if path[0] != "evaluate"]
    of_method = [word for path, value in own for word in _option(path, value)]
    default = comparable.settings([*comparison.options, *of_method], method=method)
    return with_options(comparable, comparison, method, default)


def with_options(comparable: Comparable, comparison: Comparison, method: str, default: Any) -> Any:
    """Settings with the options for all methods that they have, and the method's own on top."""
    own = [(path, value) for path, value in overrides(comparison, method) if path[0] != "evaluate"]
    own_options = options_of(default)
    common = [
        word
        for name, words in by_option(comparison.options)
        if name in own_options
        for word in words
    ]
    base = parse(type(default), "compare", common, default)
    words = _words(base, method, own, (*OF_THE_COMPARISON, *comparable.tasks))
    if not words:
        return base
    flags = (tyro.conf.FlagConversionOff,)
    return parse(type(base), "compare --override", words, base, config=flags)


def evaluation(comparison: Comparison, method: str) -> Any:
    """Settings of evaluation as for all methods, with the method's own on top."""
    own = [(p[1:], value) for p, value in overrides(comparison, method) if p[0] == "evaluate"]
    for (name, *_), _ in own:
        if name in SAME_TASKS:
            option = name.replace("_", "-")
            raise UserError(
                f"--override {method}.evaluate.{option}: {option} is the whole comparison's, for "
                f"all are judged on the same tasks; give --evaluate.{option}"
            )
    words = _words(comparison.evaluate, f"{method}.evaluate", own)
    if not words:
        return comparison.evaluate
    kind = type(comparison.evaluate)
    return parse(kind, "compare --override", words, comparison.evaluate)


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
        found += _option(path, value)
    return found


def _option(path: Sequence[str], value: str) -> list[str]:
    """Words of an option on a command line."""
    return ["--" + ".".join(path).replace("_", "-"), *shlex.split(value)]


def check_path(settings: Any, whose: str, path: Sequence[str], closed: Sequence[str]) -> None:
    """Check that an option is there.

    Raises:
        UserError: There is none, or it is the comparison's own.
    """
    words = f"--override {whose}.{'.'.join(path)}"
    if path == ["config"]:
        raise UserError(f"{words}: {NO_CONFIG}")
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
        if tyro.conf.Fixed in marks:
            continue
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
            here = method in comparable.every_name
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
        if name == "config":
            raise UserError(NO_CONFIG)
        if name in OF_THE_COMPARISON:
            raise UserError(f"{option} is not for `compare`; it chooses that itself")
        if not any(name in options_of(one) for one in settings.values()):
            raise UserError(f"{option}: none of {', '.join(comparison.methods)} has it")


def check_same_tasks(comparable: Comparable, settings: Mapping[str, Any]) -> None:
    """Check that all methods would have the same tasks.

    Raises:
        UserError: Two differ.
    """
    (first, one), *others = settings.items()
    here = comparable.tasks_of(one)
    for method, other in others:
        there = comparable.tasks_of(other)
        for name in {**here, **there}:
            if here.get(name) != there.get(name):
                raise UserError(
                    f"{first} has {name} {here.get(name)}, {method} {there.get(name)}: "
                    f"all are compared on the same tasks; give --{name} for all"
                )


def check_same_folder(
    comparable: Comparable, folder: Path, stored: Comparison, asked: Comparison
) -> None:
    """Check that a folder goes on with the tasks that it compares on.

    Raises:
        UserError: Others are asked for.
    """
    picked = [name for name in comparable.recipe.picks if name in comparable.tasks]
    before, now = (comparable.settings(one.options) for one in (stored, asked))
    for name in picked:
        if (value := getattr(before, name)) != getattr(now, name):
            raise UserError(f"{folder} compares on --{name} {value}; name another --run-dir")
