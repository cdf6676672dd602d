"""A sweep: methods × seeds × values of one more setting of a recipe, trained and summed up.

What is finished is left alone, and what was interrupted goes on (`metarl.compare.work`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from metarl.compare.executors import Executor, SlurmSettings, Unit, check_executor, launch
from metarl.compare.processes import work_off
from metarl.compare.summaries import SweepReport
from metarl.compare.work import Failures, Job, check_same, chosen, finished, name_of
from metarl.errors import UserError
from metarl.run.commands import fail, is_given, parse
from metarl.runs.directory import RunDirectory


@dataclass(frozen=True)
class SweepSettings:
    """Train and evaluate all combinations; a recipe derives settings of its own."""

    run_dir: Path
    """Where the runs and their report go."""
    methods: tuple[str, ...]
    """The learners."""
    seeds: tuple[int, ...] = (0,)
    """Training seeds."""
    jobs: int = 1
    """Runs at a time, each in a process with one thread."""
    report_only: bool = False
    """Train nothing: sum up what is there."""
    executor: Executor = "here"
    """here: in this process, or --jobs of them; local, slurm: through submitit, in processes here
    (--jobs at a time) or as jobs of SLURM."""
    slurm: SlurmSettings = field(default_factory=SlurmSettings)
    """Of each job of SLURM."""
    only: tuple[str, ...] = ()
    """Do these runs alone, by their folders in --run-dir, and report nothing."""

    OVER: ClassVar[tuple[str, ...]] = ("seeds", "methods")
    """Settings whose values are combined, from the outermost to the innermost."""

    def __post_init__(self) -> None:
        """Check that there is something to do."""
        for name in self.OVER:
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise UserError(f"--{name} must be different values, at least one, got {values}")
        if self.jobs < 1:
            raise UserError(f"--jobs must be at least 1, got {self.jobs}")

    def combinations(self) -> Iterator[tuple[Any, ...]]:
        """Return every combination of the values of `OVER`."""
        return product(*(getattr(self, name) for name in self.OVER))


SettingsT = TypeVar("SettingsT", bound=SweepSettings)


@dataclass(frozen=True)
class Sweep(Generic[SettingsT]):
    """Definition of a sweep.

    Attributes:
        module: Where the recipe stands that has it as ``sweep``.
        settings: The dataclass of its command line.
        jobs: Makes its runs, given settings and the options of `train`, which hold for all.
        closed: Options of `train` that the sweep has itself.
        check: Checks, before the first run is trained, what all of them need.
        report: Sums up what is in the folder.
    """

    module: str
    settings: type[SettingsT]
    jobs: Callable[[SettingsT, Sequence[str]], Iterable[Job]]
    closed: tuple[str, ...]
    check: Callable[[Job], object]
    report: SweepReport

    def run(self, prog: str, arguments: Sequence[str]) -> None:
        """Read the command line, and sweep; what follows ``--`` are options of `train`."""
        cut = arguments.index("--") if "--" in arguments else len(arguments)
        words, options = arguments[:cut], arguments[cut + 1 :]
        settings = parse(self.settings, prog, words)
        if not arguments and not settings.run_dir.exists():  # hours of work are asked for in words
            runs = [job.train.iterations for job in self.jobs(settings, ())]
            raise UserError(
                f"say what to train: `{prog} --methods {' '.join(settings.methods)}` trains "
                f"{len(runs)} runs of {sum(runs)} iterations together"
            )
        try:
            failures = self.work(settings, options, words)
        except KeyboardInterrupt as interrupt:
            what = f", {interrupt}" if f"{interrupt}" else ""
            fail(f"interrupted{what}; the same command goes on", status=130)
        if failures:
            fail(f"{len(failures)} failed: {', '.join(map(str, failures))}, see above", status=1)

    def work(
        self, settings: SettingsT, options: Sequence[str] = (), words: Sequence[str] = ()
    ) -> Failures:
        """Do what is not done yet, and sum up.

        Args:
            settings: The combinations.
            options: Of `train`, for all runs.
            words: The settings on the command line, for those who work elsewhere.

        Returns:
            The runs that failed, and of what.

        Raises:
            UserError: No run can be trained, or one that is there has other settings.
            KeyboardInterrupt: Interrupted, after saving.
        """
        for name in self.closed:
            if is_given(options, f"--{name}"):
                raise UserError(f"--{name} is said before --, for the sweep as a whole")
        check_executor(settings.executor)
        planned = [] if settings.report_only else list(self.jobs(settings, options))
        for job in planned:
            check_same(job)
        left = [
            job for job in chosen(planned, settings.run_dir, settings.only) if not finished(job)
        ]
        for job in left[:1]:
            self.check(job)
        failures = self._bring(left, settings, options, words)
        if not settings.only:
            self.report.write(settings.run_dir)
        return failures

    def _bring(
        self,
        left: Sequence[Job],
        settings: SettingsT,
        options: Sequence[str],
        words: Sequence[str],
    ) -> Failures:
        """Bring runs to their end, here or elsewhere."""
        if settings.executor == "here":
            return work_off(left, settings.jobs)
        folder, here = settings.run_dir, ("--executor", "here", "--jobs", "1")
        units = []
        for name in (name_of(job, folder) for job in left):
            line = ("sweep", *words, *here, "--only", name, "--", *options)
            units.append(Unit(self.module, line, name))
        folder.mkdir(parents=True, exist_ok=True)
        found = launch(units, settings.executor, settings.slurm, folder, settings.jobs)
        return {folder / name: why for name, why in found.items()}


def judged_as(job: Job, expected: Mapping[str, Any]) -> bool:
    """Return whether the summary of a run says what it should, before any `evaluated.json` does."""
    path = job.path / "summary.json"
    if not path.exists():
        return False
    done = RunDirectory.open(job.path).read_summary()
    return all(done.get(name) == value for name, value in expected.items())
