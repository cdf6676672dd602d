"""Settings of `compare`: what `--help` explains, and what the folder's `comparison.json` keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from metarl.compare.executors import Executor, SlurmSettings
from metarl.errors import RunDirectoryError, UserError, understood
from metarl.runs.files import read_json

USUAL_REFERENCES = ("ppo", "none")
"""The first of these that is compared is the reference where none is named."""


@dataclass(frozen=True)
class ComparisonEvaluation:
    """Evaluation of every run, as by `evaluate`.

    Attributes:
        tasks: Unseen tasks, at most, the same for all.
        steps: Steps of adaptation. Default: the method's usual number.
        episodes: Episodes per task and step. Default: the method's usual number.
        chunk_size: Tasks that are stacked. None: all.
        split: validation to choose settings by, test to report on.
        seed: Seed of tasks and episodes.
    """

    tasks: int = 40
    steps: int | None = None
    episodes: int | None = None
    chunk_size: int | None = None
    split: Annotated[Literal["validation", "test"], tyro.conf.arg(aliases=("--evaluate.side",))] = (
        "test"
    )
    seed: int = 10_000

    def __post_init__(self) -> None:
        """Check the counts."""
        least = {"tasks": 1, "steps": 0, "episodes": 1, "chunk_size": 1, "seed": 0}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                option = name.replace("_", "-")
                raise UserError(f"--evaluate.{option} must be at least {smallest}, got {value}")


@dataclass(frozen=True)
class CompareSettings:
    """Train methods on the same tasks, evaluate them on the same unseen ones, and compare.

    All options of `train` are taken too, and hold for every method that has them; what is not given
    is the method's own default. What is there already is not done again: the same command goes on
    after an interruption, and further --methods or --seeds may be added to a folder later, or more
    --iterations. Several processes may work on one folder: each run is done by one of them.
    """

    run_dir: Path = Path("runs/compare")
    """Where all goes: METHOD/seed-S, and comparison.json, .csv, .md and .png."""
    env: str = "maze"
    """The task distribution; see `train`."""
    methods: tuple[str, ...] = ("maml", "fomaml", "anil", "none")
    """What to compare."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds of every method."""
    override: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """An option for one method, such as maml.inner-lr=0.1 or maml.evaluate.steps=5; may be
    given many times."""
    evaluate: ComparisonEvaluation = field(default_factory=ComparisonEvaluation)
    """On unseen tasks."""
    reference: str | None = None
    """Who the others are compared with. Default: ppo or none, if it is there."""
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
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise UserError(f"--{name} must be different values, at least one, got {values}")
        if min(self.seeds) < 0:
            raise UserError(f"--seeds must not be negative, got {self.seeds}")
        if self.jobs < 1:
            raise UserError(f"--jobs must be at least 1, got {self.jobs}")


@dataclass(frozen=True)
class Comparison:
    """A comparison as `comparison.json` keeps it, so that more can be added.

    Attributes:
        env: The task distribution.
        methods: What is compared, in the order in which it was added.
        seeds: Training seeds.
        options: Options of `train`, for all methods that have them, as on the command line.
        override: Options of single methods, METHOD.OPTION=VALUE.
        evaluate: On unseen tasks.
        reference: Who the others are compared with.
    """

    env: str
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    options: tuple[str, ...] = ()
    override: tuple[str, ...] = ()
    evaluate: ComparisonEvaluation = field(default_factory=ComparisonEvaluation)
    reference: str | None = None

    def __post_init__(self) -> None:
        """Check that the reference is there."""
        if self.reference is not None and self.reference not in self.methods:
            raise UserError(f"--reference {self.reference} is not among --methods; add it")

    @property
    def compared_with(self) -> str | None:
        """The reference, named or usual; None where there is none."""
        usual = [method for method in USUAL_REFERENCES if method in self.methods]
        return self.reference or next(iter(usual), None)


def stored_in(folder: Path) -> Comparison | None:
    """Read what a folder compares; None where there is nothing yet.

    Raises:
        RunDirectoryError: The folder holds something else, or a comparison of another version.
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
        return None
    problem, remedy = "is not that of a comparison of this version", "restore it"
    content: Any = read_json(path).get("comparison")
    with understood(path, problem, f"{remedy}, or use the version that wrote it"):
        try:
            return _comparison(content)
        except UserError as error:
            raise RunDirectoryError(f"{path} {problem}: {error}; {remedy}") from None


def _may_be_ours(path: Path) -> bool:
    """Whether a file or folder may be of a comparison: hidden, a report, or seeds of a method."""
    seeds = [*path.glob("seed-*/config.json")] if path.is_dir() else []
    return path.name.startswith(".") or path.stem == "comparison" or bool(seeds)


def _comparison(content: Mapping[str, Any]) -> Comparison:
    """Build a comparison of JSON values; raises any error where they are of another kind."""
    how = dict(content.get("evaluate", {}))
    if "side" in how:  # the former name
        how.setdefault("split", how.pop("side"))
    if how.get("split", "test") not in ("validation", "test"):
        raise ValueError(f"evaluate.split is {how['split']!r}")
    counts = {name: v for name, v in how.items() if name != "split"}
    if any(type(v) is not int and (v is not None or n == "tasks") for n, v in counts.items()):
        raise TypeError(f"evaluate is {how!r}")
    return Comparison(
        _of(str, content["env"]),
        _all(str, content["methods"]),
        _all(int, content["seeds"]),
        _all(str, content.get("options", [])),
        _all(str, content.get("override", [])),
        ComparisonEvaluation(**how),
        None if content.get("reference") is None else _of(str, content["reference"]),
    )


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _all(kind: type, values: Any) -> tuple[Any, ...]:
    return tuple(_of(kind, value) for value in _of(list, values))


def in_words_of_today(stored: Comparison, today: Callable[[str], str]) -> Comparison:
    """The same with options under the names that they have now.

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
        own = option.startswith("evaluate.")
        overrides.append(f"{method}{dot}{option if own else today(option)}{equals}{value}")
    options = tuple(renamed(word) for word in stored.options)
    return replace(stored, options=options, override=tuple(overrides))


def merged(stored: Comparison | None, asked: CompareSettings, rest: Sequence[str]) -> Comparison:
    """Join what is there with what is asked for now.

    Args:
        stored: What the folder compares.
        asked: The command line; where nothing was said, what is stored.
        rest: Options of `train`.

    Raises:
        UserError: The environments differ.
    """
    before = stored or Comparison(asked.env, asked.methods, asked.seeds)
    if asked.env != before.env:
        raise UserError(f"{asked.run_dir} compares on --env {before.env}; name another --run-dir")
    added = tuple(rest)
    known = not added or before.options[-len(added) :] == added
    return Comparison(
        asked.env,
        tuple(dict.fromkeys((*before.methods, *asked.methods))),
        tuple(sorted({*before.seeds, *asked.seeds})),
        before.options if known else (*before.options, *added),
        tuple(dict.fromkeys((*before.override, *asked.override))),
        asked.evaluate,
        asked.reference,
    )
