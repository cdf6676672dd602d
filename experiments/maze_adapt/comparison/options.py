"""Options of `train` that `compare` is given: those for all methods, and those for one."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from experiments.maze_adapt.comparison.settings import Comparison
from experiments.maze_adapt.methods import METHODS, Method, kind_name
from experiments.maze_adapt.settings import ONLY_FOR, TrainSettings
from metarl.errors import UserError
from metarl.run.training import by_option

OF_THE_COMPARISON = ("run_dir", "resume", "seeds", "method", "env", "device")
"""Options of `train` that `compare` has itself, or chooses."""


def overrides(comparison: Comparison, method: Method) -> Iterator[tuple[list[str], str]]:
    """Paths and values of the options for one method."""
    for one in comparison.override:
        name, _, value = one.partition("=")
        owner, *path = name.replace("-", "_").split(".")
        if owner == method.replace("-", "_"):
            yield path, value


def check_override_names(comparison: Comparison) -> None:
    """Refuse overrides of no method, and those that are no METHOD.OPTION=VALUE.

    Raises:
        UserError: There is one.
    """
    for one in comparison.override:
        name, equals, value = one.partition("=")
        method, dot, _ = name.partition(".")
        if not (equals and dot and value):
            raise UserError(
                f"--override {one} must be METHOD.OPTION=VALUE, such as maml.learner.inner.lr=0.1"
            )
        if method not in comparison.methods:
            known = "is not among --methods; add it" if method in METHODS else "is no method"
            raise UserError(f"--override {one}: {method} {known}")


def check_path(kind: Any, method: Method, path: Sequence[str]) -> Sequence[str]:
    """Refuse an option that is not there.

    Raises:
        UserError: It is not there, or the comparison's own.
    """
    words = f"--override {method}.{'.'.join(path)}"
    if path and kind is TrainSettings and path[0] in OF_THE_COMPARISON:
        raise UserError(f"{words}: {path[0].replace('_', '-')} is the whole comparison's")
    here = kind
    for name in path:
        hints = typing.get_type_hints(here) if dataclasses.is_dataclass(here) else {}
        if name not in hints:
            raise UserError(f"{words}: there is no {name}, but {', '.join(hints) or 'nothing'}")
        here = hints[name]
    if not path or dataclasses.is_dataclass(here):
        raise UserError(f"{words}: name one of {', '.join(typing.get_type_hints(here))} in it")
    return path


def check_options_are_read(comparison: Comparison) -> None:
    """Refuse options for all methods that none of them has, or that are the comparison's.

    Raises:
        UserError: There is one.
    """
    kinds = {kind_name(method) for method in comparison.methods}
    for name, (option, *_) in by_option(comparison.options):
        if name == "resume":
            raise UserError(
                "--resume is not for `compare`: name the folder with --run-dir, what is there goes "
                "on, and more --iterations, --methods or --seeds may be asked for"
            )
        if name in OF_THE_COMPARISON:
            raise UserError(f"{option} is not for `compare`; it chooses that itself")
        if not kinds & set(ONLY_FOR.get(name, kinds)):
            raise UserError(f"{option}: none of {', '.join(comparison.methods)} has it")
