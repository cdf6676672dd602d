"""Settings of `search`: what `--help` explains, and what a search keeps of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import tyro

from metarl.compare.executors import Executor, SlurmSettings
from metarl.errors import RunDirectoryError, UserError, check_different, understood
from metarl.runs.files import read_json, to_json
from metarl.runs.place import check_folder

KEPT = "search.json"
"""Name of the file that says what a folder searches for, and where its trials are kept."""

VALIDATION_SEED = 20_000
"""Seed of the validation tasks, of all that is drawn for them."""


@dataclass(frozen=True)
class SearchSettings:
    """Look for the settings that do best on validation tasks; test tasks are never looked at.

    All options of `train` are taken too, and hold for every trial. A trial trains a learner per
    seed, in parts; after each part it is judged, and given up where others were better by then. The
    same command goes on after an interruption, and a larger --trials goes on further. Several
    processes, on several machines, may work on one search: give each the same command.
    """

    run_dir: Path = Path("runs/search")
    """Where all goes: trial-N, which are runs, and search.json, search.csv and search.md."""
    search: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """An option of train and what it may be: lr=log:1e-4:1e-2, hidden-size=int:32:256,
    loss.gamma=float:0.9:0.99, core=gru,lstm; given once for each option."""
    trials: int = 20
    """Trials in all, those of other processes included."""
    seeds: tuple[int, ...] = (0,)
    """Training seeds of every trial, which is worth the mean over them."""
    tasks: int | None = None
    """Validation tasks. Default: the script's usual number."""
    validations: int = 4
    """How often a trial is judged, at equal distances; the last time at its end."""
    pruner: Literal["median", "hyperband", "none"] = "median"
    """What gives a trial up: a value below the median of others as far as it; successive halving in
    several brackets; nothing."""
    sampler: Literal["tpe", "random"] = "tpe"
    """What proposes settings: a tree-structured Parzen estimator, after ten random trials; or
    chance alone."""
    sampler_seed: int = 0
    """Seed of the proposals."""
    storage: str | None = None
    """Where the trials are kept: a URL of SQLAlchemy, such as sqlite:///search.db or
    postgresql://HOST/NAME. Default: a journal file in --run-dir."""
    study: str | None = None
    """Name of the search in a storage that holds several. Default: of the script and --run-dir."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    report: bool = False
    """Train nothing: print what was found, and the command that trains with it."""
    executor: Executor = "here"
    """here: in this process; local, slurm: --workers through submitit, in processes here or as jobs
    of SLURM."""
    workers: int = 1
    """Processes or jobs that work on the search, each on one trial at a time."""
    slurm: SlurmSettings = field(default_factory=SlurmSettings)
    """Of each job of SLURM."""

    def __post_init__(self) -> None:
        """Check counts and seeds."""
        if self.executor == "here" and self.workers > 1:
            raise UserError(f"--workers {self.workers} needs --executor local or slurm")
        for name in ("trials", "validations", "workers"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} must be at least 1, got {getattr(self, name)}")
        if self.tasks is not None and self.tasks < 1:
            raise UserError(f"--tasks must be at least 1, got {self.tasks}")
        check_different(self.seeds, "--seeds", error=UserError)
        if self.sampler_seed < 0:
            raise UserError(f"--sampler-seed must not be negative, got {self.sampler_seed}")


@dataclass(frozen=True)
class Question:
    """Subject of a search: all of its trials have it in common.

    Attributes:
        recipe: The script.
        options: Options of `train` for all trials, as on the command line.
        search: What is searched, as on the command line.
        seeds: Training seeds.
        tasks: Validation tasks; None: the script's usual number.
        validations: How often a trial is judged.
    """

    recipe: str
    options: tuple[str, ...]
    search: tuple[str, ...]
    seeds: tuple[int, ...]
    tasks: int | None
    validations: int

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        found: dict[str, Any] = to_json(self, "search")
        return found

    def check_same(self, other: Mapping[str, Any], where: str) -> None:
        """Check that what is kept elsewhere asks the same.

        Raises:
            UserError: It does not; the message says in what.
        """
        own = self.to_json()
        differing = [name for name in own if own[name] != other.get(name)]
        if differing:
            words = "; ".join(f"{n}: {other.get(n)!r} there, {own[n]!r} now" for n in differing)
            raise UserError(
                f"{where} is of another search ({words}); name another --run-dir and --study, or "
                "give the options of that one, or none"
            )


@dataclass(frozen=True)
class Kept:
    """Content of `search.json`.

    Attributes:
        question: What is searched for.
        storage: Where the trials are; None: in the folder's journal.
        study: Their name there.
    """

    question: Question
    storage: str | None
    study: str


def kept_in(folder: Path) -> Kept | None:
    """Read what a folder searches for; None where there is nothing yet.

    Raises:
        RunDirectoryError: The folder holds something else, or the file is damaged.
    """
    path = folder / KEPT
    if not path.exists():
        if folder.exists() and (
            not folder.is_dir() or any(not p.name.startswith(".") for p in folder.iterdir())
        ):
            raise RunDirectoryError(
                f"{folder} holds something else than a search; name another --run-dir"
            )
        check_folder(folder)
        return None
    content = read_json(path)
    with understood(path, "is not that of a search", "restore it"):
        return Kept(question_in(content), content["storage"], content["study"])


def question_in(content: Mapping[str, Any]) -> Question:
    """Return what is searched for, as JSON values keep it under ``question``.

    Raises:
        RunDirectoryError: They keep something else.
    """
    with understood("a search", "does not say what it searches for", "name another one"):
        values = {f.name: content["question"][f.name] for f in fields(Question)}
        lists = {name: tuple(v) for name, v in values.items() if isinstance(v, list)}
        return Question(**{**values, **lists})


def question_of(
    asked: SearchSettings, given: Sequence[str], rest: Sequence[str], recipe: str, kept: Kept | None
) -> Question:
    """Return what is searched for: as the command line says, and where it says nothing, as kept.

    Args:
        asked: The command line.
        given: Names of its options that are there.
        rest: Its options of `train`.
        recipe: The script.
        kept: What the folder searches for.

    Raises:
        UserError: It is another search than the folder's.
    """
    names = ("search", "seeds", "tasks", "validations")
    own: dict[str, Any] = {name: getattr(asked, name) for name in names}
    own |= {"recipe": recipe, "options": tuple(rest)}
    if kept is None:
        return Question(**own)
    said = {"recipe", *(name for name in names if name in given), *(["options"] if rest else [])}
    found = Question(**{n: v if n in said else getattr(kept.question, n) for n, v in own.items()})
    found.check_same(kept.question.to_json(), str(asked.run_dir))
    return found
