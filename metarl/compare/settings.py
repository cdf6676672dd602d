"""Settings of `compare`: what `--help` explains, and what the folder's `comparison.json` keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import tyro

from metarl.compare.executors import Executor, SlurmSettings
from metarl.errors import RunDirectoryError, UserError, check_different, understood
from metarl.invocation import typed
from metarl.run.recipe import by_option
from metarl.runs.config import structured
from metarl.runs.files import read_json
from metarl.runs.place import check_folder

PLACES_OF_EVALUATION = ("run", "device", "json", "data", "output")
"""Settings of an evaluation that say where: a comparison knows."""

USUAL_REFERENCES = ("ppo", "none", "rnn")
"""The first of these that is compared is the reference where none is named."""


@dataclass(frozen=True)
class CompareSettings:
    """Train methods on the same tasks, evaluate them on the same unseen ones, and compare.

    All options of `train` are taken too, those that say what the tasks are among them, and hold for
    every method that has them; what is not given is the method's own default. What is there already
    is not done again: the same command goes on after an interruption, and further --methods or
    --seeds may be added to a folder later, or more --iterations. Several processes may work on one
    folder: each run is done by one of them.
    """

    run_dir: Path = Path("runs/compare")
    """Where all goes: METHOD/seed-S, and comparison.json, .csv, .md and .png."""
    methods: tuple[str, ...] = ()
    """What to compare."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds of every method."""
    override: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """An option for one method, such as maml.inner-lr=0.1 or maml.evaluate.steps=5; may be
    given many times."""
    evaluate: Any = None
    """On unseen tasks, as by `evaluate`."""
    reference: str | None = None
    """Who the others are compared with. Default: ppo, none or rnn, if it is there."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    jobs: int = 1
    """Runs at a time, each in a process with one thread."""
    report_only: bool = False
    """Train and evaluate nothing: sum up what is in METHOD/seed-S, wherever it was trained."""
    executor: Executor = "here"
    """here: in this process, or --jobs of them; local, slurm: through submitit, in processes here
    (--jobs at a time) or as jobs of SLURM."""
    slurm: SlurmSettings = field(default_factory=SlurmSettings)
    """Of each job of SLURM."""
    only: tuple[str, ...] = ()
    """Do these runs alone, such as maml/seed-0, and report nothing: so that any scheduler can hand
    them to any machine."""

    def __post_init__(self) -> None:
        """Check that there is something to compare."""
        for name in ("methods", "seeds"):
            check_different(getattr(self, name), f"--{name}", error=UserError)
        if self.jobs < 1:
            raise UserError(f"--jobs must be at least 1, got {self.jobs}")
        check_report(self.report_only, self.only)


def check_report(report_only: bool, only: Sequence[str]) -> None:
    """Check that a report is not of some runs alone.

    Raises:
        UserError: It is.
    """
    if report_only and only:
        raise UserError(
            f"--only {' '.join(only)} trains runs and --report-only sums up all that are there: "
            "drop one of the two"
        )


@dataclass(frozen=True)
class Comparison:
    """A comparison as `comparison.json` keeps it, so that more can be added.

    Attributes:
        methods: What is compared, in the order in which it was added.
        seeds: Training seeds.
        options: Options of `train`, for all methods that have them, as on the command line.
        override: Options of single methods, METHOD.OPTION=VALUE.
        evaluate: Settings of evaluation (`evaluation_of`).
        reference: Who the others are compared with.
    """

    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    options: tuple[str, ...] = ()
    override: tuple[str, ...] = ()
    evaluate: Any = None
    reference: str | None = None

    def __post_init__(self) -> None:
        """Check that there is something to compare, and the reference among it."""
        check_different(self.methods, "methods", error=UserError)
        check_different(self.seeds, "seeds", error=UserError)
        if self.reference is not None and self.reference not in self.methods:
            raise UserError(f"--reference {self.reference} is not among --methods; add it")

    @property
    def compared_with(self) -> str | None:
        """The reference, named or usual; None where there is none."""
        usual = [method for method in USUAL_REFERENCES if method in self.methods]
        return self.reference or next(iter(usual), None)


def stored_in(folder: Path, usual: Any, recipe: str | None = None) -> Comparison | None:
    """Read what a folder compares; None where there is nothing yet.

    Args:
        folder: Where.
        usual: Settings of evaluation, of the kind of those that are read.
        recipe: Name of the recipe whose comparison it should be; None: of any.

    Raises:
        RunDirectoryError: The folder holds something else, or a comparison of another recipe or
            version.
    """
    path = folder / "comparison.json"
    if not path.exists():
        # A lock alone is what a kill in the first moment leaves behind; runs without the file have
        # been trained apart.
        if folder.exists() and (
            not folder.is_dir() or not all(map(_may_be_ours, folder.iterdir()))
        ):
            raise RunDirectoryError(
                f"{folder} holds something else than a comparison; name another --run-dir"
            )
        check_folder(folder)
        return None
    problem, remedy = "is not that of a comparison of this version", "restore it"
    whole = read_json(path)
    theirs = whole.get("recipe")  # earlier versions did not say it
    if recipe is not None and isinstance(theirs, str) and theirs != recipe:
        command = f"{typed('compare', theirs)} --run-dir {folder}"
        raise RunDirectoryError(
            f"{folder} holds a comparison of {theirs.rpartition('.')[2]}, not of "
            f"{recipe.rpartition('.')[2]}: `{command}` goes on with it; or name another --run-dir"
        )
    content: Any = whole.get("comparison")
    with understood(path, problem, f"{remedy}, or use the version that wrote it"):
        try:
            return _comparison(content, usual)
        except UserError as error:
            raise RunDirectoryError(f"{path} {problem}: {error}; {remedy}") from None


def _may_be_ours(path: Path) -> bool:
    """Whether a file or folder may be of a comparison: hidden, a report, or seeds of a method."""
    seeds = [*path.glob("seed-*/config.json")] if path.is_dir() else []
    return path.name.startswith(".") or path.stem == "comparison" or bool(seeds)


def _comparison(content: Mapping[str, Any], usual: Any) -> Comparison:
    """Build a comparison of JSON values; raises any error where they are of another kind."""
    how = dict(content.get("evaluate", {}))
    if "side" in how:  # the former name
        how.setdefault("split", how.pop("side"))
    options = _all(str, content.get("options", []))
    if "env" in content:  # where it stood formerly
        options = ("--env", _of(str, content["env"]), *options)
    return Comparison(
        _all(str, content["methods"]),
        _all(int, content["seeds"]),
        options,
        _all(str, content.get("override", [])),
        structured(usual, how),
        None if content.get("reference") is None else _of(str, content["reference"]),
    )


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _all(kind: type, values: Any) -> tuple[Any, ...]:
    return tuple(_of(kind, value) for value in _of(list, values))


def in_words_of_today(stored: Comparison, today: Callable[[str], str]) -> Comparison:
    """Return settings with options under the names that they have now.

    What an earlier version kept of ``--config``, and read nothing of, is left out.

    Args:
        stored: What a folder compares.
        today: Names of options, such as ``learner.inner.lr``, as they are called now.
    """

    def renamed(word: str) -> str:
        if not word.startswith("--"):
            return word
        name, equals, value = word.partition("=")
        return f"--{today(name[2:])}{equals}{value}"

    overrides = []
    for one in stored.override:
        name, equals, value = one.partition("=")
        method, dot, option = name.partition(".")
        if option == "config":
            continue
        own = option.startswith("evaluate.")
        overrides.append(f"{method}{dot}{option if own else today(option)}{equals}{value}")
    read = [words for name, words in by_option(stored.options) if name != "config"]
    options = tuple(renamed(word) for words in read for word in words)
    return replace(stored, options=options, override=tuple(overrides))


def merged(stored: Comparison | None, asked: CompareSettings, rest: Sequence[str]) -> Comparison:
    """Join what is there with what is asked for now.

    Args:
        stored: What the folder compares.
        asked: The command line; where nothing was said, what is stored.
        rest: Options of `train`.
    """
    before = stored or Comparison(asked.methods, asked.seeds)
    stored_words, asked_words = (
        {option_name(words[0]): words for _, words in by_option(options)}  # the last counts
        for options in (before.options, rest)
    )
    own: dict[str, str] = {}
    for one in (*before.override, *asked.override):
        own.pop(option_name(one), None)  # the last counts, and stands last
        own[option_name(one)] = one
    added = [word for n, w in asked_words.items() if stored_words.get(n) != w for word in w]
    return Comparison(
        tuple(dict.fromkeys((*before.methods, *asked.methods))),
        tuple(sorted({*before.seeds, *asked.seeds})),
        (*before.options, *added),
        tuple(own.values()),
        asked.evaluate,
        asked.reference,
    )


def option_name(word: str) -> str:
    """Name of the option that a word is of, however it is written: ``--loss.no-x_y=1`` is loss.x-y.

    An option of one method has the method before it.
    """
    name = word.partition("=")[0].lstrip("-").replace("_", "-")
    group, dot, last = name.rpartition(".")
    return f"{group}{dot}{last.removeprefix('no-')}"


def evaluation_of(kind: type[Any]) -> type[Any]:
    """Return the settings of an evaluation without its places, which a comparison has itself.

    Args:
        kind: Settings of `evaluate` (`EvaluationSettings`); its options begin with ``evaluate.``.
    """
    hints = get_type_hints(kind)
    usual = {each.name: each.default for each in fields(kind)} | {"run": Path()}
    marks: dict[str, tuple[Any, ...]] = {
        **dict.fromkeys(PLACES_OF_EVALUATION, (tyro.conf.Fixed, tyro.conf.Suppress)),
        "split": (tyro.conf.arg(aliases=("--evaluate.side",)),),  # its former name
    }
    own: list[Any] = [
        (name, Annotated[(hints[name], *mark)], field(default=usual[name]))
        for name, mark in marks.items()
        if name in hints
    ]

    def check(self: Any) -> None:
        """Check the settings."""
        try:
            kind.__post_init__(self)
        except UserError as error:
            raise UserError(f"{error}".replace("--", "--evaluate.", 1)) from error

    names = {"__post_init__": check, "__doc__": kind.__doc__}
    return make_dataclass(kind.__name__, own, bases=(kind,), frozen=True, namespace=names)
