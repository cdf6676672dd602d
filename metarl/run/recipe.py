"""A recipe: how a script hands its problem, its presets and its commands to `main`; and `train`.

Training goes from settings to run directories with trained learners, for every recipe.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from metarl.core import Method
from metarl.core.processes import ALONE, shared_by
from metarl.devices import resolve_device
from metarl.errors import RunDirectoryError, UserError
from metarl.methods.learning import Trainable
from metarl.run.counts import check_numbers
from metarl.run.settings import RunSettings
from metarl.runs import resume
from metarl.runs.config import restored
from metarl.runs.directory import RunDirectory
from metarl.runs.loggers import check_loggers
from metarl.runs.seeds import complete_runs, create_runs, find_runs
from metarl.runs.seen import seen_by_all
from metarl.train.distributed import check_device, job

RunT = TypeVar("RunT", bound=RunSettings)


class Training(NamedTuple):
    """Method on a problem, and the size of its meta-batches.

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
        check: Reads the options alone, given the same, and raises what `run` would raise of them.
    """

    what: str
    run: Callable[[str, Sequence[str]], object]
    check: Callable[[str, Sequence[str]], object] = lambda *_: None


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
            check_numbers(settings)
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


# Training -----------------------------------------------------------------------------------------


def train(recipe: Recipe[RunT], settings: RunT, given: Sequence[str] = ()) -> list[RunDirectory]:
    """Train one learner per seed.

    Args:
        recipe: Whose settings.
        settings: What to train; with `resume` set, which run to continue.
        given: The options of the command line; of a run that is resumed few may be given.

    Returns:
        The run directories, one per seed.

    Raises:
        UserError: The settings cannot be trained.
        KeyboardInterrupt: Interrupted, after saving.
    """
    with job(settings.device):
        runs: list[RunDirectory] = []
        if settings.resume is not None:
            settings, runs = seen_by_all(lambda: _resumed(recipe, settings, given))
            check_device(settings.device)
            for run in runs:
                run.device = resolve_device(settings.device)
        check_loggers(settings.log)
        if settings.film_every is not None and "render" not in recipe.commands:
            raise UserError(f"--film-every: {recipe.name} has nothing to film; drop it")
        what, batch = recipe.prepared(settings)
        if not runs:
            settings, runs = seen_by_all(lambda: (settings, _created(recipe, settings)))
        for run in runs:
            run.filmed = partial(_film, recipe, run)
        resume_to = settings.iterations if settings.resume else None
        what.train(runs, settings.loop, batch, settings.device, resume_to=resume_to)
        return runs


def _created(recipe: Recipe[RunT], settings: RunT) -> list[RunDirectory]:
    """New run directories, one per seed."""
    place, device = settings.run_dir or recipe.place(settings), resolve_device(settings.device)
    beside = {"recipe": recipe.name, **recipe.beside(settings)}
    return create_runs(place, settings.seeds, settings, device=device, **beside)


def _film(recipe: Recipe[Any], run: RunDirectory, output: Path) -> None:
    """Film what a run has learned as ``render`` does, without its words."""
    with redirect_stdout(None), shared_by(ALONE):
        recipe.commands["render"].run("", [str(run.path), "--output", str(output)])


def _resumed(
    recipe: Recipe[RunT], asked: RunT, given: Sequence[str]
) -> tuple[RunT, list[RunDirectory]]:
    """Return the settings of the runs that ``--resume`` goes on with, and the runs.

    Raises:
        UserError: Other settings were given, or a folder of seeds is not complete, or is of
            different numbers of iterations and none was given.
        RunDirectoryError: It is no run, or another recipe's.
    """
    assert asked.resume is not None
    may = ("resume", "iterations", "device", "native", "log", *recipe.may_move)
    options = dict(by_option(given))
    other = [words[0].partition("=")[0] for name, words in by_option(given) if name not in may]
    if other:
        raise UserError(
            "--resume takes its settings from the run, of which --iterations, --native and --log "
            f"alone may be others now; drop {', '.join(dict.fromkeys(other))}"
        )
    runs = find_runs(asked.resume)
    kept = recipe.settings_of(runs[0].config)
    if runs[0].path != asked.resume:
        runs = complete_runs(asked.resume, runs, kept.seeds)
    moved = {n: getattr(asked, n) for n in recipe.may_move}
    changes = {n: v for n, v in moved.items() if n in options or v not in (None, False)}
    if "iterations" in options:
        changes["iterations"] = asked.iterations
    else:
        _check_same_iterations(runs)
    if "log" in options:
        changes["log"] = asked.log
    if asked.device != "auto":
        changes["device"] = asked.device
    changes["native"] = asked.native if "native" in options else resume.kept_mode(runs)
    for run in runs:  # before anything is locked
        resume.check_total(run, changes.get("iterations", kept.iterations))
        resume.check_kernels(run, changes["native"])
    seeds = tuple(run.seed for run in runs)
    return replace(kept, resume=asked.resume, seeds=seeds, **changes), runs


def _check_same_iterations(runs: Sequence[RunDirectory]) -> None:
    """Check that no seeds were extended alone.

    Raises:
        UserError: Some were; the message says how many iterations each is for.
    """
    planned = {run.path: run.config.get("iterations") for run in runs}
    if len(set(planned.values())) > 1:
        each = ", ".join(f"{path} {number}" for path, number in planned.items())
        raise UserError(
            f"the runs are for different numbers of iterations ({each}); name one for "
            "all of them with --iterations"
        )


def by_option(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the words of a command line option by option, each with the setting that it is of."""
    option: list[str] = []
    for word in (*words, "--"):
        if word.startswith("--") and option:
            name = option[0].lstrip("-").partition("=")[0].partition(".")[0]
            yield name.replace("-", "_").removeprefix("no_"), option
            option = []
        option.append(word)
