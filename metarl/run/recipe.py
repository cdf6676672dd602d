"""A recipe: how a script hands its problem, its presets and its commands to `main`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from metarl.core import Method
from metarl.errors import RunDirectoryError, UserError
from metarl.methods.learning import Trainable
from metarl.run.counts import check_counts
from metarl.run.settings import RunSettings
from metarl.runs.config import restored

RunT = TypeVar("RunT", bound=RunSettings)


class Training(NamedTuple):
    """What a run trains.

    Attributes:
        what: A method on a problem.
        batch: Tasks of an iteration.
    """

    what: Trainable
    batch: int


@dataclass(frozen=True)
class Command:
    """A command beside `train`.

    Attributes:
        what: What it does, in a few words.
        run: Does it, given what was typed before its options, and these.
    """

    what: str
    run: Callable[[str, Sequence[str]], object]


@dataclass(frozen=True)
class Recipe(Generic[RunT]):
    """Definition of a script.

    Attributes:
        name: Its script, such as ``experiments.regression``; runs say it.
        defaults: Settings, given the options that choose defaults, each as a keyword argument; and
            those of a run are restored as what it makes of them. It raises `UserError` where they
            choose nothing.
        training: Makes what settings train; what can go wrong goes wrong here, or in its `check`,
            before there is a run directory.
        place: The usual run directory of settings.
        methods: The methods by name; ``--help`` shows the settings of the one that was picked.
        picks: Options that choose defaults.
        former: Values of picks that earlier runs do not have.
        commands: The other commands by name.
        train: What `train` does, in a few words.
        may_move: Settings that a resume may change, such as where the data are.
        elsewhere: Options of version 0.1 that another recipe has now: which, in words.
        unread: Names settings that nothing reads, given settings; ``--help`` does not show them,
            and what is given of them is refused. Those of settings have a dot, such as
            ``learner.compile``.
        beside: Makes further entries of `config.json` from settings, such as ``anchors``.
        module: Where it stands as ``RECIPE``; None: in its script.
    """

    name: str
    defaults: Callable[..., RunT]
    training: Callable[[RunT], Training]
    place: Callable[[RunT], Path]
    methods: Mapping[str, type[Method]]
    picks: tuple[str, ...] = ("method",)
    former: Mapping[str, Any] = field(default_factory=dict)
    commands: Mapping[str, Command] = field(default_factory=dict)
    train: str = "meta-train learners into a run directory"
    may_move: tuple[str, ...] = ()
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    unread: Callable[[RunT], Collection[str]] = lambda _: ()
    beside: Callable[[RunT], Mapping[str, object]] = lambda _: {}
    module: str | None = None

    @property
    def home(self) -> str:
        """The module that is run for it, where it stands as ``RECIPE``."""
        return self.module or self.name

    def settings_of(self, config: Mapping[str, Any]) -> RunT:
        """Return the settings that a run's `config.json` keeps.

        Raises:
            RunDirectoryError: It is another recipe's run, or another version's.
        """
        settings = restored(self.defaults, config, self.name, self.picks, self.former)
        try:
            check_counts(settings)
        except UserError as error:
            raise RunDirectoryError(f"config.json: {error}") from None
        return settings

    def prepared(self, settings: RunT) -> Training:
        """Return what settings train, once it is certain that it can be trained.

        Raises:
            UserError: It cannot.
        """
        training = self.training(settings)
        if settings.resume is None:  # a run of an earlier version may be more than there is now
            training.what.check(settings.device, training.batch, settings.init_from)
        return training

    def __reduce__(self) -> tuple[Callable[[str], Recipe[Any]], tuple[str]]:
        """Pickle the module's name alone: another process finds the recipe there."""
        return recipe_in, (self.home,)


def recipe_in(module: str) -> Recipe[Any]:
    """Return ``RECIPE`` of a module; of a script that is running, not of a second copy of it."""
    main = sys.modules["__main__"]
    running = getattr(main.__spec__, "name", None) == module
    found: Recipe[Any] = (main if running else import_module(module)).RECIPE
    return found
